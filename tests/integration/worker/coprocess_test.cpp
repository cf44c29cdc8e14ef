// Function tasks and the library processes that answer them: worker.md section 12.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>

#include "tests/integration/worker/kit.hpp"

namespace taskmill::test {
namespace {

using ::testing::HasSubstr;

const char* const library = R"(#!/usr/bin/env python3
import json, os, socket, sys, time
door = socket.create_server(("127.0.0.1", 0))
words = json.dumps({"name": "tools", "port": door.getsockname()[1], "more": [1]})
sys.stdout.write(f"{len(words)}\n{words}")
print("chatter " * 50000, flush=True)
while True:
    with door.accept()[0] as peer, peer.makefile("rwb") as wire:
        function, task, length = wire.readline().decode().split()
        data = wire.read(int(length))
        if function == "die":
            os._exit(3)
        if function == "sleep":
            time.sleep(600)
        if function == "nonsense":
            answer, length = b"", b"many"
        else:
            answer = {"upper": data.upper(), "task": task.encode(), "twice": data * 2}[function]
            length = b"%d" % len(answer)
        wire.write(length + b"\n" + answer)
)";

class Coprocess : public ::testing::Test {
 protected:
  std::vector<std::string> arguments(const std::string& program, std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"127.0.0.1", manager_.port(), "-s",    work_.path(), "--single-shot", "--cores",
                                    "2",         "--coprocess",   program, "--memory",   "100",           "--disk",
                                    "50",        "--gpus",        "0"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string program() const {
    const auto path = scratch_.file("library.py", library);
    EXPECT_EQ(::chmod(path.c_str(), 0755), 0);
    return path;
  }
  static void ask(Peer& peer, long long id, const std::string& function, const std::string& input,
                  const std::string& lines = "") {
    peer.put("in" + std::to_string(id), input);
    peer.task(id, function,
              "coprocess 25\nwq_worker_coprocess:toolsinfile in" + std::to_string(id) + " infile 0\n" + lines);
  }
  static Result answer(Peer& peer, long long id, const std::string& function, const std::string& input) {
    ask(peer, id, function, input);
    auto result = peer.collect(1).front();
    peer.send("kill " + std::to_string(id) + "\n");
    return result;
  }
  ScratchDirectory scratch_, work_;
  ScriptedManager manager_;
};

TEST_F(Coprocess, IsAnnouncedAndAnswers) {
  WorkerProcess process(scratch_, arguments(program(), {"--coprocesses-total", "2", "--coprocess-cores", "1"}));
  Peer peer = manager_.accept();
  const auto hello = peer.hello();
  const auto alive = std::find(hello.begin(), hello.end(), "alive");
  ASSERT_GE(hello.end() - alive, 6);
  EXPECT_EQ(alive[1], "resource coprocess_disk 50 0 0");
  EXPECT_EQ(alive[2], "resource coprocess_memory 100 0 0");
  EXPECT_EQ(alive[3], "resource coprocess_gpus 0 0 0");
  EXPECT_EQ(alive[4], "resource coprocess_cores 1 0 0");
  EXPECT_EQ(alive[5], "resource workers 1 1 1");
  EXPECT_THAT(hello, ::testing::Contains("feature wq_worker_coprocess:tools"));

  const auto result = answer(peer, 1, "upper", "some words");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output, "SOME WORDS");
  EXPECT_EQ(answer(peer, 7, "task", "").output, "7");
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(answer(peer, 8, "twice", large).output, large + large);
  EXPECT_EQ(peer.run(9, "echo ordinary").output, "ordinary\n");
  for (int id = 20; id < 40; ++id) ask(peer, id, "upper", "n" + std::to_string(id));
  const auto results = peer.collect(20);
  for (const auto& one : results) EXPECT_EQ(one.output, "N" + std::to_string(one.id));
}

TEST_F(Coprocess, ThatDiesIsStartedAgainAndItsTaskIsNoEmptySuccess) {
  WorkerProcess process(scratch_, arguments(program(), {"--coprocesses-total", "1"}));
  Peer peer = manager_.greet();
  for (const char* function : {"die", "nonsense"}) {
    const auto dead = answer(peer, 1, function, "x");
    EXPECT_EQ(dead.status, 16) << function;
    EXPECT_EQ(dead.exit_code, 9) << function;
    EXPECT_EQ(answer(peer, 2, "upper", "again").output, "AGAIN") << function;
  }
}

TEST_F(Coprocess, ACallIsKilledAtOnceAndTheNextOneServed) {
  WorkerProcess process(scratch_, arguments(program(), {"--coprocesses-total", "1"}));
  Peer peer = manager_.greet();
  ask(peer, 1, "sleep", "x");
  peer.until("info tasks_running 1");
  peer.send("kill 1\n");
  peer.until("info tasks_running 0");
  EXPECT_EQ(answer(peer, 1, "upper", "again").output, "AGAIN");
  ask(peer, 2, "sleep", "x", "end_time 1.0\n");
  const auto late = peer.collect(1).front();
  EXPECT_EQ(late.status, 24);
  EXPECT_EQ(late.exit_code, 9);
}

TEST_F(Coprocess, EndsWithItsWorker) {
  WorkerProcess process(scratch_, arguments(program()));
  Peer peer = manager_.greet();
  ask(peer, 1, "sleep", "x");
  peer.until("info tasks_running 1");
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(), 0);
  EXPECT_TRUE(work_.names().empty());
  EXPECT_FALSE(process_exists(scratch_.path() + "/library.py"));
}

TEST_F(Coprocess, IsNothingForAManagerOfVersion9) {
  WorkerProcess process(scratch_, arguments(program(), {"--protocol", "9", "--feature", "other"}));
  Peer peer = manager_.accept();
  for (const auto& line : peer.hello()) EXPECT_EQ(line.find("coprocess"), std::string::npos) << line;
}

TEST_F(Coprocess, WithoutOneAFunctionIsRefused) {
  WorkerProcess process(scratch_, {"127.0.0.1", manager_.port(), "-s", work_.path(), "--single-shot"});
  Peer peer = manager_.greet();
  EXPECT_EQ(answer(peer, 1, "upper", "x").status, 40);
}

TEST_F(Coprocess, ThatDoesNotIntroduceItselfIsAnErrorInWords) {
  {
    WorkerProcess process(scratch_, arguments("/bin/false"));
    EXPECT_EQ(process.wait(), 1);
    EXPECT_THAT(process.err(), HasSubstr("--coprocess '/bin/false'"));
  }
  {
    WorkerProcess process(scratch_, arguments("/nonexistent/library"));
    EXPECT_EQ(process.wait(), 1);
    EXPECT_THAT(process.err(), HasSubstr("--coprocess /nonexistent/library"));
  }
  EXPECT_TRUE(work_.names().empty());
}

}  // namespace
}  // namespace taskmill::test
