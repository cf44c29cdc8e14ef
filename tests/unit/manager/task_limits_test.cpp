// What native workers are told to stop a task for, and what becomes of it.
#include "manager/core/task_limits.hpp"

#include <gtest/gtest.h>

#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

constexpr Box box{2000, 1000, 500, 0};

protocol::TaskLimits told(Config config, const CategorySettings& settings, const Resources& request,
                          Duration wall = Duration(0)) {
  return limits_of(config, Category("c", settings), request, box, wall);
}

TEST(TaskLimits, OnlyWhatWasAskedBindsByDefault) {
  EXPECT_EQ(told({}, {}, {}), protocol::TaskLimits{});
  const auto memory = told({}, {}, {-1, 800});
  EXPECT_EQ(memory.memory, 1000) << "the box, which is never below the request";
  EXPECT_FALSE(memory.disk || memory.cores);
  CategorySettings category;
  category.max.disk = 500;
  EXPECT_EQ(told({}, category, {}).disk, 500);
}

TEST(TaskLimits, WhatIsAllocatedAutomaticallyBinds) {
  CategorySettings category;
  category.mode = AllocationMode::max_throughput;
  const auto limits = told({}, category, {});
  EXPECT_EQ(limits.memory, 1000);
  EXPECT_EQ(limits.disk, 500);
  EXPECT_EQ(limits.cores, 2);
  category.label_disk = false;
  EXPECT_FALSE(told({}, category, {}).disk);
}

TEST(TaskLimits, PolicyDecides) {
  Config config;
  config.enforce = Enforce::never;
  EXPECT_EQ(told(config, {}, {1, 800, 100}), protocol::TaskLimits{});
  config.monitoring.watchdog = true;
  EXPECT_EQ(told(config, {}, {}).memory, 1000) << "a watchdog means the whole box";
  config = {};
  config.enforce = Enforce::always;
  EXPECT_EQ(told(config, {}, {}).disk, 500);
  EXPECT_FALSE(told(config, {}, {}).stop_for_cores);
  config.enforce_cores = true;
  EXPECT_TRUE(told(config, {}, {}).stop_for_cores);
}

TEST(TaskLimits, TimeAndProcessesHoldWhateverThePolicy) {
  Config config;
  config.enforce = Enforce::never;
  CategorySettings category;
  category.max_processes = 20;
  const auto limits = told(config, category, {}, Duration(2'500'000));
  EXPECT_EQ(limits.wall_time, 2.5);
  EXPECT_EQ(limits.processes, 20);
}

TEST(TaskLimits, NativeWorkersAreToldAndOldOnesSeeTheOldBlock) {
  MachineDriver d;
  const ConnId native = d.connect();
  d.machine.on_native(native, {true, true}, d.now);
  TaskSpec spec = request(1, 900);
  spec.max_running_time = std::chrono::seconds(3);
  d.submit(spec);
  d.step();
  ASSERT_EQ(d.sent.size(), 1U);
  EXPECT_EQ(d.sent[0].description.limits.memory, 1000);
  EXPECT_EQ(d.sent[0].description.limits.wall_time, 3);
  EXPECT_EQ(d.sent[0].description.wall_time, 0) << "said once, in a unit that cannot be misread";

  MachineDriver old;
  old.connect();
  old.submit(spec);
  old.step();
  ASSERT_EQ(old.sent.size(), 1U);
  EXPECT_EQ(old.sent[0].description.limits, protocol::TaskLimits{});
  EXPECT_EQ(old.sent[0].description.wall_time, 3e6) << "old workers count microseconds";
}

TEST(TaskLimits, ATaskInFixedModeThatIsStoppedComesBackWithTheLimit) {
  MachineDriver d;
  const ConnId native = d.connect();
  d.machine.on_native(native, {true, true}, d.now);
  const TaskId task = d.submit(request(1, 900));
  d.step();
  ResultFacts facts;
  facts.status = static_cast<int>(protocol::ResultCode::resource_exhaustion);
  facts.exit_code = 9;
  facts.measured.emplace();
  facts.measured->memory = 1100;
  facts.measured->cores = 0.02;
  facts.measured->limits_exceeded.memory = 1000;
  facts.measured->exit_type = "limits";
  facts.limit = "memory: 1100 MB used, 1000 MB allowed";
  d.finish(task, facts);
  d.step();
  ASSERT_EQ(d.outcomes.count(task), 1U);
  const auto& outcome = d.outcomes[task];
  EXPECT_EQ(outcome.result, protocol::ResultCode::resource_exhaustion);
  EXPECT_EQ(outcome.message, "memory: 1100 MB used, 1000 MB allowed");
  EXPECT_EQ(outcome.measured.limits_exceeded.memory, 1000);
  EXPECT_EQ(outcome.measured.cores, 0.02) << "a small use is no use of zero cores";
}

TEST(TaskLimits, RunningTooLongIsExplained) {
  MachineDriver d;
  d.connect();
  TaskSpec spec = command("sleep 100");
  spec.max_running_time = std::chrono::milliseconds(2500);
  const TaskId task = d.submit(spec);
  d.step();
  ResultFacts facts;
  facts.status = static_cast<int>(protocol::ResultCode::task_max_run_time);
  facts.exit_code = 9;
  d.finish(task, facts);
  d.step();
  EXPECT_EQ(d.outcomes[task].message, "it ran longer than the 2.5 s it was given");
}

TEST(Overshoot, IsForgivenAboveOneCoreOnly) {
  EXPECT_EQ(without_overshoot(1.05), 1);
  EXPECT_EQ(without_overshoot(2.3), 2.3);
  EXPECT_EQ(without_overshoot(0.05), 0.05);
  EXPECT_EQ(without_overshoot(-1), -1);
}

}  // namespace
}  // namespace taskmill::testing
