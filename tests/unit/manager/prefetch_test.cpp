// Prefetch: how many tasks are sent to a worker beyond what it can run now.
#include <gtest/gtest.h>

#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

TEST(Prefetch, SendsOnlyShortTasksAhead) {
  Config config;
  config.prefetch_tasks = 2;
  MachineDriver d(config);
  d.connect({.cores = 1});
  for (int i = 0; i < 40; ++i) d.submit(request(1));
  d.step();
  EXPECT_EQ(d.sent.size(), 1U);  // nothing is known of their length yet
  ResultFacts facts;
  facts.execution_us = 1000;  // and 9 ms pass before the news is here
  for (int i = 0; i < 12; ++i) {
    d.pass(std::chrono::milliseconds(10));
    d.finish(d.sent[static_cast<std::size_t>(i)].task, facts);
  }
  EXPECT_EQ(d.sent.size(), 15U);  // one runs, two wait there
  EXPECT_EQ(d.machine.stats().committed_cores, 1);
  for (int i = 12; i < 20; ++i) d.finish(d.sent[static_cast<std::size_t>(i)].task, facts);
  EXPECT_EQ(d.sent.size(), 23U);
}

TEST(Prefetch, IsForTasksThatEndWhileNewsTravel) {
  for (const int execution_ms : {1, 10, 1000}) {
    MachineDriver d;
    d.connect({.cores = 1});
    for (int i = 0; i < 100; ++i) d.submit(request(1));
    d.step();
    ResultFacts facts;
    facts.execution_us = static_cast<std::uint64_t>(execution_ms) * 1000;
    for (int i = 0; i < 12; ++i) {
      d.pass(std::chrono::milliseconds(execution_ms + 9));
      d.finish(d.sent[static_cast<std::size_t>(i)].task, facts);
    }
    const std::size_t here = d.sent.size() - 12;
    const std::size_t least = execution_ms == 1 ? 11 : execution_ms == 10 ? 3 : 1;
    const std::size_t most = execution_ms == 1 ? 65 : least;  // a long one would wait where it is
    EXPECT_GE(here, least) << execution_ms;
    EXPECT_LE(here, most) << execution_ms;
  }
}

TEST(Prefetch, LeavesTasksThatNeedMoreThanOneOfThoseThatRun) {
  MachineDriver d;
  d.connect({.cores = 4});
  for (int i = 0; i < 40; ++i) d.submit(request(1));
  d.step();
  ResultFacts facts;
  facts.execution_us = 1000;
  for (int i = 0; i < 12; ++i) {
    d.pass(std::chrono::milliseconds(10));
    d.finish(d.sent[static_cast<std::size_t>(i)].task, facts);
  }
  EXPECT_GT(d.sent.size(), 16U);
  TaskSpec spec = request(2);
  spec.priority = 10;
  const TaskId large = d.submit(spec);
  d.pass(std::chrono::milliseconds(10));
  d.finish(d.sent[12].task, facts);
  EXPECT_EQ(d.machine.state(large), TaskState::ready);
}

TEST(Prefetch, NothingOvertakesATaskThatIsNextInLine) {
  MachineDriver d;
  d.connect({.cores = 1});
  for (int i = 0; i < 200; ++i) d.submit(request(1));
  d.step();
  ResultFacts facts;
  facts.execution_us = 1000;
  std::size_t ended = 0;
  const auto end_one = [&] {
    d.pass(std::chrono::milliseconds(10));
    d.finish(d.sent[ended++].task, facts);
  };
  while (ended < 12) end_one();
  TaskSpec unknown = request(1);  // nothing is known of its category: it is not sent ahead
  unknown.category = "new";
  unknown.priority = 1;
  const TaskId next = d.submit(unknown);
  const std::size_t there = d.sent.size();
  while (d.machine.state(next) == TaskState::ready && ended < there) end_one();
  EXPECT_EQ(d.machine.state(next), TaskState::running) << "after those that were there already";
  ASSERT_GT(d.sent.size(), there);
  EXPECT_EQ(d.sent[there].task, next) << "what is sent ahead behind it comes behind it";
}

TEST(Prefetch, EndsWhenFewerTasksWaitThanRun) {
  MachineDriver d;
  d.connect({.cores = 4});
  for (int i = 0; i < 24; ++i) d.submit(request(1));
  d.step();
  ResultFacts facts;
  facts.execution_us = 1000;
  for (int i = 0; i < 20; ++i) {
    d.pass(std::chrono::milliseconds(10));
    d.finish(d.sent[static_cast<std::size_t>(i)].task, facts);
  }
  EXPECT_EQ(d.sent.size(), 24U);
  EXPECT_EQ(d.machine.stats().committed_cores, 4);
}

}  // namespace
}  // namespace taskmill::testing
