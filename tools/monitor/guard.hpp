// The guard: a second, sleeping process that ends everything the monitor started if the monitor itself dies.
//
// It waits on a pipe. A byte means "done, go"; end of file without one means that the monitor was killed, and then
// every process that carries the task's mark is killed, wherever it hides.
#pragma once

#include <sys/types.h>

#include "common/measure/task_meter.hpp"
#include "common/os/fd.hpp"

namespace taskmill::monitor {

class Guard {
 public:
  /// Starts it; without one (no /proc/self/exe) the monitor works as well.
  explicit Guard(measure::TaskMark mark);
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  os::UniqueFd pipe_;
  pid_t pid_ = -1;
};

/// The program of the guard: `resource_monitor --taskmill-guard=MARK`, the pipe as its standard input.
int run_guard(measure::TaskMark mark);

}  // namespace taskmill::monitor
