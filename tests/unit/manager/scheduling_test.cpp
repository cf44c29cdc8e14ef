// Which worker gets which task: the algorithms of manager.md 8.4 as their interface documents them, data-aware
// placement, and that tasks which fit nowhere cost the others nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

Config with(Algorithm algorithm) {
  Config config;
  config.algorithm = algorithm;
  return config;
}

TEST(Scheduling, WorstTakesTheWorkerWithMostFree) {
  MachineDriver d(with(Algorithm::worst));
  d.connect({.cores = 2, .memory = 2000, .disk = 2000});
  d.connect({.cores = 4, .memory = 4000, .disk = 4000});
  const ConnId large = d.connect({.cores = 8, .memory = 8000, .disk = 8000});
  d.step();
  for (int i = 0; i < 4; ++i) d.submit(request(1));
  d.step();
  EXPECT_EQ(d.sent_to(large), 4U);
  for (int i = 0; i < 4; ++i) d.submit(request(1));
  d.step();
  EXPECT_EQ(d.sent.size(), 8U);
  EXPECT_LT(d.sent_to(large), 8U);
}

TEST(Scheduling, TimePrefersTheFasterWorkerOnceBothAreKnown) {
  MachineDriver d(with(Algorithm::time));
  const ConnId a = d.connect({.cores = 1});
  const ConnId b = d.connect({.cores = 1});
  d.submit(request(1));
  d.submit(request(1));
  d.step();
  const TaskId on_a = d.sent[0].conn == a ? d.sent[0].task : d.sent[1].task;
  const TaskId on_b = d.sent[0].conn == b ? d.sent[0].task : d.sent[1].task;
  ResultFacts facts;
  d.pass(std::chrono::seconds(1));
  facts.execution_us = 1000000;
  d.finish(on_b, facts);
  d.pass(std::chrono::seconds(9));
  facts.execution_us = 10000000;
  d.finish(on_a, facts);
  const TaskId next = d.submit(request(1));
  d.step();
  EXPECT_EQ(d.at_worker(next)->conn, b);
}

TEST(Scheduling, TimeDoesNotStarveAWorkerThatJoinsLater) {
  MachineDriver d(with(Algorithm::time));
  d.connect({.cores = 2});
  const TaskId first = d.submit(request(1));
  d.step();
  ResultFacts facts;
  facts.execution_us = 10;
  d.pass(std::chrono::seconds(1));
  d.finish(first, facts);
  const ConnId fresh = d.connect({.cores = 8});
  d.step();
  for (int i = 0; i < 8; ++i) d.submit(request(1));
  d.step();
  EXPECT_GT(d.sent_to(fresh), 0U);
}

TEST(Scheduling, RandSpreadsOverAllThatCan) {
  MachineDriver d(with(Algorithm::rand));
  for (int i = 0; i < 4; ++i) d.connect({.cores = 1000});
  d.step();
  for (int i = 0; i < 400; ++i) {
    d.submit(request(1));
    d.step();
  }
  for (std::uint32_t c = 1; c <= 4; ++c) EXPECT_GT(d.sent_to(ConnId(c)), 50U);
}

TEST(Scheduling, TaskAlgorithmOverridesTheQueues) {
  MachineDriver d(with(Algorithm::fcfs));
  d.connect({.cores = 2, .memory = 2000, .disk = 2000});
  const ConnId large = d.connect({.cores = 8, .memory = 8000, .disk = 8000});
  d.step();
  TaskSpec spec = request(1);
  spec.algorithm = Algorithm::worst;
  const TaskId task = d.submit(spec);
  d.step();
  EXPECT_EQ(d.at_worker(task)->conn, large);
}

TEST(Scheduling, FilesGoesWhereTheDataIs) {
  MachineDriver d(with(Algorithm::files));
  const ConnId a = d.connect({.cores = 2});
  const ConnId b = d.connect({.cores = 2});
  d.disk["big"] = {true, 1U << 30U, 1, false, ""};
  TaskSpec spec = request(1);
  spec.inputs.push_back(input_file("big", "big"));
  const TaskId first = d.submit(spec);
  d.step();
  const ConnId holder = d.at_worker(first)->conn;
  d.finish(first);
  for (int i = 0; i < 5; ++i) {
    const TaskId next = d.submit(spec);
    d.step();
    EXPECT_EQ(d.at_worker(next)->conn, holder);
    d.finish(next);
  }
  EXPECT_EQ(d.sent_to(holder == a ? b : a), 0U);
}

