// Environments that workers pass on: who is told to get its chunks where, and what can go wrong on the way.
#include <gtest/gtest.h>

#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

using namespace std::chrono_literals;
using protocol::ResultCode;

constexpr const char* digest = "aaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccdddd";
constexpr std::uint64_t large = 64U << 20;

Config config_of(int transfers) {
  Config config;
  config.peer_transfers = transfers;
  return config;
}

struct SharedEnvironments : ::testing::Test {
  explicit SharedEnvironments(int transfers = 1) : d(config_of(transfers)) {
    EnvironmentPlan plan;
    plan.name = "env.tar.gz";
    plan.digest = digest;
    plan.bytes = large;
    plan.runner = input_file("/bin/run", ".run");
    plan.archive = input_file("/cache/env.tar.zst", ".env");
    d.machine.declare_environment(plan);
  }
  /// `count` workers, each with a task in the environment, that all lack all of it.
  void start(int count) {
    for (int i = 0; i < count; ++i) {
      conns.push_back(d.connect_environment_peer());
      TaskSpec spec = request(4);
      spec.environment_archive = "env.tar.gz";
      tasks.push_back(d.submit(spec));
    }
    d.step();
    for (const ConnId conn : conns) wish(conn);
  }
  void wish(ConnId conn, std::uint64_t bytes = large) {
    d.machine.on_environment_wish(conn, digest, bytes, d.now);
    d.step();
  }
  void ready(ConnId conn, bool serves = true) {
    EnvironmentFacts facts{digest, true, {}};
    facts.serves = serves;
    d.machine.on_environment(conn, facts, d.now);
    d.step();
  }
  /// As a worker does it that got all from its source.
  void arrive(MachineDriver::Transfer transfer) {
    if (transfer.source.valid()) {
      PeerOutcome outcome{transfer.order, true, false, {}};
      outcome.bytes = 1000;
      d.machine.on_peer_done(transfer.target, outcome, d.now);
    }
    ready(transfer.target);
  }
  std::vector<MachineDriver::Transfer> orders_of(ConnId conn) const {
    std::vector<MachineDriver::Transfer> found;
    for (const auto& one : d.transfers)
      if (one.target == conn) found.push_back(one);
    return found;
  }
  void finish_all() {
    for (const TaskId task : tasks) d.finish(task);
    EXPECT_TRUE(d.machine.empty());
  }
  MachineDriver d;
  std::vector<ConnId> conns;
  std::vector<TaskId> tasks;
};

TEST_F(SharedEnvironments, GoFromTheManagerOnceAndThenFromWorkerToWorker) {
  start(4);
  EXPECT_EQ(d.times_said("stage"), 4U) << "offered to all at once";
  EXPECT_EQ(d.sent.size(), 4U) << "tasks wait at their workers";
  ASSERT_EQ(d.transfers.size(), 1U);
  EXPECT_FALSE(d.transfers[0].source.valid()) << "the first gets it from the manager";
  for (std::size_t i = 0; i < d.transfers.size(); ++i) {
    const auto transfer = d.transfers[i];
    if (i > 0) {
      EXPECT_TRUE(transfer.source.valid());
    }
    arrive(transfer);
  }
  EXPECT_EQ(d.transfers.size(), 4U);
  EXPECT_EQ(d.machine.stats().peer_transfers, 3);
  EXPECT_EQ(d.machine.stats().bytes_by_peers, 3000);
  finish_all();
}

TEST_F(SharedEnvironments, AFewBytesComeFromTheManagerAtOnce) {
  start(2);
  ASSERT_EQ(d.transfers.size(), 1U);
  conns.push_back(d.connect_environment_peer());
  TaskSpec spec = request(4);
  spec.environment_archive = "env.tar.gz";
  tasks.push_back(d.submit(spec));
  d.step();
  wish(conns.back(), 1000);
  ASSERT_EQ(d.transfers.size(), 2U);
  EXPECT_EQ(d.transfers[1].target, conns.back());
  EXPECT_FALSE(d.transfers[1].source.valid());
}

TEST_F(SharedEnvironments, AWorkerThatCannotServeIsNoSource) {
  start(2);
  ready(d.transfers[0].target, false);
  ASSERT_EQ(d.transfers.size(), 2U);
  EXPECT_FALSE(d.transfers[1].source.valid());
  arrive(d.transfers[1]);
  finish_all();
}

