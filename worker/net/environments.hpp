// Software environments of this worker: offered by the manager in frames, received and unpacked on threads of their
// own, shared read-only by all tasks that name them (docs/environments.md).
//
//   offer ─▶ EnvironmentIntake on a thread ─▶ EnvironmentNeed … ChunkData … ─▶ lease ─▶ EnvironmentReady
//
// What was unpacked stays: for the next session of this worker, or, in a cache directory, for every worker of the user
// on this machine. Nothing that a task uses is removed. Everything here runs on the control thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "worker/host/environment_intake.hpp"
#include "worker/net/context.hpp"
#include "worker/net/environment_transfer.hpp"

namespace taskmill::worker {

struct EnvironmentSettings {
  std::string cache_directory;                           ///< empty: in the workspace, gone with it
  std::uint64_t limit_bytes = std::uint64_t{20} << 30U;  ///< of unpacked environments; chunks get a quarter of it more
};

class Environments {
 public:
  Environments(Context& context, EnvironmentSettings settings);
  ~Environments();
  Environments(const Environments&) = delete;
  Environments& operator=(const Environments&) = delete;

  /// Makes its directories. Empty, or what is wrong with the one that the user chose.
  std::string prepare();
  /// A frame of the capability `env`. False: it makes no sense, and the connection is to end.
  bool on_frame(std::uint32_t kind, std::string_view body);
  /// Where to get the chunks of one: a PeerFetch without a cache name.
  void on_order(const pb::PeerFetch& order);
  void on_session_ended();
  void stop();
  /// Threads are still at work (after stop(): not for long).
  [[nodiscard]] bool busy() const { return !jobs_.empty(); }
  [[nodiscard]] std::string chunk_directory() const { return root_ + "/chunks"; }

  /// The environment with this digest (hex), while it is ready in this session.
  [[nodiscard]] std::shared_ptr<const archive::EnvironmentLease> lease(const std::string& digest);

 private:
  struct Offered {
    std::string name;
    std::shared_ptr<EnvironmentTransfer> transfer;  ///< while it is on its way
    std::shared_ptr<const archive::EnvironmentLease> lease;
    Time since{}, used{};
  };
  struct Job {
    std::uint64_t number = 0;
    std::string digest;
    std::shared_ptr<EnvironmentTransfer> transfer;
    std::thread thread;
  };

  [[nodiscard]] bool zstd() const;
  bool on_offer(const pb::EnvironmentOffer& offer);
  bool on_chunk(pb::ChunkData& chunk);
  void make_room();
  bool evict_oldest();
  EnvironmentPlaces places();
  Expected<archive::EnvironmentStore*> own_store();
  bool begin(const std::string& digest, const pb::EnvironmentOffer& offer);
  void run(Job& job);
  void on_question(std::uint64_t job, const EnvironmentQuestion& question);
  void on_outcome(std::uint64_t job, EnvironmentOutcome outcome);
  void on_thread_end(std::uint64_t job);
  void tell(const std::string& digest, const Offered& offered, const EnvironmentOutcome& outcome);
  void log_outcome(const Offered& offered, const EnvironmentOutcome& outcome) const;
  Job* find_job(std::uint64_t number);

  Context& context_;
  EnvironmentSettings settings_;
  std::string root_;
  std::shared_ptr<archive::EnvironmentStore> store_;
  std::mutex own_mutex_;
  std::unique_ptr<archive::EnvironmentStore> own_store_;  ///< for what a frozen worker of this node holds
  std::map<std::string, Offered> offered_;                ///< by digest (hex)
  std::map<std::uint64_t, Job> jobs_;
  std::uint64_t next_job_ = 1;
};

/// Moves the name of the environment out of the variables of a task block.
void take_environment(protocol::TaskDescription& task);
/// The block of a task inside its environment. False: its scripts have to be sourced for each task (enter_by_script).
bool enter_environment(const archive::EnvironmentLease& lease, Environment::Block& block);
std::string enter_by_script(const archive::EnvironmentLease& lease, const std::string& command);

}  // namespace taskmill::worker
