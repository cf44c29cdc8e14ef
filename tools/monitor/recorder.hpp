// Turns measurements into what is written: maxima and when they grew, rows of the time series, segments of snapshots.
#pragma once

#include <string>
#include <vector>

#include "common/measure/core/measurement.hpp"
#include "tools/monitor/resource_table.hpp"
#include "tools/monitor/summary.hpp"

namespace taskmill::monitor {

/// What the machine as a whole says at a sample.
struct Machine {
  double cpus = 0;
  double load = 0;
};

class Recorder {
 public:
  /// `wall_start` is Unix time in seconds.
  Recorder(double wall_start, Machine machine);

  /// One sample: everything so far, and what holds now.
  void add(const measure::Measurement& so_far, const measure::Usage& now, double load);
  [[nodiscard]] const Values& values() const { return values_; }
  [[nodiscard]] const Values& peak_times() const { return peaks_; }
  /// Closes the present segment under this name.
  void snapshot(const std::string& name);
  [[nodiscard]] const std::vector<Snapshot>& snapshots() const { return snapshots_; }

  static std::string series_header(bool disk);
  [[nodiscard]] std::string series_row(bool disk) const;

 private:
  void note_growth(const Values& before, double seconds);

  double wall_start_;
  Machine machine_;
  Values values_, peaks_;
  Values now_;            ///< at the last sample, for rows
  Values segment_;        ///< maxima since the last snapshot
  Values segment_begin_;  ///< totals when the segment began
  std::vector<Snapshot> snapshots_;
};

}  // namespace taskmill::monitor
