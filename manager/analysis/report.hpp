// The report of an analysis: numbers for the terminal, and one self-contained HTML file (no network, no scripts).
#pragma once

#include <string>
#include <vector>

#include "manager/analysis/executor.hpp"
#include "manager/core/machine.hpp"

namespace taskmill::manager::analysis {

/// Who was connected at some moment.
struct WorkerSample {
  WallTime at;
  std::int64_t workers = 0, cores = 0;
};

/// What the executor itself does not know.
struct RunNumbers {
  Duration elapsed{0};
  Stats stats;
  std::vector<WorkerSample> workers;
  double lost_copy_hours = 0;  ///< core-hours of second copies, or of the tasks they overtook
};

/// Several lines: wall time, events/s, core-hours useful and wasted by cause, retries, splits, bytes, slowest hosts,
/// recommended settings for next time.
std::string summary_text(const Executor& executor, const RunNumbers& run);

/// The same with pictures: task time line, run-time and memory distributions per phase, workers over time, failures.
std::string report_html(const Executor& executor, const RunNumbers& run);

}  // namespace taskmill::manager::analysis
