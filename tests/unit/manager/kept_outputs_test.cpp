// Outputs that stay at the worker that made them: who keeps any, who may read them there, and how each one ends.
#include <gtest/gtest.h>

#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

using protocol::ResultCode;

TaskSpec maker_of(const std::string& path) {
  TaskSpec spec = request(1);
  OutputSpec output{path, "partial"};
  output.cache = true;
  output.keep = true;
  spec.outputs.push_back(output);
  return spec;
}

TaskSpec reader_of(const std::string& path, const std::string& place) {
  TaskSpec spec = request(1);
  spec.inputs.push_back(input_file(path, "part"));
  spec.features.push_back(Machine::feature_of_place(place));
  return spec;
}

struct KeptOutputs : ::testing::Test {
  std::string address(ConnId conn) const { return std::string(d.machine.worker(conn)->address); }
  void make(const std::string& path) {
    const TaskId task = d.submit(maker_of(path));
    d.step();
    d.finish(task);
    ASSERT_EQ(d.outcomes.at(task).result, ResultCode::success);
    EXPECT_TRUE(d.outcomes.at(task).kept);
  }
  MachineDriver d;
};

TEST_F(KeptOutputs, AreNotFetchedAndAreReadWhereTheyLie) {
  const ConnId home = d.connect_peer();
  make("r");
  EXPECT_EQ(d.times_said("get "), 0U);
  EXPECT_EQ(d.times_said("unlink"), 0U);
  const std::string name = d.sent[0].description.outputs.at(0).cache_name;
  EXPECT_EQ(d.sent[0].description.outputs.at(0).flags, 1 | 128) << "cached, and not to be sent along with the result";
  d.connect_peer();
  const TaskId reader = d.submit(reader_of("r", address(home)));
  d.step();
  ASSERT_EQ(d.at_worker(reader)->conn, home);
  EXPECT_EQ(d.at_worker(reader)->description.inputs.at(0).cache_name, name);
  EXPECT_EQ(d.times_said("stage"), 0U);
  d.finish(reader);
  EXPECT_EQ(d.machine.invalidate_cached_file("r", FileKind::file, d.now), 1U);
  d.step();
  EXPECT_TRUE(d.said("unlink " + name));
  EXPECT_EQ(d.count(ReportKind::kept_lost), 0U) << "the user has dropped it";
}

TEST_F(KeptOutputs, OldWorkersReturnThem) {
  d.connect();
  const TaskId task = d.submit(maker_of("r"));
  d.step();
  d.finish(task);
  EXPECT_FALSE(d.outcomes.at(task).kept);
  EXPECT_EQ(d.times_said("get "), 1U);
}

TEST_F(KeptOutputs, AFailedTaskKeepsNothing) {
  d.connect_peer();
  TaskSpec spec = maker_of("r");
  spec.outputs[0].when = OutputWhen::on_success;
  const TaskId task = d.submit(spec);
  d.step();
  ResultFacts facts;
  facts.exit_code = 3;
  d.finish(task, facts);
  EXPECT_FALSE(d.outcomes.at(task).kept);
  EXPECT_TRUE(d.said("unlink"));
}

TEST_F(KeptOutputs, ComeToTheirPlaceOnRequest) {
  d.connect_peer();
  make("r");
  ASSERT_TRUE(d.machine.fetch_kept_output("r", d.now));
  d.step();
  EXPECT_EQ(d.times_said("get "), 1U);
  EXPECT_EQ(d.count(ReportKind::kept_fetched), 1U);
  EXPECT_FALSE(d.machine.fetch_kept_output("r", d.now)) << "it is here";
  d.connect();
  TaskSpec anywhere = request(4);
  anywhere.inputs.push_back(input_file("r", "part"));
  const TaskId reader = d.submit(anywhere);
  d.step();
  EXPECT_NE(d.at_worker(reader), nullptr);
  EXPECT_EQ(d.times_said("stage"), 1U) << "the other worker gets it from here";
}

TEST_F(KeptOutputs, AreLostWithTheirWorker) {
  const ConnId home = d.connect_peer();
  make("r");
  d.machine.on_closed(home, CloseReason::disconnected, d.now);
  d.step();
  EXPECT_EQ(d.count(ReportKind::kept_lost), 1U);
  EXPECT_FALSE(d.machine.fetch_kept_output("r", d.now));
}

TEST_F(KeptOutputs, AreLostOnceWhenTheWorkerLeavesDuringTheFetch) {
  const ConnId home = d.connect_peer();
  make("r");
  make("s");
  d.answer_fetches = false;
  ASSERT_TRUE(d.machine.fetch_kept_output("r", d.now));
  ASSERT_TRUE(d.machine.fetch_kept_output("s", d.now));
  d.step();
  d.machine.on_closed(home, CloseReason::disconnected, d.now);
  d.step();
  EXPECT_EQ(d.count(ReportKind::kept_lost), 2U);
  EXPECT_EQ(d.count(ReportKind::kept_fetched) + d.count(ReportKind::kept_failed), 0U);
}

TEST_F(KeptOutputs, WhatCannotBeFetchedIsGivenUpAndRemoved) {
  d.connect_peer();
  make("r");
  d.fetches["r"] = FetchStatus::missing;
  ASSERT_TRUE(d.machine.fetch_kept_output("r", d.now));
  d.step();
  EXPECT_EQ(d.count(ReportKind::kept_failed), 1U);
  EXPECT_EQ(d.count(ReportKind::kept_lost), 0U);
  EXPECT_TRUE(d.said("unlink"));
}

TEST_F(KeptOutputs, AReaderWhoseWorkerLeftWaitsUntilItIsTakenBack) {
  const ConnId home = d.connect_peer();
  make("r");
  const TaskId reader = d.submit(reader_of("r", address(home)));
  d.step();
  d.machine.on_closed(home, CloseReason::disconnected, d.now);
  d.connect_peer();
  d.step();
  EXPECT_EQ(d.machine.state(reader), TaskState::ready) << "no other worker may run it";
  EXPECT_TRUE(d.machine.cancel(reader, d.now));
  d.step();
  EXPECT_TRUE(d.machine.empty());
}

TEST_F(KeptOutputs, NoWorkerCanAnnounceThePlaceOfAnother) {
  const ConnId home = d.connect_peer();
  make("r");
  const std::string place = address(home);
  d.machine.on_closed(home, CloseReason::disconnected, d.now);
  d.connect({}, "liar", 11, 0, {Machine::feature_of_place(place)});
  const TaskId reader = d.submit(reader_of("r", place));
  d.step();
  EXPECT_EQ(d.at_worker(reader), nullptr);
}

}  // namespace
}  // namespace taskmill::testing
