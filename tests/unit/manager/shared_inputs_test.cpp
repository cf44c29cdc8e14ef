// Large cached inputs that workers pass on: what is sent to whom, and what can go wrong on the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

using namespace std::chrono_literals;
using protocol::ResultCode;
using ::testing::HasSubstr;

constexpr std::uint64_t large = 64U << 20;

Config config_of(int transfers) {
  Config config;
  config.peer_transfers = transfers;
  return config;
}

TaskSpec user_of(const std::string& path) {
  TaskSpec spec = request(4);
  spec.inputs.push_back(input_file(path, "in"));
  return spec;
}

struct SharedInputs : ::testing::Test {
  explicit SharedInputs(int transfers = 2) : d(config_of(transfers)) { set("big", 1); }
  void set(const std::string& path, std::int64_t mtime, std::uint64_t size = large) {
    StatResult result;
    result.found = true;
    result.size = size;
    result.mtime_ns = mtime;
    d.disk[path] = result;
  }
  /// `count` workers that each get a task with the input.
  void start(int count) {
    for (int i = 0; i < count; ++i) {
      conns.push_back(d.connect_peer());
      tasks.push_back(d.submit(user_of("big")));
    }
    d.step();
  }
  TaskId task_at(ConnId conn) const {
    for (const auto& sent : d.sent)
      if (sent.conn == conn) return sent.task;
    return {};
  }
  void run_all_transfers() {
    for (std::size_t i = 0; i < d.transfers.size(); ++i) {
      if (!d.transfers[i].over) d.end_transfer(d.transfers[i], true);
    }
  }
  MachineDriver d;
  std::vector<ConnId> conns;
  std::vector<TaskId> tasks;
};

TEST_F(SharedInputs, GoFromTheManagerToFewAndThenFromWorkerToWorker) {
  d.answer_stages = false;
  start(8);
  EXPECT_EQ(d.times_said("stage"), 2U);
  EXPECT_EQ(d.times_said("await"), 6U);
  EXPECT_EQ(d.sent.size(), 8U) << "tasks wait at their workers";
  const ConnId first = d.pending_stages[0].first;
  d.end_stage(0);
  ASSERT_EQ(d.transfers.size(), 2U) << "at most two per source";
  for (const auto& transfer : d.transfers) EXPECT_EQ(transfer.source, first);
  d.end_stage(0);
  ASSERT_EQ(d.transfers.size(), 4U);
  run_all_transfers();
  EXPECT_EQ(d.times_said("stage"), 2U);
  EXPECT_EQ(d.machine.stats().peer_transfers, 6);
  EXPECT_EQ(d.machine.stats().bytes_by_peers, 6 * static_cast<std::int64_t>(large));
  EXPECT_EQ(d.machine.stats().bytes_sent, 2 * static_cast<std::int64_t>(large));
  for (const TaskId task : tasks) d.finish(task);
  EXPECT_TRUE(d.machine.empty());
}

TEST_F(SharedInputs, AnnouncementAndTransferComeBeforeTheTask) {
  d.answer_stages = false;
  start(3);
  const auto& last = d.sent.at(2);
  const std::string conn = std::to_string(last.conn.value());
  const auto at = [&](const std::string& words) {
    return std::find(d.wire.begin(), d.wire.end(), conn + words) - d.wire.begin();
  };
  const std::string name = last.description.inputs.at(0).cache_name;
  EXPECT_LT(at(": await " + name), at(": task " + std::to_string(last.task.value())));
  EXPECT_TRUE(d.said(conn + ": await " + name));
}

TEST_F(SharedInputs, SmallUncachedAndForeignOnesAreSentAsEver) {
  set("small", 1, 1000);
  d.connect_peer();
  d.connect_peer();
  d.connect();  // an old worker
  for (int i = 0; i < 3; ++i) d.submit(user_of("small"));
  d.step();
  EXPECT_EQ(d.times_said("stage"), 3U);
  EXPECT_EQ(d.times_said("await") + d.transfers.size(), 0U);
}

TEST_F(SharedInputs, OldWorkersGetTheirsFromTheManager) {
  d.answer_stages = false;
  for (int i = 0; i < 4; ++i) {
    d.connect();
    d.submit(user_of("big"));
  }
  start(4);
  EXPECT_EQ(d.times_said("stage"), 4U + 2U);
}

TEST_F(SharedInputs, AFailedSourceIsReplacedAndAtLastTheManagerSends) {
  start(4);
  ASSERT_EQ(d.transfers.size(), 2U);
  const auto target = d.transfers[0].target;
  const auto first = d.transfers[0].source;
  d.end_transfer(d.transfers[0], false);
  ASSERT_EQ(d.transfers.size(), 3U);
  EXPECT_EQ(d.transfers[2].target, target);
  EXPECT_NE(d.transfers[2].source, first);
  d.end_transfer(d.transfers[2], false);
  EXPECT_EQ(d.transfers.size(), 3U);
  EXPECT_EQ(d.times_said(std::to_string(target.value()) + ": stage"), 1U);
  EXPECT_EQ(d.machine.stats().peer_failures, 2);
  for (const TaskId task : tasks) d.finish(task);
  EXPECT_TRUE(d.machine.empty());
}

