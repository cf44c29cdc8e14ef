// One task's journey and what can go wrong on the way (manager.md 6, 8, 12-14).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

using protocol::ResultCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Machine, RunsOneTaskAndReportsIt) {
  MachineDriver d;
  const ConnId conn = d.connect();
  const TaskId task = d.submit(command("echo hi"));
  d.step();
  ASSERT_EQ(d.sent.size(), 1U);
  EXPECT_EQ(d.sent[0].conn, conn);
  EXPECT_EQ(d.sent[0].description.command, "echo hi");
  EXPECT_EQ(d.sent[0].description.category, "default");
  EXPECT_EQ(d.machine.state(task), TaskState::running);
  d.pass(std::chrono::seconds(2));
  ResultFacts facts;
  facts.exit_code = 3;
  facts.execution_us = 1500000;
  d.finish(task, facts);
  ASSERT_TRUE(d.outcomes.contains(task));
  const TaskOutcome& o = d.outcomes[task];
  EXPECT_EQ(o.result, ResultCode::success);
  EXPECT_EQ(o.return_status, 3);
  EXPECT_EQ(o.execute_last, Duration(1500000));
  EXPECT_EQ(o.try_count, 1U);
  EXPECT_EQ(o.hostname, "node");
  EXPECT_TRUE(d.machine.empty());
  EXPECT_EQ(d.machine.stats().tasks_done, 1);
  EXPECT_TRUE(d.said("kill 1"));
}

TEST(Machine, RunsInOrderOfPriorityThenId) {
  MachineDriver d;
  const double priorities[] = {0, 1.5, 1.2, -1, 1.5, 0, 0};  // A … G of manager.md 8.1
  for (const double p : priorities) {
    TaskSpec spec = request(1);
    spec.priority = p;
    d.submit(spec);
  }
  d.connect({.cores = 1});
  d.step();
  for (int i = 0; i < 7; ++i) d.finish(d.sent.back().task);
  EXPECT_THAT(d.order(), ElementsAre(2, 5, 3, 1, 6, 7, 4));
}

TEST(Machine, ReturnedTaskKeepsItsPlace) {
  MachineDriver d;
  const ConnId conn = d.connect({.cores = 1});
  for (int i = 0; i < 3; ++i) d.submit(request(1));
  d.step();
  d.machine.on_closed(conn, CloseReason::disconnected, d.now);
  d.connect({.cores = 1});
  d.step();
  EXPECT_THAT(d.order(), ElementsAre(1, 1));
  EXPECT_EQ(d.machine.stats().workers_lost, 1);
}

TEST(Machine, GivesUpAfterAllowedRetries) {
  MachineDriver d;
  TaskSpec spec = request(1);
  spec.max_retries = 1;
  const TaskId task = d.submit(spec);
  for (int i = 0; i < 2; ++i) {
    const ConnId conn = d.connect();
    d.step();
    d.machine.on_closed(conn, CloseReason::disconnected, d.now);
    d.step();
  }
  EXPECT_EQ(d.outcomes[task].result, ResultCode::max_retries);
  EXPECT_EQ(d.outcomes[task].try_count, 2U);
  EXPECT_EQ(d.outcomes[task].return_status, -1);
  EXPECT_THAT(d.outcomes[task].message, HasSubstr("worker lost"));
}

TEST(Machine, ReturnsTaskThatExpiresInTheQueue) {
  MachineDriver d;
  TaskSpec spec = request(1);
  spec.end_time = d.now.wall + std::chrono::seconds(5);
  const TaskId task = d.submit(spec);
  d.step();
  ASSERT_TRUE(d.machine.next_deadline().has_value());
  d.pass(std::chrono::seconds(5));
  d.step();
  EXPECT_EQ(d.outcomes[task].result, ResultCode::task_timeout);
  EXPECT_EQ(d.outcomes[task].return_status, -1);
  EXPECT_EQ(d.machine.stats().tasks_failed, 1);
  EXPECT_EQ(d.machine.stats().tasks_done, 0);
}

TEST(Machine, WaitsForTheMinimumStartTime) {
  MachineDriver d;
  d.connect();
  TaskSpec spec = request(1);
  spec.start_time_min = d.now.wall + std::chrono::seconds(6);
  const TaskId task = d.submit(spec);
  d.step();
  EXPECT_TRUE(d.sent.empty());
  EXPECT_THAT(d.machine.explain(task).text, HasSubstr("minimum start time"));
  d.pass(std::chrono::seconds(6));
  d.step();
  EXPECT_EQ(d.sent.size(), 1U);
}

