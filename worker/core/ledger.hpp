// What the worker offers and what its tasks have taken, including which core and GPU numbers.
//
// Cores are counted in thousandths (a task may ask for half a core); memory and disk in MB. A task that names cores
// gets their numbers, least used and lowest first; numbers of whole cores are exclusive as long as nobody overcommits
// by fractions. Invariant: taken <= offered in every resource.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/resources.hpp"

namespace taskmill::worker {

/// What one task holds. Units as in Ledger.
struct Allocation {
  std::int64_t cores_milli = 0;
  std::int64_t memory = 0;
  std::int64_t disk = 0;
  std::int64_t gpus = 0;
  std::int64_t coprocesses = 0;  ///< 1 for a function call
  auto operator<=>(const Allocation&) const = default;
};

/// Request of a task as it came (unset or negative: nothing asked) to what it is given. All four unset: everything.
Allocation allocation_of(const Resources& request, const Resources& offered);

class Ledger {
 public:
  struct CoreShare {
    int number = 0;
    int milli = 0;  ///< thousandths of it
  };
  struct Claim {
    Allocation amount;
    std::vector<CoreShare> cores;
    std::vector<int> gpus;
  };

  void offer(const Resources& offered);
  void offer_coprocesses(std::int64_t count) { total_.coprocesses = count; }
  [[nodiscard]] const Resources& offered() const { return offered_; }
  [[nodiscard]] const Allocation& taken() const { return taken_; }

  [[nodiscard]] bool fits_now(const Allocation& amount) const;
  [[nodiscard]] bool fits_empty(const Allocation& amount) const;
  /// Requires fits_now().
  Claim take(const Allocation& amount);
  void give_back(const Claim& claim);

 private:
  Resources offered_;
  Allocation total_;
  Allocation taken_;
  std::vector<std::int64_t> core_use_;  ///< thousandths taken of each core number
  std::vector<bool> gpu_used_;
};

}  // namespace taskmill::worker
