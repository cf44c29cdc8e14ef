// The four bars below an analysis, and the line that takes their place when the output is not a terminal. Pure text.
#pragma once

#include <string>
#include <vector>

#include "common/base/time.hpp"
#include "manager/analysis/core/planner.hpp"

namespace taskmill::manager::analysis {

/// When each phase began and was last seen unfinished; the caller keeps it and passes it along.
struct BarTimes {
  Duration preprocessing{-1}, processing{-1}, accumulating{-1};  ///< begin; negative: not yet
  /// End; negative: not yet.
  Duration preprocessing_end{-1}, processing_end{-1}, submitted_end{-1}, accumulating_end{-1};
};

/// Notes begins and ends of phases at `elapsed` since the start of the run.
void update_times(BarTimes& times, const Progress& progress, Duration elapsed);

/// Four lines, none longer than `width` columns (0: no limit).
std::vector<std::string> bar_lines(const Progress& progress, const BarTimes& times, Duration elapsed,
                                   std::size_t width);

/// "0:00:12 2/2 files, 120000/400224 events (30%), 3 merges done, 14 tasks in flight, 4 workers"
std::string plain_line(const Progress& progress, Duration elapsed, std::int64_t workers);

}  // namespace taskmill::manager::analysis
