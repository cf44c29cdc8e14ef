#include "common/measure/core/cpu_window.hpp"

#include <algorithm>

namespace taskmill::measure {

namespace {
constexpr std::int64_t points_per_window = 64;
}

double CpuWindow::in_window() const {
  const auto& last = points_.back();
  const auto begin = last.at - length_.count();
  if (begin <= 0) return static_cast<double>(last.cpu);
  const auto after = std::find_if(points_.begin(), points_.end(), [&](const Point& p) { return p.at >= begin; });
  double cpu_at_begin = static_cast<double>(after->cpu);
  if (after != points_.begin() && after->at > begin) {
    const auto before = std::prev(after);
    const double share = static_cast<double>(begin - before->at) / static_cast<double>(after->at - before->at);
    cpu_at_begin = static_cast<double>(before->cpu) + share * static_cast<double>(after->cpu - before->cpu);
  }
  return static_cast<double>(last.cpu) - cpu_at_begin;
}

void CpuWindow::add(Duration at, Duration cpu) {
  const Point point{std::max<std::int64_t>(at.count(), points_.back().at),
                    std::max<std::int64_t>(cpu.count(), points_.back().cpu)};
  // Points closer than 1/64 of the window to their predecessor replace it (never the first one).
  if (points_.size() > 2 && point.at - points_[points_.size() - 2].at < length_.count() / points_per_window)
    points_.back() = point;
  else
    points_.push_back(point);
  while (points_.size() > 2 && points_[1].at <= point.at - length_.count()) points_.pop_front();
  if (point.at >= length_.count()) peak_ = std::max(peak_, in_window() / static_cast<double>(length_.count()));
}

double CpuWindow::now() const { return length_.count() > 0 ? in_window() / static_cast<double>(length_.count()) : 0; }

double CpuWindow::peak() const {
  const auto& last = points_.back();
  if (last.at >= length_.count()) return peak_;
  return last.at > 0 ? static_cast<double>(last.cpu) / static_cast<double>(last.at) : 0;
}

}  // namespace taskmill::measure
