// How many workers the manager could keep busy, from the last 49 finished tasks (manager.md 15.3). Sums are kept as
// reports come and go, so reading and writing are O(1).
#pragma once

#include <array>
#include <cstdint>

#include "common/base/time.hpp"
#include "manager/core/box.hpp"

namespace taskmill::manager {

struct CapacityReport {
  std::int64_t transfer_us = 0, execute_us = 0, manager_us = 0;
  Box allocated;
};

class Capacity {
 public:
  void add(const CapacityReport& report);
  struct Figures {
    std::int64_t tasks = 10, cores = 10, memory = 5120, disk = 10240, gpus = 0, instantaneous = 10, weighted = 10;
  };
  [[nodiscard]] Figures figures() const;

 private:
  static constexpr std::size_t kept = 49;
  std::array<CapacityReport, kept> reports_{};
  std::size_t count_ = 0, next_ = 0;
  CapacityReport sum_;
  std::int64_t instantaneous_ = 10;
  double weighted_ = 10;
};

}  // namespace taskmill::manager
