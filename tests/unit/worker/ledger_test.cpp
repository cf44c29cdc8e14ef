#include "worker/core/ledger.hpp"

#include <gtest/gtest.h>

#include "common/base/random.hpp"

namespace taskmill::worker {
namespace {

Resources offer(double cores, std::int64_t memory, std::int64_t disk, std::int64_t gpus) {
  return {cores, memory, disk, gpus};
}

std::vector<int> numbers(const Ledger::Claim& claim) {
  std::vector<int> all;
  for (const auto& share : claim.cores) all.push_back(share.number);
  return all;
}

TEST(Ledger, NothingSaidMeansEverything) {
  const auto amount = allocation_of({}, offer(4, 1000, 2000, 1));
  EXPECT_EQ(amount, (Allocation{4000, 1000, 2000, 1}));
}

TEST(Ledger, UnsetAmountsAreZeroWhenAnyIsSet) {
  EXPECT_EQ(allocation_of({1, -1, -1, -1}, offer(4, 1000, 2000, 1)), (Allocation{1000, 0, 0, 0}));
  EXPECT_EQ(allocation_of({0.5, 7, -3, 0}, offer(4, 1000, 2000, 1)), (Allocation{500, 7, 0, 0}));
}

TEST(Ledger, CoreNumbersAreExclusiveAndLowestFirst) {
  Ledger ledger;
  ledger.offer(offer(4, 100, 100, 0));
  const auto a = ledger.take({2000, 0, 0, 0});
  const auto b = ledger.take({1000, 0, 0, 0});
  EXPECT_EQ(numbers(a), (std::vector<int>{0, 1}));
  EXPECT_EQ(numbers(b), (std::vector<int>{2}));
  ledger.give_back(a);
  EXPECT_EQ(numbers(ledger.take({1000, 0, 0, 0})), (std::vector<int>{0}));
}

TEST(Ledger, HalfCoresFillWholeOnes) {
  Ledger ledger;
  ledger.offer(offer(1, 100, 100, 0));
  const auto a = ledger.take({500, 0, 0, 0});
  EXPECT_TRUE(ledger.fits_now({500, 0, 0, 0}));
  const auto b = ledger.take({500, 0, 0, 0});
  EXPECT_FALSE(ledger.fits_now({1, 0, 0, 0}));
  ledger.give_back(a);
  ledger.give_back(b);
  EXPECT_EQ(ledger.taken(), Allocation{});
}

TEST(Ledger, EachResourceLimits) {
  Ledger ledger;
  ledger.offer(offer(2, 100, 50, 1));
  EXPECT_TRUE(ledger.fits_empty({2000, 100, 50, 1}));
  EXPECT_FALSE(ledger.fits_empty({2001, 0, 0, 0}));
  EXPECT_FALSE(ledger.fits_empty({0, 101, 0, 0}));
  EXPECT_FALSE(ledger.fits_empty({0, 0, 51, 0}));
  EXPECT_FALSE(ledger.fits_empty({0, 0, 0, 2}));
}

TEST(Ledger, GpuNumbersComeBack) {
  Ledger ledger;
  ledger.offer(offer(4, 100, 100, 3));
  const auto a = ledger.take({0, 0, 0, 1});
  const auto b = ledger.take({0, 0, 0, 2});
  EXPECT_EQ(a.gpus, (std::vector<int>{0}));
  EXPECT_EQ(b.gpus, (std::vector<int>{1, 2}));
  ledger.give_back(a);
  EXPECT_EQ(ledger.take({0, 0, 0, 1}).gpus, (std::vector<int>{0}));
}

TEST(Ledger, RandomTakingNeverOvercommitsACore) {
  Ledger ledger;
  ledger.offer(offer(8, 1 << 20, 1 << 20, 0));
  Random random(7);
  std::vector<Ledger::Claim> held;
  for (int step = 0; step < 20000; ++step) {
    const Allocation amount{static_cast<std::int64_t>(random.below(4)) * 1000, 1, 1, 0};
    if (random.below(2) == 0 && ledger.fits_now(amount)) {
      held.push_back(ledger.take(amount));
    } else if (!held.empty()) {
      const auto at = random.below(held.size());
      ledger.give_back(held[at]);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
    }
    std::vector<int> use(8, 0);
    for (const auto& claim : held) {
      for (const auto& share : claim.cores) use[static_cast<std::size_t>(share.number)] += share.milli;
    }
    for (const int milli : use) ASSERT_LE(milli, 1000);
  }
}

}  // namespace
}  // namespace taskmill::worker