TEST(Machine, MissingInputEndsTheTaskWithoutSendingAnything) {
  MachineDriver d;
  d.connect();
  d.disk["in.txt"] = {false, 0, 0, false, "in.txt: No such file or directory"};
  TaskSpec spec = request(1);
  spec.inputs.push_back(input_file("in.txt", "in.txt"));
  const TaskId task = d.submit(spec);
  d.step();
  EXPECT_TRUE(d.sent.empty());
  EXPECT_EQ(d.outcomes[task].result, ResultCode::input_missing);
  EXPECT_EQ(d.outcomes[task].return_status, -1);
  EXPECT_THAT(d.outcomes[task].message, HasSubstr("in.txt"));
  EXPECT_EQ(d.machine.stats().tasks_failed, 1);
  EXPECT_EQ(d.machine.stats().tasks_done, 0);
}

TEST(Machine, InputThatVanishesBeforeItIsSentFailsAllThatCountOnIt) {
  MachineDriver d;
  d.connect();
  d.broken["in.txt"] = {"in.txt: gone", false};
  TaskSpec spec = request(1);
  spec.inputs.push_back(input_file("in.txt", "in.txt"));
  const TaskId a = d.submit(spec);
  const TaskId b = d.submit(spec);
  d.step();
  EXPECT_TRUE(d.sent.empty());
  EXPECT_TRUE(d.said("skip 1"));
  EXPECT_TRUE(d.said("skip 2"));
  EXPECT_EQ(d.outcomes[a].result, ResultCode::input_missing);
  EXPECT_EQ(d.outcomes[b].result, ResultCode::input_missing);
}

TEST(Machine, SendsACachedInputOncePerWorker) {
  MachineDriver d;
  d.connect({.cores = 2});
  TaskSpec spec = request(1);
  spec.inputs.push_back(input_file("/data/calib.root", "calib.root"));
  spec.inputs.push_back(input_file("/data/chunk", "chunk", false));
  for (int i = 0; i < 4; ++i) d.submit(spec);
  d.step();
  d.finish(TaskId(1));
  d.finish(TaskId(2));
  EXPECT_EQ(d.sent.size(), 4U);
  std::size_t cached = 0;
  std::size_t uncached = 0;
  for (const auto& line : d.wire) {
    if (line.find("stage file-0-") != std::string::npos) ++cached;
    if (line.find("stage file-") != std::string::npos && line.find("-chunk") != std::string::npos) ++uncached;
  }
  EXPECT_EQ(cached, 1U);
  EXPECT_EQ(uncached, 4U);
  EXPECT_EQ(d.sent[0].description.inputs[0].cache_name, d.sent[3].description.inputs[0].cache_name);
  EXPECT_NE(d.sent[0].description.inputs[1].cache_name, d.sent[3].description.inputs[1].cache_name);
  EXPECT_TRUE(d.said("unlink " + d.sent[0].description.inputs[1].cache_name));
  EXPECT_FALSE(d.said("unlink " + d.sent[0].description.inputs[0].cache_name));
}

TEST(Machine, ChangedInputGetsANewNameAndTheOldCopyGoesWithItsLastUser) {
  MachineDriver d;
  d.connect({.cores = 2});
  TaskSpec spec = request(1);
  spec.inputs.push_back(input_file("f", "f"));
  const TaskId first = d.submit(spec);
  d.step();
  const std::string old_name = d.sent[0].description.inputs[0].cache_name;
  d.disk["f"] = {true, 50, 99, false, ""};
  d.pass(std::chrono::seconds(1));
  const TaskId second = d.submit(spec);
  d.step();
  ASSERT_EQ(d.sent.size(), 2U);
  EXPECT_NE(d.sent[1].description.inputs[0].cache_name, old_name);
  EXPECT_FALSE(d.said("unlink " + old_name));
  d.finish(first);
  EXPECT_TRUE(d.said("unlink " + old_name));
  d.finish(second);
  EXPECT_FALSE(d.said("unlink " + d.sent[1].description.inputs[0].cache_name));
}