TEST_F(SharedInputs, ASilentTransferIsGivenUpAtItsDeadline) {
  start(3);
  ASSERT_EQ(d.transfers.size(), 1U);
  d.pass(29s);
  d.step();
  EXPECT_EQ(d.transfers.size(), 1U);
  d.pass(40s);
  d.step();
  EXPECT_EQ(d.times_said(std::to_string(d.transfers[0].target.value()) + ": stage"), 1U) << "the manager sends";
  d.end_transfer(d.transfers[0], true);  // of an order that has ended
  EXPECT_EQ(d.machine.stats().peer_transfers, 0);
}

TEST_F(SharedInputs, ALostSourceIsReplacedAtOnce) {
  start(3);
  ASSERT_EQ(d.transfers.size(), 1U);
  d.machine.on_closed(d.transfers[0].source, CloseReason::disconnected, d.now);
  d.step();
  ASSERT_GE(d.transfers.size(), 2U);
  EXPECT_EQ(d.transfers[1].target, d.transfers[0].target);
  EXPECT_NE(d.transfers[1].source, d.transfers[0].source);
}

TEST_F(SharedInputs, ALostReceiverFreesItsSource) {
  start(5);
  ASSERT_EQ(d.transfers.size(), 3U);
  const auto gone = d.transfers[0].target;
  d.machine.on_closed(gone, CloseReason::disconnected, d.now);
  d.step();
  for (auto& transfer : d.transfers) {
    if (!transfer.over && transfer.target != gone) d.end_transfer(transfer, true);
  }
  EXPECT_EQ(d.machine.stats().workers_lost, 1);
}

TEST_F(SharedInputs, WhatHasChangedOnDiskIsNotPassedOn) {
  d.answer_stages = false;
  d.answer_digests = false;
  start(4);
  ASSERT_EQ(d.pending_digests.size(), 1U);
  auto [object, digest] = d.pending_digests[0];
  digest.mtime_ns = 2;
  d.machine.on_digest(object, digest, d.now);
  d.step();
  EXPECT_EQ(d.times_said("stage"), 4U) << "the manager sends to everybody";
  EXPECT_TRUE(d.transfers.empty());
}

TEST_F(SharedInputs, ACopyMadeOfOtherContentIsNoSource) {
  d.answer_stages = false;
  start(3);
  d.pending_stages[0].second.mtime_ns = 2;  // changed between the look and the sending
  const auto wrong = d.pending_stages[0].first;
  d.end_stage(0);
  EXPECT_TRUE(d.transfers.empty() || d.transfers[0].source != wrong);
  d.end_stage(0);
  for (const auto& transfer : d.transfers) EXPECT_NE(transfer.source, wrong);
}

TEST_F(SharedInputs, InvalidatingWhileWorkersFetchStartsEverythingAgain) {
  start(4);
  ASSERT_EQ(d.transfers.size(), 2U);
  const auto old = d.transfers.size();
  EXPECT_GT(d.machine.invalidate_cached_file("big", FileKind::file, d.now), 0U);
  d.step();
  EXPECT_EQ(d.count(ReportKind::requeued), 4U);
  for (std::size_t i = 0; i < old; ++i) d.end_transfer(d.transfers[i], i == 0);  // crossed on the way
  run_all_transfers();
  for (const TaskId task : tasks) d.finish(task);
  EXPECT_TRUE(d.machine.empty());
}

TEST_F(SharedInputs, ANewVersionDoesNotStrandThoseThatWaitForTheOld) {
  start(3);
  ASSERT_EQ(d.transfers.size(), 1U);
  const auto waiting = d.transfers[0].target;
  d.finish(tasks[0]);
  d.pass(1s);
  set("big", 2);
  tasks.push_back(d.submit(user_of("big")));
  d.step();
  EXPECT_THAT(d.notices, ::testing::Contains(HasSubstr("changed")));
  d.end_transfer(d.transfers[0], true);
  run_all_transfers();
  for (const TaskId task : tasks) d.finish(task);
  EXPECT_TRUE(d.machine.empty());
  EXPECT_TRUE(d.said(std::to_string(waiting.value()) + ": task"));
}

TEST_F(SharedInputs, AnInputThatCannotBeReadFailsItsTasksAndNobodyWaits) {
  d.broken["big"] = {"big: gone", false};
  start(5);
  for (const TaskId task : tasks) EXPECT_EQ(d.outcomes[task].result, ResultCode::input_missing);
  EXPECT_TRUE(d.machine.empty());
}

TEST_F(SharedInputs, TheTimeOfATaskBeginsWhenItsInputHasCome) {
  start(3);
  ASSERT_EQ(d.transfers.size(), 1U);
  d.pass(20s);
  d.end_transfer(d.transfers[0], true);
  d.pass(1s);
  const TaskId task = task_at(d.transfers[0].target);
  d.machine.on_closed(d.transfers[0].target, CloseReason::disconnected, d.now);
  d.step();
  d.connect_peer();
  d.step();
  for (std::size_t i = 1; i < d.transfers.size(); ++i) d.end_transfer(d.transfers[i], true);
  d.finish(task);
  EXPECT_EQ(d.outcomes[task].execute_failure, Duration(1s)) << "not the 20 s of waiting";
}

struct NoSharedInputs : SharedInputs {
  NoSharedInputs() : SharedInputs(0) {}
};
TEST_F(NoSharedInputs, ZeroTurnsItOff) {
  d.answer_stages = false;
  start(8);
  EXPECT_EQ(d.times_said("stage"), 8U);
  EXPECT_EQ(d.times_said("await") + d.transfers.size(), 0U);
}

}  // namespace
}  // namespace taskmill::testing
