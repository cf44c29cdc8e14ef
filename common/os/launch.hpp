// Starts programs without waiting until they are executed.
//
// posix_spawn suspends the caller until the child has loaded its program: a quarter of a millisecond in which the
// control thread can do nothing for other tasks. A Launch starts the child beside the caller, in the same address space
// like posix_spawn (nothing is copied), on a stack of its own; it makes system calls only. What the child sees is as in
// spawn.hpp: own session, empty signal mask, default dispositions, three descriptors.
//
// The child reads the plan while the caller goes on, so the Launch and everything its plan points to must stay as they
// are until the child has ended (or is known to be somebody else's program). error() then says whether it became one.
// Which signals a Launch sets back is found out at its first start.
//
// Where what this needs is missing (and under ThreadSanitizer) posix_spawn does it, and start() tells all errors.
#pragma once

#include <atomic>
#include <cstddef>

#include "common/os/spawn.hpp"

namespace taskmill::os {

struct LaunchPlan : SpawnPlan {
  /// Executed when `path` cannot be; nullptr: nothing else is tried.
  const char* fallback_path = nullptr;
  const char* const* fallback_argv = nullptr;
  /// cgroup.procs of the control group that the child enters before anything of its program runs; -1: it stays in ours.
  /// Where posix_spawn starts it, the caller has to move it.
  int group_fd = -1;
};

class Launch {
 public:
  Launch() = default;
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  /// The new process. Errors are those of making a process; those of cwd and exec are told by error(), and the child
  /// then ends with status 127. May be called again when the child of the last call has ended.
  Result<pid_t> start(const LaunchPlan& plan);

  /// When the child has ended: errno of what kept it from becoming the program; 0: it did, or was killed.
  [[nodiscard]] int error() const { return error_.load(std::memory_order_acquire); }

 private:
  static int child(void* launch);
  void note_signals();
  Result<pid_t> start_and_wait();

  LaunchPlan plan_;
  std::atomic<int> error_ = 0;
  void* stack_ = nullptr;
  int changed_signals_[64] = {};  ///< those of us that are not treated by default
  int changed_count_ = 0;
};

}  // namespace taskmill::os
