#include "common/aio/pace.hpp"

#include <algorithm>
#include <cmath>

namespace taskmill::aio {

// A twentieth of a second's worth at once: fine enough for fairness, coarse enough to cost nothing.
Pace::Pace(double bytes_per_second)
    : rate_(std::max(bytes_per_second, 1.0)), burst_(std::max(rate_ / 20, 1.0)), left_(burst_) {}

std::size_t Pace::allowance(Time now) {
  const double passed = std::chrono::duration<double>(now - filled_).count();
  if (passed > 0) left_ = std::min(burst_, left_ + passed * rate_);
  filled_ = now;
  return left_ < std::min(burst_, 1.0) ? 0 : static_cast<std::size_t>(std::max(left_, 1.0));
}

Duration Pace::wait() const {
  const double lacking = std::max(burst_ / 2 - left_, 0.0);
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::min(lacking / rate_, 3600.0))) +
         std::chrono::milliseconds(1);
}

}  // namespace taskmill::aio
