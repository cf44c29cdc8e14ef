#include "common/measure/core/limits.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace taskmill::measure {
namespace {

using namespace std::chrono_literals;
constexpr std::int64_t MB = 1 << 20;

TEST(Limits, NoLimitIsNeverPassed) {
  Usage usage;
  usage.memory = 1000 * MB;
  usage.processes = 100'000;
  usage.cores = 64;
  EXPECT_TRUE(decide({}, usage).empty());
}

TEST(Limits, ExactlyTheLimitIsAllowed) {
  Limits limits;
  limits.memory = 100;
  Usage usage;
  usage.memory = 100 * MB;
  EXPECT_TRUE(decide(limits, usage).empty());
  usage.memory += 1;
  const auto exceeded = decide(limits, usage);
  ASSERT_EQ(exceeded.size(), 1u);
  EXPECT_EQ(exceeded[0].kind, LimitKind::memory);
  EXPECT_EQ(to_text(exceeded[0]), "memory: 101 MB used, 100 MB allowed");
}

TEST(Limits, CoresForgiveAQuarterAndAreOnlyToldUnlessEnforced) {
  Limits limits;
  limits.cores = 1;
  Usage usage;
  usage.cores = 1.2;
  EXPECT_TRUE(decide(limits, usage).empty());
  usage.cores = 1.3;
  ASSERT_EQ(decide(limits, usage).size(), 1u);
  EXPECT_FALSE(decide(limits, usage)[0].enforced);
  limits.cores_enforced = true;
  EXPECT_TRUE(decide(limits, usage)[0].enforced);
}

TEST(Limits, EveryKindIsNamedWithWhatWasAllowedAndUsed) {
  Limits limits;
  limits.memory = limits.disk = limits.swap = 1;
  limits.wall_time = limits.cpu_time = 1.5;
  limits.processes = limits.files = 1;
  Usage usage{2 * MB, 2 * MB, 2 * MB, 2, 2, 0, 2s, 2s};
  const auto exceeded = decide(limits, usage);
  ASSERT_EQ(exceeded.size(), 7u);
  for (const auto& e : exceeded) EXPECT_DOUBLE_EQ(e.used, 2) << to_string(e.kind);
  limits.memory = 0;
  EXPECT_EQ(decide(limits, usage).size(), 7u) << "a limit of nothing is a limit";
}

TEST(NextInterval, GrowthTowardsTheLimitIsWatchedClosely) {
  Limits limits;
  limits.memory = 1000;
  Usage before, now;
  before.memory = 100 * MB;
  now.memory = 600 * MB;  // 500 MB/s: 0.8 s left
  const auto next = next_interval(limits, before, now, 1s, 20ms, 1s);
  EXPECT_NEAR(static_cast<double>(next.count()), 400e3, 1e3);
  now.memory = 999 * MB;
  EXPECT_EQ(next_interval(limits, before, now, 1s, 20ms, 1s), 20ms);
  EXPECT_EQ(next_interval(limits, before, before, 1s, 20ms, 1s), 1s) << "no growth";
  EXPECT_EQ(next_interval({}, before, now, 1s, 20ms, 1s), 1s) << "no limit";
}

TEST(NextInterval, WallTimeIsMetToTheMillisecond) {
  Limits limits;
  limits.wall_time = 10;
  Usage now;
  now.wall = 9700ms;
  EXPECT_NEAR(static_cast<double>(next_interval(limits, now, now, 1s, 20ms, 1s).count()), 301e3, 1e3);
}

}  // namespace
}  // namespace taskmill::measure