TEST(Machine, InvalidatingRestartsTasksWithTheNewContent) {
  MachineDriver d;
  d.connect({.cores = 2});
  TaskSpec spec = request(1);
  spec.inputs.push_back(input_file("f", "f"));
  const TaskId a = d.submit(spec);
  const TaskId b = d.submit(spec);
  d.step();
  EXPECT_EQ(d.machine.invalidate_cached_file("f", FileKind::file, d.now), 1U);
  d.step();
  EXPECT_EQ(d.sent.size(), 4U);
  EXPECT_TRUE(d.said("unlink " + d.sent[0].description.inputs[0].cache_name));
  EXPECT_NE(d.sent[3].description.inputs[0].cache_name, d.sent[0].description.inputs[0].cache_name);
  d.finish(a);
  d.finish(b);
  EXPECT_EQ(d.outcomes[a].try_count, 2U);
  EXPECT_EQ(d.outcomes[b].result, ResultCode::success);
}

TEST(Machine, DifferentBuffersAndPiecesHaveDifferentNames) {
  MachineDriver d;
  d.connect();
  TaskSpec spec = request(1);
  for (const char* text : {"AAAA", "BBBBBB"}) {
    InputSpec input;
    input.kind = FileKind::buffer;
    input.data = std::make_shared<const std::string>(text);
    input.remote = text;
    spec.inputs.push_back(input);
  }
  for (const std::uint64_t first : {0U, 5U}) {
    InputSpec input = input_file("big", "p" + std::to_string(first));
    input.kind = FileKind::piece;
    input.first = first;
    input.last = first + 4;
    spec.inputs.push_back(input);
  }
  d.submit(spec);
  d.step();
  ASSERT_EQ(d.sent.size(), 1U);
  const auto& inputs = d.sent[0].description.inputs;
  EXPECT_NE(inputs[0].cache_name, inputs[1].cache_name);
  EXPECT_NE(inputs[2].cache_name, inputs[3].cache_name);
  for (const auto& input : inputs) {
    for (const char c : input.cache_name) EXPECT_TRUE(std::isalnum(c) || c == '.' || c == '_' || c == '-');
  }
}

TEST(Machine, FetchesEverythingInOneGoAndCleansUpBehindIt) {
  MachineDriver d;
  d.answer_fetches = false;
  d.connect();
  TaskSpec spec = request(1);
  spec.outputs = {{"out/a", "a"}, {"out/b", "b"}};
  const TaskId task = d.submit(spec);
  d.step();
  d.finish(task);
  const auto& names = d.sent[0].description.outputs;
  const std::vector<std::string> tail(d.wire.end() - 5, d.wire.end());
  EXPECT_THAT(tail, ElementsAre("1: get " + names[0].cache_name, "1: get " + names[1].cache_name, "1: kill 1",
                                "1: unlink " + names[0].cache_name, "1: unlink " + names[1].cache_name));
  EXPECT_EQ(d.machine.state(task), TaskState::waiting_retrieval);
  EXPECT_EQ(d.machine.stats().committed_cores, 0);
  for (const Action& a : d.pending_fetches) {
    Fetched f;
    f.task = a.task;
    f.attempt = a.attempt;
    f.index = a.index;
    d.machine.on_fetched(a.conn, f, d.now);
  }
  d.step();
  EXPECT_EQ(d.outcomes[task].result, ResultCode::success);
}

TEST(Machine, MissingOutputKeepsTheExitStatusAndTheOtherOutputs) {
  MachineDriver d;
  d.connect();
  TaskSpec spec = request(1);
  spec.outputs = {{"a", "a"}, {"b", "b"}};
  d.fetches["a"] = FetchStatus::missing;
  const TaskId task = d.submit(spec);
  d.step();
  ResultFacts facts;
  facts.exit_code = 7;
  d.finish(task, facts);
  EXPECT_EQ(d.outcomes[task].result, ResultCode::output_missing);
  EXPECT_EQ(d.outcomes[task].return_status, 7);
  EXPECT_EQ(d.outcomes[task].bytes_received, 20U);
}

TEST(Machine, OutputThatCannotBeStoredFailsTheTaskNotTheWorker) {
  MachineDriver d;
  d.connect();
  TaskSpec spec = request(1);
  spec.outputs = {{"a", "a"}};
  d.fetches["a"] = FetchStatus::local_error;
  const TaskId task = d.submit(spec);
  d.step();
  d.finish(task);
  EXPECT_EQ(d.outcomes[task].result, ResultCode::output_transfer_error);
  EXPECT_EQ(d.machine.stats().workers_connected, 1);
}

