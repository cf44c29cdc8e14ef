// One environment on its way into the node's store: chunks that are here already are taken from there, the others are
// asked for in portions, verified, kept, and unpacked while they arrive (docs/extensions.md, env).
//
// run() blocks and belongs to a thread of its own; everything else may be called from the control thread and does not
// wait. What the manager is to be told goes out through `ask`, from run()'s thread. Memory is bounded by `window`: no
// more bytes than that are asked for and not yet taken in.
//
//   run(): [lease there] ─────────────────────────────────────────────▶ Outcome
//          [somebody else unpacks it] waits, looks again; [that one is frozen] builds a copy for this worker alone
//          ask list ─▶ on_list ─▶ ask chunks ─▶ on_chunk … ─▶ verify ─▶ unpack ─▶ seal ─▶ Outcome
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/archive/chunk_store.hpp"
#include "common/archive/environment_store.hpp"

namespace taskmill::worker {

struct EnvironmentWish {
  archive::Digest digest;
  std::uint64_t size = 0;           ///< of the tar stream
  std::uint64_t unpacked_size = 0;  ///< 0: not known
  std::vector<archive::Digest> bases;
};

struct EnvironmentPlaces {
  archive::EnvironmentStore& store;  ///< shared by the workers of a node, or not
  /// Of this worker alone: used when whoever builds it in `store` has shown no sign of life for `patience`.
  std::function<Expected<archive::EnvironmentStore*>()> own;
  std::string chunk_directory;
  archive::ChunkStoreOptions chunk_options;
  std::chrono::milliseconds patience = std::chrono::seconds(30);
};

struct ChunkRun {
  std::uint32_t first = 0, count = 0;
};
/// For the manager: the list, or chunks of it.
struct EnvironmentQuestion {
  bool list = false;
  std::optional<archive::Digest> base;
  std::vector<ChunkRun> missing;
  bool damaged = false;          ///< the one chunk that is missing had come with other bytes
  std::uint64_t left_bytes = 0;  ///< plain, of all that is lacking now
};

struct EnvironmentOutcome {
  std::shared_ptr<const archive::EnvironmentLease> lease;  ///< null: it failed
  std::string error;
  bool retry = false;      ///< worth another try here
  bool unpacked = false;   ///< by us, now
  bool cancelled = false;  ///< nobody wants to know
  bool serves = false;     ///< all of its chunks are in the store
  std::uint64_t received_bytes = 0, reused_bytes = 0;
  std::uint64_t peer_bytes = 0;  ///< of what was received: from other workers
};

class EnvironmentIntake {
 public:
  using Ask = std::function<void(EnvironmentQuestion)>;
  EnvironmentIntake(EnvironmentPlaces places, EnvironmentWish wish, Ask ask)
      : places_(std::move(places)), wish_(std::move(wish)), ask_(std::move(ask)) {}

  EnvironmentOutcome run();

  /// False: it was not asked for.
  bool on_list(std::string_view list);
  /// Dropped when it was not asked for: answers to an attempt that failed may still be on their way.
  void on_chunk(std::uint32_t index, std::string data, bool compressed);
  /// run() ends soon; what has arrived is kept.
  void cancel();
  [[nodiscard]] const EnvironmentWish& wish() const { return wish_; }

 private:
  struct Arrived {
    std::string data;
    bool compressed = false;
  };
  struct Receiving;  ///< what run() knows while chunks come

  Expected<std::shared_ptr<const archive::EnvironmentLease>> obtain(EnvironmentOutcome& outcome);
  archive::Status receive(archive::EnvironmentBuild& build, EnvironmentOutcome& outcome);
  Expected<archive::ChunkIndex> fetch_list(archive::ChunkStore& chunks);
  Expected<std::string> await_list(const std::optional<archive::ChunkIndex>& base);
  void ask_ahead(Receiving& receiving);
  Expected<std::string> chunk_at(Receiving& receiving, std::uint32_t index);
  Expected<std::string> await_chunk(Receiving& receiving, std::uint32_t index);
  Expected<Arrived> await(std::uint32_t index);
  archive::Status pause();
  /// Until `done`, or it is cancelled, with signs of life for those who wait for this build.
  template <class Done>
  void wait_until(std::unique_lock<std::mutex>& lock, Done done);

  EnvironmentPlaces places_;
  EnvironmentWish wish_;
  Ask ask_;
  archive::EnvironmentBuild* build_ = nullptr;  ///< of run()

  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  bool list_wanted_ = false;
  std::optional<std::string> list_;
  std::map<std::uint32_t, std::optional<Arrived>> wanted_;  ///< asked for; with what has arrived
};

}  // namespace taskmill::worker
