// All processes the worker has started and all that those have left behind.
//
// The worker is the subreaper of its tasks: whatever daemonises becomes its child. Each task's processes carry a mark
// that they inherit and cannot easily lose (measure::TaskMark), so an orphan can be told to be the task's. A task has
// ended when its first process has; at that moment its process group and all its orphans get SIGKILL.
//
// The table starts, signals and reaps; waiting is the caller's (pidfds).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "common/base/result.hpp"
#include "common/measure/task_meter.hpp"
#include "common/os/fd.hpp"
#include "common/os/launch.hpp"
#include "common/os/process.hpp"
#include "common/os/spawn.hpp"

namespace taskmill::worker {

struct Started {
  pid_t pid = -1;
  os::UniqueFd pidfd;
};

class ProcessTable {
 public:
  using Owner = std::uint64_t;  ///< chosen by the caller: a task, a fetch, …

  ProcessTable();

  Result<Started> start(Owner owner, const os::SpawnPlan& plan);
  /// The same without waiting for exec; `launch` and what the plan points to are kept by the caller until end().
  Result<Started> start(Owner owner, const os::LaunchPlan& plan, os::Launch& launch);
  /// To the group of the first process and to every other process known to be the owner's.
  void signal(Owner owner, int number);
  /// The first process has ended: the rest of its group is killed, then it is reaped. Orphans of this owner are killed
  /// from now on, until forget().
  os::Reaped end(Owner owner);
  void forget(Owner owner);

  struct Orphan {
    pid_t pid = 0;
    os::UniqueFd pidfd;
    Owner owner = 0;
  };
  /// New orphans since the last sweep, those of ended owners already killed. Costs one system call when there are none.
  std::vector<Orphan> sweep();
  /// An orphan's pidfd became readable.
  void end_orphan(pid_t pid);
  /// Orphans of this owner that are still alive.
  [[nodiscard]] std::size_t orphans_of(Owner owner) const;

  [[nodiscard]] std::size_t count() const { return by_pid_.size() + orphans_.size(); }
  /// SIGKILL to everything there is.
  void kill_all();
  measure::ProcessWatch& watch() { return watch_; }

 private:
  struct First {
    pid_t pid = -1;
    measure::TaskMark mark;
    bool ended = false;
  };
  struct Left {
    Owner owner = 0;
    bool watched = false;  ///< the caller waits for its end
  };
  template <class Spawn>
  Result<Started> add(Owner owner, Spawn spawn);
  void signal_task(const First& first, int number);
  void kill_orphan(pid_t pid, int number);

  measure::ProcessWatch watch_;
  os::ChildList children_;
  std::unordered_map<Owner, First> by_owner_;
  std::unordered_map<pid_t, Owner> by_pid_;
  std::unordered_map<std::uint64_t, Owner> by_mark_;
  std::unordered_map<pid_t, Left> orphans_;
  std::vector<pid_t> scratch_;
};

}  // namespace taskmill::worker
