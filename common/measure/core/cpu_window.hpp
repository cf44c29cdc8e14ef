// CPU used in a sliding window: the average over the last `length`, and the highest such average so far.
//
// Samples come at uneven times; the value at the window's edge is interpolated. Keeps a bounded number of points.
#pragma once

#include <cstdint>
#include <deque>

#include "common/base/time.hpp"

namespace taskmill::measure {

class CpuWindow {
 public:
  explicit CpuWindow(Duration length) : length_(length) {}

  /// `cpu` in total used up to `at` (both since the start, never falling).
  void add(Duration at, Duration cpu);
  /// CPU of the last window divided by the window's whole length, also while the task is younger than that.
  [[nodiscard]] double now() const;
  /// Highest average over a full window; over the whole time when that is shorter than one window.
  [[nodiscard]] double peak() const;

 private:
  struct Point {
    std::int64_t at = 0, cpu = 0;
  };
  [[nodiscard]] double in_window() const;

  Duration length_;
  std::deque<Point> points_{{0, 0}};
  double peak_ = 0;
};

}  // namespace taskmill::measure
