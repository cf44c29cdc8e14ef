// Environments at the manager: each kind of worker gets them its way, and failures end in a clear result.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

using protocol::ResultCode;
using ::testing::HasSubstr;

constexpr const char* digest = "aaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccdddd";

EnvironmentPlan plan() {
  EnvironmentPlan plan;
  plan.name = "env.tar.gz";
  plan.digest = digest;
  plan.runner = input_file("/bin/run", ".run");
  plan.archive = input_file("/cache/env.tar.zst", ".env");
  plan.command_head = "./.run -e .env -- /bin/sh -c ";
  return plan;
}

TaskSpec inside(std::string text) {
  TaskSpec spec = command(std::move(text));
  spec.environment_archive = "env.tar.gz";
  return spec;
}

void make_native(MachineDriver& d, ConnId conn) {
  WorkerFacts facts;
  facts.environments = true;
  d.machine.on_native(conn, facts, d.now);
}

TEST(Environment, NativeWorkersAreOfferedItOnceAndGetThePlainCommand) {
  MachineDriver d;
  d.machine.declare_environment(plan());
  make_native(d, d.connect({.cores = 2}));
  for (int i = 0; i < 2; ++i)
    d.submit([] {
      TaskSpec spec = inside("python x.py 'a'");
      spec.resources.cores = 1;
      return spec;
    }());
  d.step();
  ASSERT_EQ(d.sent.size(), 2U);
  for (const auto& sent : d.sent) {
    EXPECT_EQ(sent.description.command, "python x.py 'a'");
    EXPECT_EQ(sent.description.environment, digest);
    EXPECT_TRUE(sent.description.inputs.empty());
  }
  EXPECT_EQ(std::count_if(d.wire.begin(), d.wire.end(),
                          [](const std::string& line) { return line.find("stage") != std::string::npos; }),
            1);
}

TEST(Environment, OldWorkersGetArchiveRunnerAndAWrappedCommand) {
  MachineDriver d;
  d.machine.declare_environment(plan());
  d.connect();
  TaskSpec spec = inside("echo 'it is'");
  spec.inputs.push_back(input_file("data", "data"));
  const TaskId task = d.submit(spec);
  d.step();
  ASSERT_EQ(d.sent.size(), 1U);
  const auto& description = d.sent[0].description;
  EXPECT_EQ(description.command, "./.run -e .env -- /bin/sh -c 'echo '\\''it is'\\'''");
  EXPECT_TRUE(description.environment.empty());
  ASSERT_EQ(description.inputs.size(), 3U);
  EXPECT_EQ(description.inputs[1].sandbox_name, ".run");
  EXPECT_EQ(description.inputs[2].sandbox_name, ".env");
  EXPECT_EQ(d.machine.task(task)->command, "echo 'it is'");
  EXPECT_EQ(d.machine.spec(task)->environment_archive, "env.tar.gz");
  d.finish(task);
  EXPECT_EQ(d.outcomes[task].result, ResultCode::success);
}

TEST(Environment, AFailureIsTriedElsewhereAndThenTold) {
  MachineDriver d;
  d.machine.declare_environment(plan());
  const ConnId first = d.connect({.cores = 1}, "one");
  make_native(d, first);
  const TaskId task = d.submit(inside("x"));
  d.step();
  ASSERT_EQ(d.sent.size(), 1U);
  const ConnId second = d.connect({.cores = 1}, "two");
  make_native(d, second);
  d.machine.on_environment(first, {digest, false, "disk full"}, d.now);
  d.step();
  ASSERT_EQ(d.sent.size(), 2U);
  EXPECT_EQ(d.sent[1].conn, second);
  d.machine.on_environment(second, {digest, false, "disk full"}, d.now);
  for (int i = 0; i < 2; ++i) {
    d.pass(std::chrono::seconds(3));
    d.step();
  }
  ASSERT_EQ(d.sent.size(), 3U);
  d.machine.on_environment(d.sent[2].conn, {digest, false, "disk full: 1 MB free"}, d.now);
  d.step();
  ASSERT_TRUE(d.outcomes.contains(task));
  EXPECT_EQ(d.outcomes[task].result, ResultCode::input_missing);
  EXPECT_EQ(d.outcomes[task].message, "environment env.tar.gz: disk full: 1 MB free");
}