TEST(Machine, FailureAndSuccessOnlyOutputsFollowResultAndStatus) {
  MachineDriver d;
  d.connect();
  TaskSpec spec = request(1);
  spec.outputs = {{"log", "log", OutputWhen::on_failure}, {"hist", "hist", OutputWhen::on_success}};
  const TaskId good = d.submit(spec);
  const TaskId bad = d.submit(spec);
  d.step();
  d.finish(good);
  EXPECT_TRUE(d.said("get " + d.sent[0].description.outputs[1].cache_name));
  EXPECT_FALSE(d.said("get " + d.sent[0].description.outputs[0].cache_name));
  ResultFacts facts;
  facts.exit_code = 1;
  d.finish(bad, facts);
  EXPECT_TRUE(d.said("get " + d.sent[1].description.outputs[0].cache_name));
  EXPECT_FALSE(d.said("get " + d.sent[1].description.outputs[1].cache_name));
}

TEST(Machine, CachedOutputNeedsNoTransferBack) {
  MachineDriver d;
  d.connect();
  TaskSpec make = request(1);
  make.outputs = {{"mid", "mid", OutputWhen::always, false, true}};
  const TaskId first = d.submit(make);
  d.step();
  d.finish(first);
  d.disk["mid"] = {true, 10, 7, false, ""};
  TaskSpec use = request(1);
  use.inputs.push_back(input_file("mid", "mid"));
  d.submit(use);
  d.step();
  ASSERT_EQ(d.sent.size(), 2U);
  EXPECT_EQ(d.sent[1].description.inputs[0].cache_name, d.sent[0].description.outputs[0].cache_name);
  EXPECT_FALSE(d.said("stage"));
}

TEST(Machine, ForsakenTaskGoesBackWithoutKillAndCountsAsTry) {
  MachineDriver d;
  d.connect();
  const TaskId task = d.submit(request(1));
  d.step();
  ResultFacts facts;
  facts.status = 40;
  d.finish(task, facts);
  EXPECT_EQ(d.sent.size(), 2U);
  EXPECT_FALSE(d.said("kill"));
  d.finish(task);
  EXPECT_EQ(d.outcomes[task].try_count, 2U);
}

TEST(Machine, WorkerThatGivesEverythingBackIsLeftAloneForAWhile) {
  MachineDriver d;
  d.connect();
  const TaskId task = d.submit(request(1));
  d.step();
  ResultFacts facts;
  facts.status = 40;
  for (int i = 0; i < 10; ++i) d.finish(task, facts);
  EXPECT_LE(d.sent.size(), 5U);
  EXPECT_EQ(d.machine.state(task), TaskState::ready);
  d.pass(std::chrono::seconds(10));
  const std::size_t before = d.sent.size();
  d.step();
  EXPECT_EQ(d.sent.size(), before + 1);
}

TEST(Machine, CancellingAWaitingTaskTakesItOutOfTheQueue) {
  MachineDriver d;
  const TaskId task = d.submit(request(1));
  EXPECT_TRUE(d.machine.cancel(task, d.now));
  EXPECT_FALSE(d.machine.cancel(task, d.now));
  d.connect();
  d.step();
  EXPECT_TRUE(d.sent.empty());
  EXPECT_EQ(d.outcomes[task].result, ResultCode::unknown);
  EXPECT_EQ(d.count(ReportKind::cancelled), 1U);
  EXPECT_EQ(d.machine.stats().tasks_cancelled, 1);
}

TEST(Machine, CancellingARunningTaskKillsAndCleans) {
  MachineDriver d;
  d.connect({.cores = 1});
  TaskSpec spec = request(1);
  spec.tag = "x";
  spec.inputs.push_back(input_file("in", "in", false));
  spec.outputs = {{"out", "out"}};
  d.submit(spec);
  d.step();
  const TaskId second = d.submit(request(1));
  d.step();
  EXPECT_TRUE(d.machine.cancel_by_tag("x", d.now));
  d.step();
  EXPECT_TRUE(d.said("kill 1"));
  EXPECT_TRUE(d.said("unlink " + d.sent[0].description.inputs[0].cache_name));
  EXPECT_TRUE(d.said("unlink " + d.sent[0].description.outputs[0].cache_name));
  EXPECT_EQ(d.sent.back().task, second);
}

