// What happened around the tasks of an analysis: who was connected when, and the time of second copies that lost.
// Pure: times come in.
#pragma once

#include <unordered_map>
#include <vector>

#include "manager/analysis/report.hpp"
#include "manager/core/effects.hpp"

namespace taskmill::manager {

class AnalysisLog {
 public:
  void on_report(const Report& report, const TaskOutcome* outcome, WallTime now);
  /// Kept when it differs from the one before; at most a few thousand, evenly thinned.
  void sample(const analysis::WorkerSample& sample);
  [[nodiscard]] const std::vector<analysis::WorkerSample>& workers() const { return workers_; }
  [[nodiscard]] double lost_copy_hours() const { return lost_copy_hours_; }

 private:
  struct Begun {
    WallTime first, second;  ///< second: the epoch while there is no copy
  };
  std::unordered_map<TaskId, Begun> begun_;
  std::vector<analysis::WorkerSample> workers_;
  double lost_copy_hours_ = 0;
};

}  // namespace taskmill::manager
