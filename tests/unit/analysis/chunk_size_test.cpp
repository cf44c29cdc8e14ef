#include "manager/analysis/core/chunk_size.hpp"

#include <gtest/gtest.h>

namespace taskmill::manager::analysis {
namespace {

TEST(ChunkSizer, StaysFixedWithoutTargets) {
  ChunkSizer sizer(1000, std::nullopt);
  sizer.on_done(1000, 500, 9000);
  sizer.on_exhausted(1000);
  EXPECT_EQ(sizer.next(), 1000U);
}

TEST(ChunkSizer, FindsTheLargestPowerOfTwoWithinTheTimeTarget) {
  ChunkSizer sizer(1000, ChunkTargets{60.0, std::nullopt});
  // 5 s to start, 1 ms per event: 60 s hold 55,000 events, so 32,768.
  for (int i = 0; i < 40; ++i) {
    const auto n = sizer.next();
    sizer.on_done(n, 5 + 0.001 * static_cast<double>(n), -1);
  }
  EXPECT_EQ(sizer.current(), 32768U);
}

TEST(ChunkSizer, TheTighterTargetWins) {
  ChunkSizer sizer(1000, ChunkTargets{60.0, 500.0});
  // 100 MB at rest, 50 kB per event: 500 MB hold 8,000 events, so 4,096.
  for (int i = 0; i < 40; ++i) {
    const auto n = sizer.next();
    sizer.on_done(n, 0.0001 * static_cast<double>(n), 100 + 0.05 * static_cast<double>(n));
  }
  EXPECT_EQ(sizer.current(), 4096U);
}

TEST(ChunkSizer, AlternatesUntilItHasSeenTwoSizes) {
  ChunkSizer sizer(1024, ChunkTargets{10.0, std::nullopt});
  EXPECT_EQ(sizer.next(), 512U);
  EXPECT_EQ(sizer.next(), 1024U);
}

TEST(ChunkSizer, FollowsWhenEventsGetSlower) {
  ChunkSizer sizer(4096, ChunkTargets{10.0, std::nullopt});
  for (int i = 0; i < 50; ++i) {
    const auto n = sizer.next();
    sizer.on_done(n, 0.001 * static_cast<double>(n), -1);
  }
  EXPECT_EQ(sizer.current(), 8192U);
  for (int i = 0; i < 400; ++i) {
    const auto n = sizer.next();
    sizer.on_done(n, 0.01 * static_cast<double>(n), -1);
  }
  EXPECT_LE(sizer.current(), 1024U);
}

TEST(ChunkSizer, HalvesWhatExhaustedItsMemoryAndGrowsAgainSlowly) {
  ChunkSizer sizer(4096, ChunkTargets{1000.0, std::nullopt});
  sizer.on_exhausted(4096);
  for (int i = 0; i < 19; ++i) {
    const auto n = sizer.next();
    EXPECT_LE(n, 2048U);
    sizer.on_done(n, 0.001 * static_cast<double>(n), -1);
  }
  for (int i = 0; i < 20; ++i) sizer.on_done(2048, 2.048, -1);
  EXPECT_EQ(sizer.current(), 4096U);
}

TEST(ChunkSizer, KeepsChunksToHalfOfTheShortestWorkerLife) {
  ChunkSizer sizer(1000, ChunkTargets{100.0, std::nullopt});
  for (int i = 0; i < 40; ++i) {
    const auto n = sizer.next();
    sizer.on_done(n, 0.001 * static_cast<double>(n), -1);
  }
  EXPECT_EQ(sizer.current(), 65536U);
  sizer.limit_time(20);
  EXPECT_EQ(sizer.current(), 8192U);
}

TEST(ChunkSizer, FollowsALifeLimitAlsoWithATargetForMemoryOnly) {
  ChunkSizer sizer(1000, ChunkTargets{std::nullopt, 4000.0});
  for (int i = 0; i < 40; ++i) {
    const auto n = sizer.next();
    sizer.on_done(n, 0.001 * static_cast<double>(n), 0.001 * static_cast<double>(n));
  }
  EXPECT_GT(sizer.current(), 8192U);
  sizer.limit_time(20);
  EXPECT_EQ(sizer.current(), 8192U);
  sizer.limit_time(std::nullopt);
  EXPECT_GT(sizer.current(), 8192U);
}

TEST(ChunkSizer, TellsHowLongAChunkWillTake) {
  ChunkSizer sizer(1000, std::nullopt);
  EXPECT_FALSE(sizer.expected_s(1000));
  for (std::uint64_t i = 0; i < 40; ++i) sizer.on_done(500 + 50 * i, 2 + 0.001 * static_cast<double>(500 + 50 * i), -1);
  EXPECT_NEAR(sizer.expected_s(10'000).value(), 12, 0.1);
}

TEST(WorkerLife, TheFewThatAreAboutToLeaveDoNotMakeChunksSmall) {
  std::vector<WorkerLife> workers(9, WorkerLife{3600.0, 4});
  workers.push_back({5.0, 4});
  EXPECT_EQ(life_to_plan_for(workers), 3600.0);
  workers.push_back({200.0, 4});
  EXPECT_EQ(life_to_plan_for(workers), 200.0) << "nearly a fifth of the cores";
}

TEST(WorkerLife, WithoutAnEndThereIsNoLimit) {
  EXPECT_FALSE(life_to_plan_for({}));
  EXPECT_FALSE(life_to_plan_for({{std::nullopt, 8}, {std::nullopt, 8}}));
  EXPECT_EQ(life_to_plan_for({{60.0, 8}, {std::nullopt, 1}}), 60.0);
  EXPECT_EQ(life_to_plan_for({{-3.0, 8}}), 0.0) << "overdue";
}

TEST(ChunkSizer, DoesNotCollapseWhenTheTargetIsBelowTheFixedCost) {
  ChunkSizer sizer(1000, ChunkTargets{0.05, std::nullopt});
  // 0.5 s to start, 0.1 ms per event: 50 ms cannot be met; half of the time is work at 5,000 events.
  for (int i = 0; i < 100; ++i) {
    const auto n = sizer.next();
    sizer.on_done(n, 0.5 + 0.0001 * static_cast<double>(n), -1);
  }
  EXPECT_GE(sizer.current(), 1000U);
  EXPECT_LE(sizer.current(), 8192U);
}

}  // namespace
}  // namespace taskmill::manager::analysis
