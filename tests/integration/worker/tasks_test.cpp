// What tasks see and what comes back: worker.md section 19, checks 1 and 3 to 6, 10, 11, 18.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <map>
#include <sstream>

#include "tests/integration/worker/kit.hpp"

namespace taskmill::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Tasks : public ::testing::Test {
 protected:
  explicit Tasks(std::vector<std::string> more = {"--cores", "2", "--memory", "100", "-t", "60"})
      : process_(scratch_, arguments(std::move(more)), {}, {"CORES=7", "DISPLAY=:3", "SECRET=s"}),
        peer_(manager_.accept()) {
    hello_ = peer_.hello();
  }
  std::vector<std::string> arguments(std::vector<std::string> more) const {
    std::vector<std::string> all = {"127.0.0.1", manager_.port(), "-s", scratch_.path(), "--single-shot"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  ScratchDirectory scratch_;
  ScriptedManager manager_;
  WorkerProcess process_;
  Peer peer_;
  std::vector<std::string> hello_;
};

TEST_F(Tasks, HelloHasEveryLineInOrder) {
  // Capabilities are announced by a line that old managers ignore.
  std::erase_if(hello_, [](const std::string& line) { return line.starts_with("info wqx-caps "); });
  ASSERT_EQ(hello_.size(), 12U);
  EXPECT_THAT(hello_[0], StartsWith("workqueue 11 "));
  EXPECT_THAT(hello_[1], StartsWith("info worker-id worker-"));
  EXPECT_EQ(hello_[1].size(), std::string("info worker-id worker-").size() + 32);
  EXPECT_EQ(hello_[2], "alive");
  EXPECT_EQ(hello_[3], "resource workers 1 1 1");
  EXPECT_THAT(hello_[4], StartsWith("resource disk "));
  EXPECT_EQ(hello_[5], "resource memory 100 100 100");
  EXPECT_EQ(hello_[6], "resource gpus 0 0 0");
  EXPECT_EQ(hello_[7], "resource cores 2 2 2");
  EXPECT_EQ(hello_[8], "resource tag 0");
  EXPECT_EQ(hello_[9], "info end_of_resource_update 0");
  EXPECT_EQ(hello_[10], "info tasks_running 0");
  EXPECT_EQ(hello_[11], "info worker-end-time 0");
}

TEST_F(Tasks, ExitCodesSignalsAndMessagesComeBack) {
  EXPECT_EQ(peer_.run(1, "exit 3").exit_code, 3);
  const auto killed = peer_.run(2, "kill -9 $$");
  EXPECT_EQ(killed.status, 0);
  EXPECT_EQ(killed.exit_code, 9);
  const auto unknown = peer_.run(3, "nosuchcmd");
  EXPECT_EQ(unknown.status, 0);
  EXPECT_EQ(unknown.exit_code, 127);
  EXPECT_THAT(unknown.output, HasSubstr("nosuchcmd: not found"));
  EXPECT_EQ(peer_.run(4, "echo out; echo err >&2; echo again").output, "out\nerr\nagain\n");
  EXPECT_EQ(peer_.run(5, "wc -c; echo \"[$(cat)]\"").output, "0\n[]\n");
}

TEST_F(Tasks, ACommandTooLongForTheSystemIsOneThatCannotBeExecuted) {
  const auto result = peer_.run(1, "true " + std::string(200'000, 'a'));
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.exit_code, 127);
  EXPECT_THAT(result.output, HasSubstr("Argument list too long"));
}

TEST_F(Tasks, ATaskThatForksWithoutEndIsStoppedAsAWhole) {
  // Bounded, should the worker fail: each chain ends by itself.
  const std::string chain = "f() { [ $1 -gt 0 ] || exit; sleep 0.001; f $(($1 - 1)) & }";
  peer_.task(1, chain + "; for i in 1 2 3 4 5 6 7 8; do f 3000 & done; echo up; sleep 300");
  peer_.send("check\n");
  peer_.until("alive");
  peer_.send("kill 1\n");
  const auto result = peer_.run(2, "echo after");
  EXPECT_EQ(result.output, "after\n");
  EXPECT_TRUE(eventually([] { return !process_exists("f $(($1 - 1))"); }));
}

TEST_F(Tasks, LargeOutputComesBackComplete) {
  const auto result = peer_.run(1, "seq 1 200000");
  EXPECT_EQ(result.output.size(), 1288895U);
  EXPECT_THAT(result.output.substr(result.output.size() - 14), HasSubstr("199999\n200000"));
  // The next task starts with an empty output again, whatever was used before.
  EXPECT_EQ(peer_.run(2, "echo small").output, "small\n");
  EXPECT_EQ(peer_.run(3, "true").output, "");
  EXPECT_EQ(peer_.run(4, "echo small").output, "small\n");
}

TEST_F(Tasks, OnlyThreeDescriptorsAreOpen) {
  peer_.task(1, "sleep 1");  // another task's descriptors must not be seen either
  peer_.task(2, "ls /proc/self/fd | tr '\\n' ' '");
  const auto results = peer_.collect(2);
  // ls itself opens the directory as 3.
  EXPECT_EQ(results[1].output, "0 1 2 3 ");
}

std::map<std::string, std::string> environment_of(const std::string& output) {
  std::map<std::string, std::string> all;
  std::istringstream in(output);
  for (std::string line; std::getline(in, line);) all[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
  return all;
}

TEST_F(Tasks, EnvironmentIsThatOfTheSpecification) {
  const std::string env = "env 8\nCORES=99\nenv 11\nMULTI=a b\nc\nenv 9\nTMPDIR=/x\nenv 6\nSECRET\n";
  const auto result = peer_.run(7, "env; pwd; test -d \"$TMPDIR\" && test -w \"$TMPDIR\" && echo OK=OK", env);
  const auto all = environment_of(result.output);
  for (const char* name : {"CORES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_NUM_THREADS", "MKL_NUM_THREADS",
                           "NUMEXPR_NUM_THREADS"}) {
    EXPECT_EQ(all.at(name), "1") << name;
  }
  EXPECT_EQ(all.at("CORES_LIST"), "0");
  EXPECT_EQ(all.at("MEMORY"), "10");
  EXPECT_EQ(all.at("DISK"), "10");
  EXPECT_FALSE(all.contains("GPUS"));
  EXPECT_FALSE(all.contains("DISPLAY"));
  EXPECT_FALSE(all.contains("SECRET")) << "an entry without '=' unsets";
  EXPECT_THAT(result.output, HasSubstr("MULTI=a b\nc\n"));
  EXPECT_EQ(all.at("OK"), "OK");
  const auto sandbox = all.at("WORK_QUEUE_SANDBOX") + "/t.7";
  EXPECT_THAT(all.at("TMPDIR"), StartsWith(sandbox + "/"));
  EXPECT_EQ(all.at("TEMP"), all.at("TMPDIR"));
  EXPECT_THAT(result.output, HasSubstr("\n" + sandbox + "\n"));
  EXPECT_THAT(all.at("WORK_QUEUE_SANDBOX"), StartsWith(scratch_.path() + "/worker-"));
  EXPECT_EQ(peer_.run(8, "test -d \"$WORKER_TMPDIR\"").exit_code, 0);
}

TEST_F(Tasks, WithoutResourcesATaskGetsTheWholeWorker) {
  peer_.task(1, "echo $CORES $MEMORY $CORES_LIST", "", "");
  EXPECT_EQ(peer_.collect(1).front().output, "2 100 0,1\n");
}

TEST_F(Tasks, WhatNeverFitsIsRefusedWithAnUpdateAndMayComeAgain) {
  peer_.task(1, "echo no", "", "cores 5\ngpus 0\nmemory 10\ndisk 10\n");
  const auto results = peer_.results();
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].status, 40);
  EXPECT_EQ(results[0].exit_code, 0);
  EXPECT_EQ(results[0].length, 0);
  // No `kill` follows a refusal; the same number may be used at once.
  EXPECT_EQ(peer_.run(1, "echo yes").output, "yes\n");
}

TEST_F(Tasks, MemoryIsSharedOutAndSmallTasksOvertake) {
  peer_.task(1, "sleep 0.4; date +%s%N", "", "cores 1\ngpus 0\nmemory 60\ndisk 1\n");
  peer_.task(2, "date +%s%N", "", "cores 1\ngpus 0\nmemory 60\ndisk 1\n");
  peer_.task(3, "date +%s%N", "", "cores 1\ngpus 0\nmemory 10\ndisk 1\n");
  const auto results = peer_.collect(3);
  EXPECT_LT(std::stoll(results[0].output), std::stoll(results[1].output))
      << "two tasks of 60 MB ran together on 100 MB";
  EXPECT_LT(std::stoll(results[2].output), std::stoll(results[0].output)) << "the small task did not overtake";
}

TEST_F(Tasks, WallTimeIsSecondsWithSlack) {
  peer_.task(1, "sleep 1", "wall_time 1.000000\n");
  peer_.task(2, "sleep 30 & sleep 31", "wall_time 1\n");
  const auto results = peer_.collect(2);
  EXPECT_EQ(results[0].status, 0);
  EXPECT_EQ(results[1].status, 56);
  EXPECT_EQ(results[1].exit_code, 9);
  EXPECT_LT(results[1].microseconds, 10'000'000);
  EXPECT_GE(results[1].microseconds, 5'000'000);
}

TEST_F(Tasks, EndTimeStopsTheTaskAndItsChildren) {
  const auto soon =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count() + 2;
  peer_.task(1, "sleep 4242.5 & sleep 4242.6", "end_time " + std::to_string(soon) + ".000000\n");
  const auto result = peer_.collect(1).front();
  EXPECT_EQ(result.status, 24);
  EXPECT_EQ(result.exit_code, 9);
  EXPECT_FALSE(process_exists("sleep 4242."));
}

TEST_F(Tasks, ATaskThatIgnoresTermIsStillStopped) {
  peer_.task(1, "trap '' TERM; while :; do sleep 0.1; done", "end_time 1.0\n");
  const auto result = peer_.collect(1).front();
  EXPECT_EQ(result.status, 24);
  EXPECT_EQ(result.exit_code, 9);
}

TEST_F(Tasks, NothingOfAFinishedTaskLivesOn) {
  peer_.task(1,
             "sleep 5151.1 & setsid sleep 5151.2 & (setsid sh -c 'sleep 5151.3 & sleep 5151.4' &) ; env -i setsid "
             "sleep 5151.5 & sleep 0.2");
  EXPECT_EQ(peer_.collect(1).front().exit_code, 0);
  EXPECT_FALSE(process_exists("sleep 5151."));
}

TEST_F(Tasks, ADaemonOfARunningTaskIsLeftAlone) {
  peer_.task(1, "(setsid sleep 5252.1 &); sleep 0.3; touch go; while [ ! -e stop ]; do sleep 0.05; done");
  peer_.task(2, "sleep 0.6");
  EXPECT_EQ(peer_.collect(1).front().id, 2);
  EXPECT_TRUE(process_exists("sleep 5252.1")) << "the end of one task killed a process of another";
  peer_.send("kill 1\n");
  EXPECT_TRUE(eventually([] { return !process_exists("sleep 5252.1"); }));
}

TEST_F(Tasks, KillOfAYoungTaskIsImmediateAndThorough) {
  peer_.task(1, "sleep 6161.1 & (setsid sleep 6161.2 &) ; sleep 6161.3");
  ASSERT_TRUE(eventually([] { return process_exists("sleep 6161.2") && process_exists("sleep 6161.3"); }));
  const double took = seconds_of([this] {
    peer_.send("kill 1\ncheck\n");
    peer_.until("alive");
  });
  EXPECT_LT(took, 1.0);
  EXPECT_TRUE(eventually([] { return !process_exists("sleep 6161."); }));
  // The number is free again.
  EXPECT_EQ(peer_.run(1, "echo again").output, "again\n");
}

TEST_F(Tasks, KillMinusOneEndsEverything) {
  for (int id = 1; id <= 5; ++id) peer_.task(id, "sleep 7171." + std::to_string(id));
  ASSERT_TRUE(eventually([] { return process_exists("sleep 7171.2"); }));
  peer_.send("kill -1\ncheck\n");
  EXPECT_EQ(peer_.until("alive"), "alive");
  EXPECT_EQ(peer_.line(), "info tasks_running 0");
  EXPECT_TRUE(eventually([] { return !process_exists("sleep 7171."); }));
}

TEST_F(Tasks, ADuplicateNumberReplacesTheOldTask) {
  peer_.task(1, "sleep 8181.5");
  ASSERT_TRUE(eventually([] { return process_exists("sleep 8181.5"); }));
  peer_.task(1, "echo new");
  EXPECT_EQ(peer_.collect(1).front().output, "new\n");
  EXPECT_TRUE(eventually([] { return !process_exists("sleep 8181.5"); }));
}

TEST_F(Tasks, ATaskWithoutACommandIsAnswered) {
  peer_.send("task 1\ncores 1\nmemory 1\ndisk 1\ngpus 0\nend\n");
  EXPECT_EQ(peer_.collect(1).front().exit_code, 127);
}

TEST_F(Tasks, SendResultsWithNothingToReportIsJustEnd) {
  peer_.send("send_results -1\n");
  EXPECT_EQ(peer_.line(), "end");
}

TEST_F(Tasks, RequestsMayBePipelined) {
  peer_.task(1, "echo one > o");
  peer_.send("task 2\ncmd 8\necho twocores 1\ngpus 0\nmemory 1\ndisk 1\noutfile out o 0\nend\n");
  ASSERT_FALSE(peer_.until("available_results").empty());
  ASSERT_TRUE(eventually([this] {
    peer_.send("check\n");
    peer_.until("alive");
    return peer_.line() == "info tasks_running 0";
  }));
  peer_.send("send_results -1\nget nothing 1\ncheck\nsend_results -1\n");
  int results = 0;
  for (auto line = peer_.line(); line != "end" && !line.empty(); line = peer_.line()) {
    if (!line.starts_with("result ")) continue;
    ++results;
    std::istringstream in(line.substr(7));
    int skip = 0;
    std::size_t length = 0;
    in >> skip >> skip >> length;
    peer_.bytes(length);
  }
  EXPECT_EQ(results, 2);
  EXPECT_EQ(peer_.until("missing"), "missing nothing 2");
  EXPECT_EQ(peer_.line(), "end");
  EXPECT_EQ(peer_.until("end"), "end");
}

TEST_F(Tasks, WatchedFilesAreReportedAsTheyGrow) {
  peer_.task(1, "for i in 1 2 3 4; do echo line $i >> w.txt; sleep 0.8; done", "outfile watched w.txt 16\n");
  std::string content;
  int updates = 0;
  bool done = false;
  while (!done && !peer_.closed()) {
    ASSERT_FALSE(peer_.until("available_results").empty());
    peer_.send("send_results -1\n");
    for (auto line = peer_.line(); line != "end" && !line.empty(); line = peer_.line()) {
      if (line.starts_with("result ")) done = true;
      if (!line.starts_with("update ")) continue;
      std::istringstream in(line.substr(7));
      std::string path;
      std::size_t id = 0, offset = 0, length = 0;
      in >> id >> path >> offset >> length;
      EXPECT_EQ(path, "w.txt");
      EXPECT_EQ(offset, content.size());
      content += peer_.bytes(length);
      ++updates;
    }
  }
  EXPECT_GE(updates, 2);
  EXPECT_THAT(content, StartsWith("line 1\n"));
  const auto items = peer_.get("watched");
  ASSERT_EQ(items.size(), 1U);
  EXPECT_EQ(items[0].bytes, "line 1\nline 2\nline 3\nline 4\n");
}

TEST_F(Tasks, TwoThousandTasksAllAnswer) {
  for (int id = 1; id <= 2000; ++id) peer_.task(id, "exit " + std::to_string(id % 7));
  const auto results = peer_.collect(2000);
  for (int i = 0; i < 2000; ++i) {
    ASSERT_EQ(results[static_cast<std::size_t>(i)].id, i + 1);
    ASSERT_EQ(results[static_cast<std::size_t>(i)].exit_code, (i + 1) % 7);
  }
}

class Wrapped : public Tasks {
 protected:
  Wrapped() : Tasks({"--task-wrapper", "echo before; []; echo after; true {x}"}) {}
};

TEST_F(Wrapped, TheWrapperGetsTheCommandAsOneWord) {
  EXPECT_THAT(peer_.run(1, "nosuchprogram 'a b'").output, HasSubstr("nosuchprogram 'a b': not found"));
}

}  // namespace
}  // namespace taskmill::test