TEST(Scheduling, FreedWorkerTakesANearTaskWhoseDataItHolds) {
  MachineDriver d;
  const ConnId conn = d.connect({.cores = 1});
  for (const char* name : {"x", "y"}) d.disk[name] = {true, 64U << 20U, 1, false, ""};
  TaskSpec x = request(1);
  x.inputs.push_back(input_file("x", "f"));
  TaskSpec y = request(1);
  y.inputs.push_back(input_file("y", "f"));
  const TaskId first = d.submit(x);
  d.step();
  const TaskId far = d.submit(y);
  const TaskId near = d.submit(x);
  d.step();
  d.finish(first);
  EXPECT_EQ(d.sent.back().task, near);
  d.finish(near);
  EXPECT_EQ(d.sent.back().task, far);
  EXPECT_EQ(d.sent.back().conn, conn);
}

TEST(Scheduling, HeadIsNotPassedOverForEver) {
  MachineDriver d;
  d.connect({.cores = 1});
  for (const char* name : {"x", "y"}) d.disk[name] = {true, 64U << 20U, 1, false, ""};
  TaskSpec x = request(1);
  x.inputs.push_back(input_file("x", "f"));
  TaskSpec y = request(1);
  y.inputs.push_back(input_file("y", "f"));
  d.submit(x);
  d.step();
  const TaskId far = d.submit(y);
  int waited = 0;
  for (; waited < 1000 && d.machine.state(far) == TaskState::ready; ++waited) {
    d.submit(x);
    d.step();
    d.finish(d.sent.back().task);
  }
  EXPECT_LT(waited, 200);
}

TEST(Scheduling, TasksThatFitNowhereDoNotHoldUpOthers) {
  MachineDriver d;
  for (int i = 0; i < 10; ++i) d.connect({.cores = 1});
  for (int i = 0; i < 100; ++i) {
    TaskSpec spec = request(64 + i);
    spec.priority = 10;
    d.submit(spec);
  }
  for (int i = 0; i < 30; ++i) d.submit(request(1));
  d.step();
  EXPECT_EQ(d.sent.size(), 10U);
  for (int i = 0; i < 20; ++i) d.finish(d.sent[static_cast<std::size_t>(i)].task);
  EXPECT_EQ(d.sent.size(), 30U);
}

TEST(Scheduling, LargerWorkerThatJoinsTakesWhatWaitedForIt) {
  MachineDriver d;
  d.connect({.cores = 2});
  const TaskId task = d.submit(request(6));
  d.step();
  EXPECT_TRUE(d.sent.empty());
  const ConnId large = d.connect({.cores = 8});
  d.step();
  EXPECT_EQ(d.at_worker(task)->conn, large);
}

TEST(Scheduling, LargeTaskIsNotStarvedBySmallOnesThatFillEveryGap) {
  MachineDriver d;
  d.connect({.cores = 4});
  const auto small_tasks = [&d](int count) {
    for (int i = 0; i < count; ++i) d.submit(request(1));
  };
  small_tasks(4);
  d.step();
  const TaskId large = d.submit(request(4));
  small_tasks(400);
  d.step();
  std::size_t next = 0;
  while (d.machine.state(large) == TaskState::ready && next < 300) {
    d.pass(std::chrono::seconds(1));
    ResultFacts second;
    second.execution_us = 1'000'000;
    d.finish(d.sent[next++].task, second);
  }
  EXPECT_GE(next, 30U);  // it waits its time
  EXPECT_LE(next, 40U);  // then the worker is emptied for it
  ASSERT_EQ(d.machine.state(large), TaskState::running);
  d.finish(large);
  EXPECT_EQ(d.machine.stats().committed_cores, 4);  // and filled again
}

TEST(Scheduling, EmptyingAWorkerEndsWithTheTaskItIsFor) {
  MachineDriver d;
  d.connect({.cores = 4});
  for (int i = 0; i < 4; ++i) d.submit(request(1));
  d.step();
  const TaskId large = d.submit(request(4));
  for (int i = 0; i < 100; ++i) d.submit(request(1));
  d.step();
  d.pass(std::chrono::seconds(31));
  d.finish(d.sent[0].task);
  EXPECT_EQ(d.machine.stats().committed_cores, 3);
  d.machine.cancel(large, d.now);
  d.step();
  EXPECT_EQ(d.machine.stats().committed_cores, 4);
}

TEST(Scheduling, CongestedWorkerIsSkippedUntilItDrains) {
  MachineDriver d;
  const ConnId conn = d.connect();
  d.machine.on_congested(conn, true, d.now);
  d.submit(request(1));
  d.step();
  EXPECT_TRUE(d.sent.empty());
  d.machine.on_congested(conn, false, d.now);
  d.step();
  EXPECT_EQ(d.sent.size(), 1U);
}

