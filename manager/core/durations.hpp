// Run times of successful attempts in a fixed logarithmic histogram (steps of 7 %): median and upper quantiles in
// constant memory, for the detection of stragglers.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "common/base/time.hpp"

namespace taskmill::manager {

class Durations {
 public:
  void add(Duration duration) {
    ++counts_[slot(duration)];
    ++count_;
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  /// Upper end of the step that holds the quantile; zero when empty.
  [[nodiscard]] Duration quantile(double q) const {
    if (count_ == 0) return Duration{0};
    auto left = static_cast<std::int64_t>(std::ceil(q * static_cast<double>(count_)));
    for (std::size_t i = 0; i < slots; ++i) {
      left -= counts_[i];
      if (left <= 0) return Duration{static_cast<std::int64_t>(std::exp2(static_cast<double>(i + 1) / 10.0))};
    }
    return Duration{static_cast<std::int64_t>(std::exp2(slots / 10.0))};
  }

 private:
  static constexpr std::size_t slots = 420;  ///< up to 2^42 us, 50 days
  static std::size_t slot(Duration duration) {
    const auto us = static_cast<double>(std::max<std::int64_t>(duration.count(), 1));
    return std::min(slots - 1, static_cast<std::size_t>(std::log2(us) * 10.0));
  }
  std::array<std::uint32_t, slots> counts_{};
  std::uint64_t count_ = 0;
};

}  // namespace taskmill::manager
