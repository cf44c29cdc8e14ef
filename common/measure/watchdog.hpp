// Measures all tasks of a worker and says who passes a limit. One object, one timer of the caller, no thread.
//
//   Watchdog dog(process_watch);
//   dog.started(task, pid, {limits, sandbox}, now);
//   timer at dog.next();  ->  for (auto& passed : dog.turn(now)) …stop passed.task…
//   dog.root_exited(task, now);               // before its first process is reaped
//   dog.orphan_ended(orphan) / reap yourself  // as TaskMeter says
//   Measurement m = dog.finish(task, usage, now);
//
// A turn is bounded: at most `samples_per_turn` tasks are sampled and one slice of one directory is read; what is left
// comes in the next turn, a millisecond later. So a worker with a thousand tasks answers its manager all the same. Each
// task is reported once per limit.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/measure/disk_meter.hpp"
#include "common/measure/task_meter.hpp"

namespace taskmill::measure {

struct WatchdogOptions {
  MeterOptions meter;  ///< limits and control group are set per task
  std::size_t samples_per_turn = 32;
  std::size_t disk_entries_per_turn = 300;  ///< about half a millisecond
  Duration disk_pause{1'000'000};           ///< between two rounds over the same sandbox; less while it grows
};

struct WatchedTask {
  Limits limits;
  std::string sandbox;  ///< absolute; empty: disk is not measured
  Cgroup* cgroup = nullptr;
};

class Watchdog {
 public:
  using Task = std::uint64_t;
  explicit Watchdog(ProcessWatch& watch, WatchdogOptions options = {});
  ~Watchdog();

  void started(Task task, pid_t pid, const WatchedTask& what, Time now);
  /// When to call turn(); nullopt when no task runs.
  [[nodiscard]] std::optional<Time> next() const;

  struct Passed {
    Task task = 0;
    Exceeded exceeded;
  };
  std::vector<Passed> turn(Time now);

  void root_exited(Task task, Time now);
  /// An orphan that the caller waited for. Unknown marks are ignored.
  void orphan_ended(const ProcessWatch::Orphan& orphan);
  /// Forgets the task. nullopt for an unknown one.
  std::optional<Measurement> finish(Task task, const rusage& usage, Time now);
  /// What is known now, of a running task.
  [[nodiscard]] std::optional<Measurement> so_far(Task task, Time now) const;
  /// The sandbox is about to be moved or emptied: counts it a last time, at most `entries` files.
  void last_look_at_disk(Task task, std::size_t entries = 2000);
  [[nodiscard]] std::size_t count() const { return tasks_.size(); }

 private:
  struct Entry;
  void step_disk(Time now);
  void tell(Task task, Entry& entry, std::vector<Passed>& out);

  ProcessWatch& watch_;
  WatchdogOptions options_;
  std::unordered_map<Task, std::unique_ptr<Entry>> tasks_;
  std::unordered_map<std::uint64_t, Task> by_mark_;
  std::set<std::pair<Time, Task>> samples_;  ///< due times
  std::set<std::pair<Time, Task>> disks_;
};

}  // namespace taskmill::measure
