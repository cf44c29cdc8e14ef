// Measures every task of the worker and stops those that pass a limit (docs/measurement.md).
//
// A probe of TaskRunner with one timer of its own; costs nothing while no task runs. What a task used goes to the
// manager as a TaskMeasurement frame, before its result is announced, if the manager agreed to it (docs/extensions.md).
// Old managers only admit tasks by memory and disk, so these limits act when a native manager asks for it, or the user.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "common/measure/watchdog.hpp"
#include "protocol/pb/extension.pb.h"
#include "worker/core/limit_policy.hpp"
#include "worker/host/task_groups.hpp"
#include "worker/host/task_probe.hpp"
#include "worker/net/context.hpp"

namespace taskmill::worker {

class Measuring : public TaskProbe {
 public:
  Measuring(Context& context, LimitPolicy policy);
  ~Measuring() override;

  int prepare(std::uint64_t task) override;
  void start_failed(std::uint64_t task) override { groups_.leave(task); }
  void started(std::uint64_t task, pid_t pid, Time now) override;
  void ended(std::uint64_t task, Time now) override;
  std::string finish(std::uint64_t task, const rusage& usage, Time now) override;
  void forget(std::uint64_t task) override { for_push_.erase(task); }
  /// What a task that came in a batch used, for its result; null when the manager does not want it.
  std::unique_ptr<pb::TaskMeasurement> take(std::uint64_t task);

 private:
  [[nodiscard]] bool is_told() const;  ///< the manager or a log wants the numbers of each task
  [[nodiscard]] measure::Limits limits_of(const TaskSlot& task) const;
  void arm();
  void on_timer();
  void act_on(const measure::Watchdog::Passed& passed);
  /// Limits that others than the watchdog met: the kernel's on memory, the machine's on wall time.
  void add_limits_met(std::uint64_t task, const TaskSlot& slot, measure::Measurement& measured) const;
  void tell(const TaskSlot& task, const measure::Measurement& measured);

  Context& context_;
  LimitPolicy policy_;
  TaskGroups groups_;
  std::unordered_map<std::uint64_t, double> out_of_memory_;  ///< stopped by the kernel: MB that were allowed
  measure::Watchdog watchdog_;
  boost::asio::steady_timer timer_;
  std::optional<Time> armed_;
  std::unordered_map<std::uint64_t, std::unique_ptr<pb::TaskMeasurement>> for_push_;
};

}  // namespace taskmill::worker
