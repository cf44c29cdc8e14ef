// The course of a task in a bounded number of pieces, finer at the beginning of a short task, coarser for a long one.
//
// Pieces have at least the current resolution; when `points` are full, neighbours are merged and the resolution
// doubles. So the pieces always cover the whole run, averages and maxima stay exact, and memory does not grow with run
// time.
#pragma once

#include <cstddef>
#include <vector>

#include "common/base/time.hpp"
#include "common/measure/core/measurement.hpp"

namespace taskmill::measure {

class TimeLine {
 public:
  explicit TimeLine(std::size_t points, Duration resolution = Duration{10'000});

  /// One sample: up to `until` (since the start) `cpu` was used in total; the rest is what held at that moment.
  void add(Duration until, Duration cpu, std::int64_t memory, std::int64_t disk, std::int32_t processes);
  [[nodiscard]] std::vector<TimePoint> points() const;

 private:
  struct Piece {
    std::int64_t until_us = 0, cpu_us = 0, memory = 0, disk = 0;
    std::int32_t processes = 0;

    void take(const Piece& next);  ///< the one that follows becomes part of this one
  };
  void halve();

  std::size_t limit_;
  std::int64_t resolution_us_;
  std::vector<Piece> pieces_;
  std::int64_t cpu_total_us_ = 0;
};

}  // namespace taskmill::measure
