// Inside of ProcessWatch, shared by process_watch.cpp and task_meter.cpp only. Users include task_meter.hpp.
#pragma once

#include <map>
#include <set>
#include <string>

#include "common/measure/proc_reader.hpp"
#include "common/measure/task_meter.hpp"

namespace taskmill::measure {

/// The mark a process carries; value 0 when it carries none or may not be asked.
TaskMark mark_of(pid_t pid);
/// Puts the mark on a running process (its later children inherit it). False when that is not allowed.
bool apply_mark(pid_t pid, TaskMark mark);

struct ProcessWatch::State {
  explicit State(std::string proc);

  struct Child {
    std::uint64_t start_time = 0;
    TaskMark mark;
    std::int64_t group = 0, session = 0;
  };
  /// Lists our own children that are no task's first process; at most once in 5 ms.
  void refresh(Time now);
  /// Made by this watch (not by a worker above us, whose mark our helpers inherit).
  [[nodiscard]] bool is_ours(TaskMark mark) const { return mark.value >= first_own && mark.value < next_mark; }

  ProcReader reader;
  std::set<std::int64_t> roots;  ///< first processes of running tasks: reaped by the caller
  std::map<std::int64_t, Child> children;
  std::uint64_t next_mark = 0, first_own = 0;
  Time refreshed_at{};
  bool refreshed = false;
};

}  // namespace taskmill::measure
