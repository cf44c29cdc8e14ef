// Where the chunks of one environment come from while it is on its way: the manager, or another worker if the manager
// plans that (docs/extensions.md, `env` and `peer`).
//
//   intake asks ─▶ offer not planned ────────────────────────────────▶ manager
//                  planned ─▶ EnvironmentNeed.source ─▶ PeerFetch ─┬─▶ manager
//                                                                  └─▶ another worker ─▶ failed: PeerDone, next
//                                                                  PeerFetch
//
// Every chunk is verified by the intake. One that is damaged is asked of the manager, whoever sent it, and the worker
// that did is not used any more. What has come stays. Every PeerFetch with sources is answered by one PeerDone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "protocol/pb/extension.pb.h"
#include "worker/host/environment_intake.hpp"
#include "worker/net/chunk_source.hpp"
#include "worker/net/context.hpp"

namespace taskmill::worker {

class EnvironmentTransfer : public std::enable_shared_from_this<EnvironmentTransfer> {
 public:
  EnvironmentTransfer(Context& context, std::shared_ptr<EnvironmentIntake> intake, bool planned);

  void on_question(const EnvironmentQuestion& question);
  /// From the manager.
  void on_chunk(pb::ChunkData& chunk);
  void on_order(const pb::PeerFetch& order);
  /// The environment is ready, or never will be.
  void end(bool ok, const std::string& error);
  /// The session is over: nothing more is said.
  void abandon();
  [[nodiscard]] const std::shared_ptr<EnvironmentIntake>& intake() const { return intake_; }
  /// That other workers have sent.
  [[nodiscard]] std::uint64_t peer_bytes() const { return peer_bytes_; }

 private:
  enum class From : std::uint8_t { nobody, manager, worker };

  void ask_manager(const std::vector<ChunkRun>& runs);
  void ask_for_a_source(std::uint64_t missing_bytes);
  void on_damaged(std::uint32_t index);
  void on_peer_chunk(pb::ChunkData& chunk);
  void try_next(const std::string& why);
  void blame(const std::string& why);
  void answer(bool ok, const std::string& error);
  [[nodiscard]] std::vector<ChunkRun> not_asked_of_the_manager() const;

  Context& context_;
  std::shared_ptr<EnvironmentIntake> intake_;
  bool planned_ = false, wished_ = false;
  From from_ = From::nobody;
  std::map<std::uint32_t, bool> open_;                 ///< chunks that have not come; true: asked of the manager
  std::map<std::uint32_t, std::uint64_t> from_peers_;  ///< by which order others came
  pb::PeerFetch order_;
  bool owes_answer_ = false;
  int next_source_ = 0;
  std::vector<std::uint32_t> blamed_;
  std::shared_ptr<ChunkSource> source_;
  std::uint64_t bytes_ = 0;  ///< from the sources of this order
  std::uint64_t peer_bytes_ = 0;
  Time began_{};
};

}  // namespace taskmill::worker