TEST_F(SharedEnvironments, OneThatWasFoundOnTheNodeIsASourceToo) {
  start(1);
  conns.push_back(d.connect_environment_peer());
  TaskSpec spec = request(4);
  spec.environment_archive = "env.tar.gz";
  tasks.push_back(d.submit(spec));
  d.step();
  ready(conns[1]);  // it never had to ask
  conns.push_back(d.connect_environment_peer());
  tasks.push_back(d.submit(spec));
  d.step();
  wish(conns[2]);
  const auto orders = orders_of(conns[2]);
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_EQ(orders[0].source, conns[1]);
}

TEST_F(SharedEnvironments, ASourceThatFailsIsReplacedAtOnce) {
  start(2);
  arrive(d.transfers[0]);
  ASSERT_EQ(d.transfers.size(), 2U);
  auto& failing = d.transfers[1];
  const ConnId target = failing.target;
  d.end_transfer(failing, false);
  const auto orders = orders_of(target);
  ASSERT_GE(orders.size(), 2U);
  EXPECT_FALSE(orders.back().source.valid()) << "nobody else has it: the manager";
  EXPECT_EQ(d.machine.stats().peer_failures, 1);
  arrive(orders.back());
  finish_all();
}

TEST_F(SharedEnvironments, ASilentSourceIsGivenUpAtItsDeadline) {
  start(2);
  arrive(d.transfers[0]);
  const auto silent = d.transfers.at(1);
  d.pass(300s);
  d.step();
  const auto orders = orders_of(silent.target);
  ASSERT_EQ(orders.size(), 2U);
  EXPECT_FALSE(orders[1].source.valid());
  arrive(orders[1]);
  finish_all();
}

TEST_F(SharedEnvironments, ALostSourceStallsNobody) {
  start(2);
  arrive(d.transfers[0]);
  const auto running = d.transfers.at(1);
  d.machine.on_closed(running.source, CloseReason::disconnected, d.now);
  d.step();
  const auto orders = orders_of(running.target);
  ASSERT_EQ(orders.size(), 2U);
  EXPECT_NE(orders[1].source, running.source);
}

TEST_F(SharedEnvironments, AFailureEndsTheWishAndTheNextOfferStartsAnew) {
  start(2);
  const ConnId first = d.transfers[0].target;
  EnvironmentFacts full{digest, false, "disk full"};
  d.machine.on_environment(first, full, d.now);
  d.step();
  d.pass(3s);
  d.step();
  wish(first);
  const auto other = d.transfers.at(1);
  EXPECT_NE(other.target, first) << "the free place went to the other one";
  arrive(other);
  ASSERT_EQ(orders_of(first).size(), 2U);
  EXPECT_EQ(orders_of(first).back().source, other.target);
  arrive(orders_of(first).back());
  finish_all();
}

TEST_F(SharedEnvironments, WhatWasEvictedIsOfferedAgain) {
  start(1);
  arrive(d.transfers[0]);
  d.finish(tasks[0]);
  EnvironmentFacts evicted{digest, false, "evicted"};
  evicted.evicted = true;
  d.machine.on_environment(conns[0], evicted, d.now);
  TaskSpec spec = request(4);
  spec.environment_archive = "env.tar.gz";
  tasks[0] = d.submit(spec);
  d.step();
  EXPECT_EQ(d.sent.size(), 2U) << "the worker is not punished";
  EXPECT_EQ(d.times_said("stage"), 2U);
  wish(conns[0]);
  EXPECT_EQ(d.transfers.size(), 2U);
  arrive(d.transfers[1]);
  finish_all();
}

TEST_F(SharedEnvironments, AnArchiveThatTwoWorkersRefuseIsNotTriedAThirdTime) {
  start(2);
  EnvironmentFacts refused{digest, false, "link that leads out"};
  refused.retry = false;
  for (int i = 0; i < 2; ++i) {
    for (const ConnId conn : conns) {
      d.machine.on_environment(conn, refused, d.now);
      d.step();
    }
    d.pass(3s);
    d.step();
  }
  for (const TaskId task : tasks) {
    ASSERT_TRUE(d.outcomes.contains(task));
    EXPECT_EQ(d.outcomes[task].result, ResultCode::input_missing);
  }
  EXPECT_EQ(d.sent.size(), 4U) << "two tries each";
}

struct NotShared : SharedEnvironments {
  NotShared() : SharedEnvironments(0) {}
};
TEST_F(NotShared, ZeroTurnsItOff) {
  start(2);
  ASSERT_EQ(d.transfers.size(), 2U);
  for (const auto& transfer : d.transfers) EXPECT_FALSE(transfer.source.valid());
  EXPECT_FALSE(d.machine.plans_transfers(conns[0]));
}

}  // namespace
}  // namespace taskmill::testing
