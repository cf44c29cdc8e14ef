#include "worker/core/ledger.hpp"

#include <algorithm>
#include <cmath>

#include "common/base/assert.hpp"

namespace taskmill::worker {
namespace {

constexpr std::int64_t milli = 1000;
constexpr double most_cores = 1'000'000;

std::int64_t to_milli(double cores) {
  return std::llround(std::clamp(cores, 0.0, most_cores) * static_cast<double>(milli));
}

}  // namespace

Allocation allocation_of(const Resources& request, const Resources& offered) {
  const bool nothing_said = request.cores < 0 && request.memory < 0 && request.disk < 0 && request.gpus < 0;
  const Resources& from = nothing_said ? offered : request;
  Allocation amount;
  amount.cores_milli = to_milli(from.cores);
  amount.memory = std::max<std::int64_t>(from.memory, 0);
  amount.disk = std::max<std::int64_t>(from.disk, 0);
  amount.gpus = std::max<std::int64_t>(from.gpus, 0);
  return amount;
}

void Ledger::offer(const Resources& offered) {
  offered_ = offered;
  total_ = {to_milli(offered.cores), std::max<std::int64_t>(offered.memory, 0), std::max<std::int64_t>(offered.disk, 0),
            std::max<std::int64_t>(offered.gpus, 0), total_.coprocesses};
  // Numbers only grow, so that claims given out keep their meaning.
  const auto cores = static_cast<std::size_t>((total_.cores_milli + milli - 1) / milli);
  if (core_use_.size() < cores) core_use_.resize(cores, 0);
  if (gpu_used_.size() < static_cast<std::size_t>(total_.gpus)) gpu_used_.resize(static_cast<std::size_t>(total_.gpus));
}

bool Ledger::fits_now(const Allocation& amount) const {
  return taken_.cores_milli + amount.cores_milli <= total_.cores_milli &&
         taken_.memory + amount.memory <= total_.memory && taken_.disk + amount.disk <= total_.disk &&
         taken_.gpus + amount.gpus <= total_.gpus && taken_.coprocesses + amount.coprocesses <= total_.coprocesses;
}

bool Ledger::fits_empty(const Allocation& amount) const {
  return amount.cores_milli <= total_.cores_milli && amount.memory <= total_.memory && amount.disk <= total_.disk &&
         amount.gpus <= total_.gpus && amount.coprocesses <= total_.coprocesses;
}

Ledger::Claim Ledger::take(const Allocation& amount) {
  TASKMILL_ASSERT(fits_now(amount));
  Claim claim{amount, {}, {}};
  taken_.cores_milli += amount.cores_milli;
  taken_.memory += amount.memory;
  taken_.disk += amount.disk;
  taken_.gpus += amount.gpus;
  taken_.coprocesses += amount.coprocesses;
  for (auto left = amount.cores_milli; left > 0; left -= milli) {
    const auto least = std::min_element(core_use_.begin(), core_use_.end());
    const auto part = std::min(left, milli);
    *least += part;
    claim.cores.push_back({static_cast<int>(least - core_use_.begin()), static_cast<int>(part)});
  }
  std::sort(claim.cores.begin(), claim.cores.end(), [](auto a, auto b) { return a.number < b.number; });
  for (std::size_t i = 0; i < gpu_used_.size() && claim.gpus.size() < static_cast<std::size_t>(amount.gpus); ++i) {
    if (gpu_used_[i]) continue;
    gpu_used_[i] = true;
    claim.gpus.push_back(static_cast<int>(i));
  }
  return claim;
}

void Ledger::give_back(const Claim& claim) {
  taken_.cores_milli -= claim.amount.cores_milli;
  taken_.memory -= claim.amount.memory;
  taken_.disk -= claim.amount.disk;
  taken_.gpus -= claim.amount.gpus;
  taken_.coprocesses -= claim.amount.coprocesses;
  for (const auto& share : claim.cores) core_use_[static_cast<std::size_t>(share.number)] -= share.milli;
  for (const int gpu : claim.gpus) gpu_used_[static_cast<std::size_t>(gpu)] = false;
  TASKMILL_ASSERT(taken_.cores_milli >= 0 && taken_.memory >= 0 && taken_.disk >= 0 && taken_.gpus >= 0);
}

}  // namespace taskmill::worker