TEST(Environment, TheTimeOfWaitingIsNotTheTasks) {
  Config config;
  config.default_category.fast_abort = 2;
  MachineDriver d(config);
  d.machine.declare_environment(plan());
  const ConnId conn = d.connect({.cores = 1});
  make_native(d, conn);
  const auto run = [&](Duration execution) {
    const TaskId task = d.submit(inside("x"));
    d.step();
    d.pass(execution);
    ResultFacts facts;
    facts.execution_us = static_cast<std::uint64_t>(execution.count());
    d.finish(task, facts);
    return task;
  };
  run(std::chrono::seconds(1));
  d.machine.on_environment(conn, {digest, true, {}}, d.now);
  for (int i = 0; i < 20; ++i) run(std::chrono::seconds(1));
  const ConnId other = d.connect({.cores = 1}, "slow");
  make_native(d, other);
  d.machine.on_closed(conn, CloseReason::disconnected, d.now);
  const TaskId waits = d.submit(inside("x"));
  d.step();
  d.pass(std::chrono::seconds(600));  // it is being unpacked
  d.step();
  EXPECT_EQ(d.machine.state(waits), TaskState::running);
  d.machine.on_environment(other, {digest, true, {}}, d.now);
  d.pass(std::chrono::seconds(1));
  d.step();
  EXPECT_EQ(d.machine.state(waits), TaskState::running);
}

TEST(Environment, TasksWaitForOneThatIsBeingPreparedAndOthersDoNot) {
  MachineDriver d;
  make_native(d, d.connect());
  d.machine.expect_environment("env.tar.gz");
  const TaskId waits = d.submit(inside("x"));
  const TaskId plain = d.submit(command("y"));
  d.step();
  ASSERT_EQ(d.sent.size(), 1U);
  EXPECT_EQ(d.sent[0].task, plain);
  EXPECT_THAT(d.machine.explain(waits).text, HasSubstr("environment is being prepared"));
  d.finish(plain);
  d.machine.declare_environment(plan());
  d.step();
  ASSERT_EQ(d.sent.size(), 2U);
  EXPECT_EQ(d.sent[1].description.environment, digest);
  d.finish(waits);
  EXPECT_TRUE(d.machine.empty());
}

TEST(Environment, ATaskMayWaitForItsFilesAndItsEnvironment) {
  MachineDriver d;
  d.connect();
  d.machine.expect_environment("env.tar.gz");
  TaskSpec spec = inside("x");
  spec.inputs.push_back(input_file("data", "data"));
  const TaskId task = d.submit(spec);
  d.step();
  EXPECT_TRUE(d.sent.empty());
  d.machine.declare_environment(plan());
  d.step();
  ASSERT_EQ(d.sent.size(), 1U);
  d.finish(task);
  EXPECT_EQ(d.outcomes[task].result, ResultCode::success);
}

TEST(Environment, OneThatCannotBePreparedFailsItsTasksAndTheNextTaskTriesAgain) {
  MachineDriver d;
  d.connect();
  d.machine.expect_environment("env.tar.gz");
  const TaskId first = d.submit(inside("x"));
  const TaskId cancelled = d.submit(inside("y"));
  d.machine.cancel(cancelled, d.now);
  d.machine.fail_environment("env.tar.gz", "not a tar archive", d.now);
  d.step();
  EXPECT_EQ(d.outcomes[first].result, ResultCode::input_missing);
  EXPECT_EQ(d.outcomes[first].message, "environment env.tar.gz: not a tar archive");
  EXPECT_FALSE(d.machine.submit(inside("z"), d.now).has_value()) << "it is not known any more";
  d.machine.expect_environment("env.tar.gz");
  const TaskId second = d.submit(inside("z"));
  d.machine.declare_environment(plan());
  d.step();
  ASSERT_EQ(d.sent.size(), 1U);
  d.finish(second);
  EXPECT_TRUE(d.machine.empty());
}

TEST(Environment, IsRefusedWhenNobodyDeclaredItAndItsVariableIsReserved) {
  MachineDriver d;
  EXPECT_THAT(d.machine.submit(inside("x"), d.now).error().text, HasSubstr("env.tar.gz was not declared"));
  TaskSpec spec = command("x");
  spec.environment.push_back({"TASKMILL_ENVIRONMENT", "mine"});
  EXPECT_THAT(d.machine.submit(spec, d.now).error().text, HasSubstr("TASKMILL_ENVIRONMENT is reserved"));
}

}  // namespace
}  // namespace taskmill::testing