TEST(Scheduling, HungryLooksAtRoomAsDocumented) {
  MachineDriver d;
  d.connect({.cores = 4});
  EXPECT_TRUE(d.machine.hungry());
  for (int i = 0; i < 12; ++i) d.submit(request(1));
  EXPECT_FALSE(d.machine.hungry());
  d.connect({.cores = 64, .memory = 64000, .disk = 64000});
  EXPECT_TRUE(d.machine.hungry());
}

// ---- slow tasks ----

void teach(MachineDriver& d, int count, Duration time) {
  for (int i = 0; i < count; ++i) {
    const TaskId task = d.submit(request(1));
    d.step();
    d.pass(time);
    ResultFacts facts;
    facts.execution_us = static_cast<std::uint64_t>(time.count());
    d.finish(task, facts);
  }
}

TEST(SlowTasks, FastAbortRestartsAndBlocksOnTheSecondAlarm) {
  Config config;
  config.default_category.fast_abort = 2;
  MachineDriver d(config);
  const ConnId conn = d.connect({.cores = 4}, "slow");
  teach(d, 12, std::chrono::seconds(1));
  const TaskId a = d.submit(request(1));
  const TaskId b = d.submit(request(1));
  d.step();
  for (int i = 0; i < 40; ++i) {
    d.pass(std::chrono::milliseconds(100));
    d.step();
  }
  EXPECT_TRUE(d.said("kill " + std::to_string(a.value())));
  EXPECT_TRUE(d.said("kill " + std::to_string(b.value())));
  EXPECT_TRUE(d.said(std::to_string(conn.value()) + ": close dropped for being slow"));
  EXPECT_THAT(d.machine.blocked_hosts(), ::testing::ElementsAre("slow"));
  EXPECT_EQ(d.machine.stats().workers_fast_aborted, 1);
}

TEST(SlowTasks, AlarmIsClearedByATaskThatCompletes) {
  Config config;
  config.default_category.fast_abort = 2;
  MachineDriver d(config);
  d.connect({.cores = 1}, "slow");
  teach(d, 12, std::chrono::seconds(1));
  const TaskId task = d.submit(request(1));
  d.step();
  for (int i = 0; i < 24; ++i) {
    d.pass(std::chrono::milliseconds(100));
    d.step();
  }
  ResultFacts facts;
  facts.execution_us = 100000;
  d.finish(task, facts);
  EXPECT_EQ(d.outcomes[task].fast_abort_count, 1U);
  EXPECT_EQ(d.outcomes[task].try_count, 2U);
  EXPECT_TRUE(d.machine.blocked_hosts().empty());
}

Config replicating() {
  Config config;
  config.stragglers = Stragglers::replicate;
  return config;
}

TEST(SlowTasks, OutlierGetsACopyElsewhereAndTheFirstResultWins) {
  MachineDriver d(replicating());
  const ConnId a = d.connect({.cores = 1}, "a");
  teach(d, 25, std::chrono::seconds(2));
  const TaskId task = d.submit(request(1));
  d.step();
  const ConnId b = d.connect({.cores = 1}, "b");
  for (int i = 0; i < 60; ++i) {
    d.pass(std::chrono::milliseconds(100));
    d.step();
  }
  ASSERT_EQ(d.at_worker(task)->conn, b);
  EXPECT_EQ(d.count(ReportKind::running_elsewhere), 1U);
  EXPECT_FALSE(d.said("kill " + std::to_string(task.value())));
  d.finish_at(b, task);
  EXPECT_TRUE(d.said(std::to_string(a.value()) + ": kill " + std::to_string(task.value())));
  EXPECT_EQ(d.outcomes[task].result, protocol::ResultCode::success);
  EXPECT_TRUE(d.outcomes[task].replicated);
  EXPECT_EQ(d.outcomes[task].try_count, 1U);
  EXPECT_EQ(d.machine.stats().copies_won, 1);
}

TEST(SlowTasks, CopyLostWithItsWorkerLeavesTheOtherRunning) {
  MachineDriver d(replicating());
  const ConnId a = d.connect({.cores = 1}, "a");
  teach(d, 25, std::chrono::seconds(2));
  const TaskId task = d.submit(request(1));
  d.step();
  const ConnId b = d.connect({.cores = 1}, "b");
  for (int i = 0; i < 60; ++i) {
    d.pass(std::chrono::milliseconds(100));
    d.step();
  }
  d.machine.on_closed(b, CloseReason::disconnected, d.now);
  d.step();
  EXPECT_EQ(d.machine.state(task), TaskState::running);
  EXPECT_EQ(d.count(ReportKind::copy_lost), 1U);
  d.finish_at(a, task);
  EXPECT_EQ(d.outcomes[task].result, protocol::ResultCode::success);
}

