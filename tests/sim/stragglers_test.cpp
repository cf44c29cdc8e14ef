// What a second copy of outliers is worth, played on slow and fast workers under the virtual clock.
#include <gtest/gtest.h>

#include "tests/support/sim_world.hpp"

namespace taskmill::testing {
namespace {

struct Played {
  SimResult result;
  manager::Stats stats;
};

/// 400 tasks of 20 to 40 s on 40 workers of one core, a tenth of which takes ten times as long.
Played play(manager::Stragglers policy, bool may_run_twice) {
  SimOptions o;
  o.seed = 3;
  o.workers = 40;
  o.cores = 1;
  o.slow_workers = 0.1;
  o.check = true;
  o.config.stragglers = policy;
  const auto source = [&](std::uint32_t i, SimTask& task) {
    task.spec.command = "analyze";
    task.spec.resources = {1, 100, 10, -1};
    task.spec.may_run_twice = may_run_twice;
    task.duration = std::chrono::seconds(20 + i * 7 % 21);
  };
  SimWorld world(o, 400, source);
  Played played;
  played.result = world.run();
  played.stats = world.machine().stats();
  return played;
}

TEST(Stragglers, CopiesEndTheWaitForSlowWorkersAndEveryTaskEndsOnce) {
  const Played leave = play(manager::Stragglers::leave, true);
  const Played copy = play(manager::Stragglers::replicate, true);
  for (const auto* played : {&leave, &copy}) {
    EXPECT_EQ(played->result.problems, std::vector<std::string>{});
    EXPECT_EQ(played->result.succeeded, 400U);
    EXPECT_EQ(played->result.finished, 400U);
  }
  EXPECT_EQ(leave.stats.stragglers_copied, 0);
  EXPECT_GT(copy.stats.copies_won, 0);
  EXPECT_LT(copy.result.makespan * 4, leave.result.makespan * 3) << "at least a quarter shorter";
}

TEST(Stragglers, TasksThatMayNotRunTwiceDoNot) {
  const Played none = play(manager::Stragglers::replicate, false);
  EXPECT_EQ(none.stats.stragglers_copied, 0);
  EXPECT_EQ(none.result.dispatched, 400U);
}

}  // namespace
}  // namespace taskmill::testing
