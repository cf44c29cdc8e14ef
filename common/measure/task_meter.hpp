// Measures one running task (a tree of processes) and tells when it passes its limits. No wrapper process.
//
//   ProcessWatch watch;                       // one per worker, control thread only
//   watch.become_subreaper();                 // orphans (daemons) of tasks become our children
//   ...
//   TaskMeter meter(watch, options, now);
//   { ScopedTaskMark guard(meter.mark());     // children inherit the mark: found again whatever they do
//     pid = posix_spawn(...); }
//   Time next = meter.start(pid, now);        // first sample soon
//   next = meter.sample(now);                 // at each deadline; then look at meter.exceeded()
//   ... pidfd readable:
//   meter.root_exited(now);                   // BEFORE wait4: the zombie still has its counters
//   wait4(pid, &status, 0, &usage);
//   meter.kill_all(SIGKILL);                  // whatever is left of the tree; never reaches a recycled pid
//   Measurement m = meter.finish(usage, now);
//
// A sample costs about 40 us per process of the task and is bounded (Options::max_details). Processes are known by
// (pid, start time); descendants are found through /proc/PID/task/*/children, orphans through the mark. Disk is
// measured elsewhere (DiskMeter, on a helper thread) and told with set_disk. All of it on one thread.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "common/measure/core/limits.hpp"
#include "common/measure/core/measurement.hpp"

namespace taskmill::measure {

class Cgroup;

/// Identity of a task that its processes inherit: the soft limit RLIMIT_RTTIME, set to an absurdly large value that
/// limits nothing (40 years of real-time scheduling), unique per task. It survives fork, exec, setsid, cleared
/// environments and static programs, and is read with prlimit(2).
struct TaskMark {
  std::uint64_t value = 0;
  bool operator==(const TaskMark&) const = default;
};

/// Puts the mark on this process while a child is spawned; takes it off again.
class ScopedTaskMark {
 public:
  explicit ScopedTaskMark(TaskMark mark);
  ~ScopedTaskMark();
  ScopedTaskMark(const ScopedTaskMark&) = delete;
  ScopedTaskMark& operator=(const ScopedTaskMark&) = delete;

 private:
  rlimit before_{};
  bool set_ = false;
};

/// What all meters of a process share: marks, and the orphans that became our children.
class ProcessWatch {
 public:
  /// `proc` is where the proc file system is mounted (tests).
  explicit ProcessWatch(std::string proc = "/proc");
  ~ProcessWatch();
  ProcessWatch(const ProcessWatch&) = delete;
  ProcessWatch& operator=(const ProcessWatch&) = delete;

  /// Orphans below us become our children. Once, early.
  Result<void> become_subreaper();
  TaskMark new_mark();

  struct Orphan {
    pid_t pid = 0;
    TaskMark mark;
    rusage usage{};
    int status = 0;
  };
  /// Reaps orphans that ended: children of ours that carry a mark and are no task's first process. Call it once a
  /// second or when SIGCHLD-like hints arrive; tell the meter of that mark with TaskMeter::orphan_reaped. Never touches
  /// other children.
  std::vector<Orphan> reap_orphans(Time now);

 private:
  friend class TaskMeter;
  struct State;
  std::unique_ptr<State> state_;
};

/// Kills every process of this machine that carries the mark and that we may signal; the last resort when the process
/// that measured them is gone. Returns how many it killed.
int kill_marked(TaskMark mark);

struct MeterOptions {
  Limits limits;
  Duration first_sample{2'000};             ///< after start
  Duration least_interval{20'000};          ///< near a limit and at the beginning
  Duration regular_interval{1'000'000};     ///< when nothing happens
  Duration cores_window{5'000'000};         ///< peak cores: highest average over this long
  Duration cores_limit_window{10'000'000};  ///< limit on cores: average over this long
  std::size_t time_line_points = 24;
  std::size_t max_details = 128;  ///< processes looked at closely in one sample
  bool sample_at_start = true;    ///< false: tasks shorter than first_sample cost next to nothing
  bool shared_pages = true;       ///< read smaps_rollup where it can change the peak
  /// The task's control group when there is one (cgroup.hpp); must outlive the meter.
  Cgroup* cgroup = nullptr;
};

class TaskMeter {
 public:
  TaskMeter(ProcessWatch& watch, MeterOptions options, Time now);
  ~TaskMeter();
  TaskMeter(TaskMeter&&) noexcept;
  TaskMeter& operator=(TaskMeter&&) noexcept;

  [[nodiscard]] TaskMark mark() const;
  /// The first process runs. If it was spawned under a mark of this watch, that mark is adopted; otherwise it is marked
  /// now. Returns when to sample.
  Time start(pid_t pid, Time now);
  /// Looks at the tree; returns when to look again.
  Time sample(Time now);
  /// Peak so far of what is below the sandbox (DiskMeter).
  void set_disk(std::int64_t bytes, std::int64_t files);
  /// Between the end of the first process and wait4 for it.
  void root_exited(Time now);
  /// What ProcessWatch::reap_orphans found with this meter's mark.
  void orphan_reaped(const ProcessWatch::Orphan& orphan);

  /// First enforced limit that was passed, if any.
  [[nodiscard]] std::optional<Exceeded> exceeded() const;
  /// All limits passed so far, also those that are only told.
  [[nodiscard]] const std::vector<Exceeded>& all_exceeded() const;
  [[nodiscard]] const Usage& usage() const;
  /// Everything so far (also while running: time line and snapshots).
  [[nodiscard]] Measurement so_far(Time now) const;

  /// Processes of the task that live now, the first one included; looks again first.
  std::vector<pid_t> processes();
  /// Signals each process of the tree, twice over so that none forked in between escapes; cgroup.kill where possible.
  /// Returns how many were signalled. With `spare_root` the first process is left out.
  int kill_all(int signal, bool spare_root = false);

  /// The end. `usage` is that of the first process.
  Measurement finish(const rusage& usage, Time now);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace taskmill::measure