TEST(SlowTasks, TaskThatMayNotRunTwiceIsNeverCopied) {
  MachineDriver d(replicating());
  d.connect({.cores = 1}, "a");
  teach(d, 25, std::chrono::seconds(2));
  TaskSpec spec = request(1);
  spec.may_run_twice = false;
  d.submit(spec);
  d.step();
  d.connect({.cores = 1}, "b");
  for (int i = 0; i < 100; ++i) {
    d.pass(std::chrono::milliseconds(100));
    d.step();
  }
  EXPECT_EQ(d.count(ReportKind::running_elsewhere), 0U);
}

// ---- exhaustion ----

ResultFacts exhausted(std::int64_t limit, std::int64_t used) {
  ResultFacts facts;
  facts.status = 16;
  facts.exit_code = 9;
  Measurement m;
  m.cores = 0.9;
  m.memory = used;
  m.disk = 100;
  m.gpus = 0;
  m.wall_time_s = 10;
  m.exit_type = "limits";
  m.limits_exceeded.memory = limit;
  facts.measured = m;
  return facts;
}

ResultFacts normal(std::int64_t memory) {
  ResultFacts facts = exhausted(-1, memory);
  facts.status = 0;
  facts.exit_code = 0;
  facts.measured->exit_type = "normal";
  facts.measured->limits_exceeded = {};
  return facts;
}

TEST(Exhaustion, ClimbsTheLadderAndEndsWithExhaustion) {
  Config config;
  config.default_category.mode = AllocationMode::min_waste;
  MachineDriver d(config);
  d.connect({.cores = 8, .memory = 8000, .disk = 16000});
  for (int i = 1; i <= 30; ++i) {
    const TaskId task = d.submit(command("x"));
    d.step();
    d.finish(task, normal(i % 5 == 0 ? 900 : 200));
  }
  const TaskId hog = d.submit(command("hog"));
  d.step();
  EXPECT_EQ(d.at_worker(hog)->description.memory, 250);
  d.finish(hog, exhausted(250, 300));
  EXPECT_EQ(d.at_worker(hog)->description.memory, 1000);
  d.finish(hog, exhausted(1000, 1100));
  EXPECT_EQ(d.at_worker(hog)->description.memory, 8000);
  d.finish(hog, exhausted(8000, 9000));
  EXPECT_EQ(d.outcomes[hog].result, protocol::ResultCode::resource_exhaustion);
  EXPECT_EQ(d.outcomes[hog].exhausted_attempts, 3U);
  EXPECT_EQ(d.outcomes[hog].measured.memory, 9000);
}

TEST(Exhaustion, OwnRequestIsALimit) {
  for (const int mode : {0, 1, 2, 3, 4}) {
    Config config;
    config.default_category.mode = static_cast<AllocationMode>(mode);
    MachineDriver d(config);
    d.connect({.cores = 8, .memory = 8000, .disk = 16000});
    const TaskId task = d.submit(request(1, 1000));
    d.step();
    d.finish(task, exhausted(1000, 3000));
    EXPECT_EQ(d.outcomes[task].result, protocol::ResultCode::resource_exhaustion) << mode;
    EXPECT_EQ(d.outcomes[task].try_count, 1U);
  }
}

TEST(Exhaustion, FixedModeReturnsTheTaskAtOnce) {
  MachineDriver d;
  d.connect({.cores = 8, .memory = 8000, .disk = 16000});
  const TaskId task = d.submit(command("x"));
  d.step();
  d.finish(task, exhausted(8000, 9000));
  EXPECT_EQ(d.outcomes[task].result, protocol::ResultCode::resource_exhaustion);
}

TEST(Exhaustion, BoxTestedIsTheBoxSentInRandomModes) {
  Config config;
  config.default_category.mode = AllocationMode::greedy_bucketing;
  MachineDriver d(config);
  d.connect({.cores = 8, .memory = 8000, .disk = 16000});
  for (int i = 0; i < 200; ++i) {
    d.submit(command("x"));
    d.step();
    while (!d.machine.empty()) {
      const auto sent = d.sent.back();
      const std::int64_t use = i % 3 == 0 ? 900 : 200;
      const auto given = static_cast<std::int64_t>(*sent.description.memory);
      EXPECT_LE(d.machine.stats().committed_memory, 8000);
      d.finish(sent.task, use > given ? exhausted(given, given + 1) : normal(use));
    }
  }
  EXPECT_EQ(d.machine.stats().tasks_failed, 0);
}

}  // namespace
}  // namespace taskmill::testing
