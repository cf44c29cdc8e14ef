// Results that are pushed: at once or together, bounded, kept until acknowledged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/worker/machine_fixture.hpp"

namespace taskmill::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class PushTest : public MachineTest {
 protected:
  static protocol::TaskDescription task(std::int64_t id) {
    protocol::TaskDescription description;
    description.task_id = id;
    description.attempt = static_cast<std::uint32_t>(id * 10);
    description.command = "x";
    description.cores = 1;
    description.memory = 10;
    description.disk = description.gpus = 0;
    return description;
  }
  void give(std::initializer_list<std::int64_t> ids) {
    std::vector<protocol::TaskDescription> tasks;
    for (const auto id : ids) tasks.push_back(task(id));
    machine.on_batch(std::move(tasks), limit, now, fx);
  }
  // Gives and starts one, keys count from 1.
  void run(std::initializer_list<std::int64_t> ids) {
    give(ids);
    for (const auto key : take().start) machine.on_started(key, now, fx);
  }
  void exited(TaskKey key, std::uint64_t bytes = 0, int wait_status = 0) {
    TaskExit exit;
    exit.wait_status = wait_status;
    exit.has_output = true;
    exit.push_bytes = bytes;
    machine.on_exited(key, exit, now, fx);
  }
  static std::vector<std::int64_t> ids_of(const PushBatch& batch) {
    std::vector<std::int64_t> ids;
    for (const auto& result : batch.results) ids.push_back(result.task_id);
    return ids;
  }

  std::uint64_t limit = 1 << 20;
};

TEST_F(PushTest, IsPushedAtOnceWhenNothingElseWaits) {
  run({7});
  exited(1);
  const auto effects = take();
  ASSERT_EQ(effects.push.size(), 1U);
  EXPECT_EQ(effects.push[0].sequence, 1U);
  EXPECT_THAT(ids_of(effects.push[0]), ElementsAre(7));
  EXPECT_EQ(effects.push[0].results[0].attempt, 70U);
  EXPECT_THAT(effects.lines, Not(HasSubstr("available_results")));
}

TEST_F(PushTest, IsGatheredWhileOthersWaitForTheirTurn) {
  run({1, 2, 3, 4});
  exited(1);
  const auto first = take();
  EXPECT_THAT(first.push, IsEmpty());
  for (const auto key : first.start) machine.on_started(key, now, fx);
  ASSERT_TRUE(machine.next_deadline());
  EXPECT_LE(*machine.next_deadline(), now.time + config().gather_time);
  now.time += config().gather_time;
  const auto second = take();
  ASSERT_EQ(second.push.size(), 1U);
  EXPECT_THAT(ids_of(second.push[0]), ElementsAre(1));
}

TEST_F(PushTest, IsKeptUntilAcknowledged) {
  run({1, 2});
  exited(1);
  take();
  exited(2);
  take();
  EXPECT_EQ(machine.known_tasks(), 2U);
  EXPECT_TRUE(machine.on_acknowledged(1, now.time, fx));
  EXPECT_THAT(take().discard, ElementsAre(1));
  EXPECT_EQ(machine.known_tasks(), 1U);
  EXPECT_FALSE(machine.on_acknowledged(3, now.time, fx)) << "never sent";
  EXPECT_TRUE(machine.on_acknowledged(2, now.time, fx));
  EXPECT_THAT(take().discard, ElementsAre(2));
}

TEST_F(PushTest, StopsAtTheLimitAndGoesOnWorking) {
  limit = 1000;
  run({1, 2, 3});
  exited(1, 5000);
  const auto first = take();
  for (const auto key : first.start) machine.on_started(key, now, fx);
  EXPECT_EQ(first.push.size(), 1U) << "the first passes the limit";
  exited(2, 5000);
  exited(3, 5000);
  EXPECT_THAT(take().push, IsEmpty());
  give({4});
  EXPECT_EQ(take().start.size(), 1U);
  machine.on_started(4, now, fx);
  EXPECT_TRUE(machine.on_acknowledged(1, now.time, fx));
  const auto effects = take();
  ASSERT_EQ(effects.push.size(), 1U);
  EXPECT_THAT(ids_of(effects.push[0]), ElementsAre(2, 3));
}

TEST_F(PushTest, OnlyTasksOfBatchesArePushed) {
  machine.on_task(task(1), now, fx);
  for (const auto key : take().start) machine.on_started(key, now, fx);
  exited(1);
  const auto effects = take();
  EXPECT_THAT(effects.push, IsEmpty());
  EXPECT_THAT(effects.lines, HasSubstr("available_results"));
}

TEST_F(PushTest, ARefusedTaskIsPushedAndForgotten) {
  auto large = task(1);
  large.cores = 100;
  machine.on_batch({large}, limit, now, fx);
  const auto effects = take();
  ASSERT_EQ(effects.push.size(), 1U);
  EXPECT_EQ(effects.push[0].results[0].result.status, 40);
  EXPECT_EQ(machine.known_tasks(), 0U);
  EXPECT_TRUE(machine.on_acknowledged(1, now.time, fx));
  take();
}

TEST_F(PushTest, AKilledTaskIsNotPushed) {
  run({1, 2});
  machine.on_kill(1, now.time, fx);
  take();
  exited(1);
  exited(2);
  const auto effects = take();
  ASSERT_EQ(effects.push.size(), 1U);
  EXPECT_THAT(ids_of(effects.push[0]), ElementsAre(2));
  machine.on_kill(2, now.time, fx);
  take();
  EXPECT_EQ(machine.known_tasks(), 0U);
  EXPECT_TRUE(machine.on_acknowledged(1, now.time, fx)) << "of what was killed meanwhile";
}

TEST_F(PushTest, LongOutputIsInTheCacheUntilItsTaskIsAcknowledged) {
  run({1});
  TaskExit exit;
  exit.has_output = true;
  exit.output_length = 1 << 20;
  exit.output_name = "wqx-stdout-1";
  machine.on_exited(1, exit, now, fx);
  take();
  EXPECT_NE(machine.cache().find("wqx-stdout-1"), nullptr);
  machine.on_acknowledged(1, now.time, fx);
  const auto effects = take();
  ASSERT_EQ(effects.remove.size(), 1U);
  EXPECT_EQ(effects.remove[0].name, "wqx-stdout-1");
  EXPECT_EQ(machine.cache().find("wqx-stdout-1"), nullptr);
}

TEST_F(PushTest, TheWallLimitIsExact) {
  auto limited = task(1);
  limited.limits.wall_time = 0.25;
  machine.on_batch({limited}, limit, now, fx);
  for (const auto key : take().start) machine.on_started(key, now, fx);
  now.time += Duration(249'000);
  EXPECT_THAT(take().terminate, IsEmpty());
  now.time += Duration(1'000);
  EXPECT_THAT(take().terminate, ElementsAre(1));
}

TEST_F(PushTest, ANewSessionStartsAnew) {
  run({1});
  exited(1);
  take();
  machine.on_session_ended(SessionEnd::lost, now.time, fx);
  fx = Effects();
  machine.on_session_started("m", 11, now, fx);
  take();
  EXPECT_FALSE(machine.on_acknowledged(1, now.time, fx));
  run({1});
  exited(2);
  EXPECT_EQ(take().push.at(0).sequence, 1U);
}

}  // namespace
}  // namespace taskmill::worker