TEST(Machine, ResultOfACancelledTaskIsIgnored) {
  MachineDriver d;
  const ConnId conn = d.connect();
  const TaskId task = d.submit(request(1));
  d.step();
  d.machine.cancel(task, d.now);
  d.step();
  d.finish_at(conn, task);
  EXPECT_EQ(d.machine.stats().tasks_done, 0);
}

TEST(Machine, BlockedHostGetsNothingUntilTheBlockEnds) {
  MachineDriver d;
  d.connect({}, "bad");
  d.machine.block_host("bad", Duration(std::chrono::seconds(4)), d.now);
  d.submit(request(1));
  d.step();
  EXPECT_TRUE(d.sent.empty());
  EXPECT_THAT(d.machine.blocked_hosts(), ElementsAre("bad"));
  d.pass(std::chrono::seconds(4));
  d.step();
  EXPECT_EQ(d.sent.size(), 1U);
  EXPECT_TRUE(d.machine.blocked_hosts().empty());
}

TEST(Machine, DrainedWorkerFinishesWhatItHasAndIsToldToExit) {
  MachineDriver d;
  d.connect({}, "node");
  const TaskId task = d.submit(request(1));
  d.step();
  EXPECT_EQ(d.machine.drain_host("node", true, d.now), 1U);
  d.submit(request(1));
  d.step();
  EXPECT_EQ(d.sent.size(), 1U);
  EXPECT_FALSE(d.said("exit"));
  d.finish(task);
  EXPECT_TRUE(d.said("exit"));
  EXPECT_EQ(d.machine.stats().workers_connected, 0);
}

TEST(Machine, FactorySurplusIsSentAway) {
  MachineDriver d;
  const ConnId a = d.connect();
  d.machine.on_info(a, "from-factory", "f", d.now);
  d.machine.set_factory_max("f", 1, d.now);
  const ConnId b = d.connect();
  d.machine.on_info(b, "from-factory", "f", d.now);
  d.step();
  EXPECT_TRUE(d.said("2: exit"));
  EXPECT_FALSE(d.said("1: exit"));
}

TEST(Machine, CategoryRunsAtMostItsLimit) {
  MachineDriver d;
  CategorySettings settings;
  settings.max_concurrent = 1;
  d.machine.set_category("c", settings, d.now);
  d.connect();
  d.connect();
  TaskSpec spec = request(1);
  spec.category = "c";
  for (int i = 0; i < 3; ++i) d.submit(spec);
  d.step();
  EXPECT_EQ(d.sent.size(), 1U);
  d.finish(TaskId(1));
  EXPECT_EQ(d.sent.size(), 2U);
}

TEST(Machine, WaitsForWorkersWhenTold) {
  Config config;
  config.wait_for_workers = 2;
  MachineDriver d(config);
  d.connect();
  d.submit(request(1));
  d.step();
  EXPECT_TRUE(d.sent.empty());
  d.connect();
  d.step();
  EXPECT_EQ(d.sent.size(), 1U);
}

TEST(Machine, OvercommitsByTheMultiplier) {
  Config config;
  config.resource_submit_multiplier = 2;
  MachineDriver d(config);
  d.connect({.cores = 2, .memory = 1000, .disk = 1000});
  for (int i = 0; i < 6; ++i) d.submit(request(1));
  d.step();
  EXPECT_EQ(d.sent.size(), 4U);
}

TEST(Machine, SilentConnectionIsClosed) {
  MachineDriver d;
  d.machine.on_connected(ConnId(77), "1.2.3.4:5", d.now);
  d.pass(std::chrono::seconds(31));
  d.step();
  EXPECT_TRUE(d.said("77: close did not introduce itself"));
}

TEST(Machine, KeepaliveDropsOnlyTheWorkerThatDoesNotAnswer) {
  MachineDriver d;
  const ConnId good = d.connect();
  const ConnId bad = d.connect();
  const TaskId task = d.submit(request(4));
  d.step();
  d.pass(std::chrono::seconds(120));
  d.step();
  EXPECT_TRUE(d.said("1: check"));
  EXPECT_TRUE(d.said("2: check"));
  const ConnId holder = d.at_worker(task)->conn;
  const ConnId silent = holder;
  d.pass(std::chrono::seconds(1));
  d.machine.on_heard(silent == good ? bad : good, d.now);
  d.pass(std::chrono::seconds(30));
  d.step();
  EXPECT_TRUE(d.said(std::to_string(silent.value()) + ": close did not answer"));
  EXPECT_EQ(d.machine.stats().workers_connected, 1);
  EXPECT_EQ(d.sent.size(), 2U);
}

