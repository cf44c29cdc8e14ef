#include "manager/core/capacity.hpp"

#include <algorithm>
#include <cmath>

namespace taskmill::manager {
namespace {
std::int64_t divide_up(std::int64_t a, std::int64_t b) { return a / b + (a % b > 0 ? 1 : 0); }
}  // namespace

void Capacity::add(const CapacityReport& report) {
  CapacityReport& slot = reports_[next_];
  if (count_ == kept) {
    sum_.transfer_us -= slot.transfer_us;
    sum_.execute_us -= slot.execute_us;
    sum_.manager_us -= slot.manager_us;
    sum_.allocated -= slot.allocated;
  } else {
    ++count_;
  }
  slot = report;
  next_ = (next_ + 1) % kept;
  sum_.transfer_us += report.transfer_us;
  sum_.execute_us += report.execute_us;
  sum_.manager_us += report.manager_us;
  sum_.allocated += report.allocated;
  instantaneous_ = report.transfer_us > 0
                       ? divide_up(report.execute_us, std::max<std::int64_t>(report.transfer_us + report.manager_us, 1))
                       : 0;
  weighted_ = std::ceil(0.05 * static_cast<double>(instantaneous_) + 0.95 * weighted_);
}

Capacity::Figures Capacity::figures() const {
  Figures f;
  if (count_ == 0) return f;
  const auto at_least_one = [](std::int64_t v) { return std::max<std::int64_t>(v, 1); };
  f.tasks = std::max<std::int64_t>(
      10, divide_up(at_least_one(sum_.execute_us), at_least_one(sum_.transfer_us) + at_least_one(sum_.manager_us)));
  const auto n = static_cast<std::int64_t>(count_);
  const auto scaled = [&](std::int64_t sum) {
    return static_cast<std::int64_t>(
        std::ceil(static_cast<double>(sum) * static_cast<double>(f.tasks) / static_cast<double>(n)));
  };
  f.cores = divide_up(scaled(sum_.allocated.cores), milli);
  f.memory = scaled(sum_.allocated.memory);
  f.disk = scaled(sum_.allocated.disk);
  f.gpus = scaled(sum_.allocated.gpus);
  f.instantaneous = instantaneous_;
  f.weighted = static_cast<std::int64_t>(weighted_);
  return f;
}

}  // namespace taskmill::manager
