// The seam for measuring tasks: told before and after a task's first process starts and when it is about to be reaped.
//
// The worker itself knows what wait4 tells (rusage). A probe may sample while the task runs (measure::TaskMeter) and
// says in finish() what goes on the result line behind the id (wire C.6), which legacy managers ignore.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/base/time.hpp"

namespace taskmill::worker {

class TaskProbe {
 public:
  virtual ~TaskProbe() = default;
  /// Before the start. What the task's first process writes "0" to (LaunchPlan::group_fd); -1: nothing.
  virtual int prepare(std::uint64_t task) = 0;
  virtual void start_failed(std::uint64_t task) = 0;
  virtual void started(std::uint64_t task, pid_t pid, Time now) = 0;
  /// The first process is a zombie, its counters are still there.
  virtual void ended(std::uint64_t task, Time now) = 0;
  /// Extra tokens for the result line; empty for none.
  virtual std::string finish(std::uint64_t task, const rusage& usage, Time now) = 0;
  /// Nothing of it is of interest any more.
  virtual void forget(std::uint64_t task) = 0;
};

}  // namespace taskmill::worker