TEST(Machine, FeaturesAndEndTimesRestrictTheChoice) {
  MachineDriver d;
  const std::int64_t end = d.now.wall.time_since_epoch().count() / 1000000 + 100;
  d.connect({}, "plain", 11, end);
  const ConnId special = d.connect({}, "special", 11, 0, {"gpu-x"});
  TaskSpec featured = request(1);
  featured.features = {"gpu-x"};
  d.submit(featured);
  TaskSpec lasting = request(1);
  lasting.min_running_time = std::chrono::seconds(200);
  d.submit(lasting);
  d.step();
  ASSERT_EQ(d.sent.size(), 2U);
  EXPECT_EQ(d.sent[0].conn, special);
  EXPECT_EQ(d.sent[1].conn, special);
}

TEST(Machine, TaskThatFitsNowhereIsReturnedAfterTheConfiguredTime) {
  Config config;
  config.unfittable_timeout = std::chrono::seconds(60);
  MachineDriver d(config);
  d.connect();
  const TaskId large = d.submit(request(64));
  d.step();
  EXPECT_THAT(d.machine.explain(large).text, HasSubstr("no connected worker is large enough"));
  for (int i = 0; i < 8; ++i) {
    d.pass(std::chrono::seconds(10));
    d.step();
  }
  EXPECT_EQ(d.outcomes[large].result, ResultCode::resource_exhaustion);
  EXPECT_THAT(d.outcomes[large].message, HasSubstr("64"));
}

TEST(Machine, WarnsAboutLargeTasks) {
  MachineDriver d;
  d.connect({.cores = 3});
  d.submit(request(4));
  d.step();
  for (int i = 0; i < 7; ++i) {
    d.pass(std::chrono::seconds(30));
    d.machine.on_heard(ConnId(1), d.now);
    d.step();
  }
  EXPECT_THAT(d.notices, ::testing::Contains("    1 waiting task(s) need more than 3.000 cores"));
}

TEST(Machine, WrongProtocolIsDroppedAndNothingIsBlocked) {
  MachineDriver d;
  d.connect({}, "old", 8);
  d.step();
  EXPECT_TRUE(d.said("close unsupported protocol version"));
  EXPECT_TRUE(d.machine.blocked_hosts().empty());
}

TEST(Machine, WritesTheTransactionsLogInTheOldForm) {
  Config config;
  config.transactions = true;
  MachineDriver d(config);
  TaskSpec spec = request(1, 100, 100);
  spec.category = "catA";
  spec.inputs.push_back(input_file("in.txt", "in.txt"));
  const TaskId task = d.submit(spec);
  d.connect({.cores = 2, .memory = 1000, .disk = 1000});
  d.step();
  d.finish(task);
  EXPECT_THAT(
      d.records,
      ElementsAre(
          R"(TASK 1 WAITING catA FIRST_RESOURCES {"memory":[100,"MB"],"disk":[100,"MB"],"cores":[1,"cores"]})",
          "WORKER worker-1 10.0.0.1:1000  CONNECTION",
          R"(WORKER worker-1 RESOURCES {"memory":[1000,"MB"],"disk":[1000,"MB"],"cores":[2,"cores"]})",
          R"(TASK 1 RUNNING 10.0.0.1:1000  FIRST_RESOURCES {"memory":[500,"MB"],"disk":[500,"MB"],"gpus":[0,"gpus"],"cores":[1,"cores"]})",
          "TRANSFER INPUT 1 1 0.000095 0.000000 in.txt", "TASK 1 WAITING_RETRIEVAL 10.0.0.1:1000 ",
          ::testing::StartsWith("TASK 1 RETRIEVED SUCCESS  0  {} {\"wq_output_time\":[0,\"s\"]"),
          ::testing::StartsWith("TASK 1 DONE SUCCESS  0  {} {\"wq_output_time\":[0,\"s\"]")));
}

}  // namespace
}  // namespace taskmill::testing
