// The command line and the environment of the worker: worker.md section 1.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/integration/worker/kit.hpp"

namespace taskmill::test {
namespace {

using ::testing::HasSubstr;

class Options : public ::testing::Test {
 protected:
  std::vector<std::string> arguments(std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"127.0.0.1", manager_.port(), "-s", work_.path(), "--cores", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  ScratchDirectory logs_, work_;
  ScriptedManager manager_;
};

struct CommandLine {
  std::vector<std::string> arguments;
  int status;
  std::string text;  ///< in stdout or stderr
};

class CommandLines : public ::testing::TestWithParam<CommandLine> {};

TEST_P(CommandLines, AreJudgedAsDocumented) {
  ScratchDirectory scratch;
  WorkerProcess process(scratch, GetParam().arguments);
  EXPECT_EQ(process.wait(), GetParam().status);
  EXPECT_THAT(process.out() + process.err(), HasSubstr(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    All, CommandLines,
    ::testing::Values(
        CommandLine{{"--version"}, 0, "work_queue_worker version "}, CommandLine{{"-v"}, 0, "\tBuilt by "},
        CommandLine{{"--help"}, 0, "Use: work_queue_worker"}, CommandLine{{"--hel"}, 0, "Use: work_queue_worker"},
        CommandLine{{}, 1, "Use: work_queue_worker"}, CommandLine{{"a", "1", "2"}, 1, "Use: "},
        CommandLine{{"--nonsense"}, 1, "unrecognized option"},
        CommandLine{{"--debug-max-rotate", "1", "h", "1"}, 1, "Use: "}, CommandLine{{"localhost"}, 1, "no port"},
        CommandLine{{"localhost", "0"}, 1, "invalid port '0'"},
        CommandLine{{"localhost", "abc"}, 1, "invalid port 'abc'"},
        CommandLine{{"localhost", "9", "-P", "/nonexistent"}, 1, "/nonexistent"},
        CommandLine{{"localhost", "9", "-i", "10", "-b", "5"}, 1, "Maximum backoff interval provided must be greater"},
        CommandLine{{"localhost", "9", "-o", "/nonexistent/log"}, 1, "/nonexistent/log"},
        CommandLine{{"localhost", "9", "-s", "/nonexistent"}, 1, "/nonexistent"},
        CommandLine{{"localhost", "9", "--connection-mode", "x"}, 1, "by_hostname"}, CommandLine{{"-M", "a("}, 1, "a("},
        CommandLine{{"localhost", "9", "--exit-codes=odd"}, 1, "--exit-codes must be strict or lenient"},
        CommandLine{{"127.0.0.1", "1", "-t", "abc"}, 0, "couldn't connect to 127.0.0.1:1: "},
        CommandLine{{"127.0.0.1", "1", "-t", "0"}, 0, "could not connect after 0 seconds."},
        CommandLine{{"no.such.host.invalid", "1", "-t", "0"}, 0, "couldn't resolve hostname no.such.host.invalid"},
        CommandLine{{"127.0.0.1", "1", "-t", "0", "--wall-time", "0"}, 0, "Ignoring --wall-time"},
        CommandLine{{"--foreman", "localhost", "9"}, 1, "foreman mode is not supported"}));

TEST_F(Options, LegacySpellingsAreAccepted) {
  WorkerProcess process(logs_, {"-a",
                                "-c",
                                "-p",
                                "x",
                                "-z",
                                "10",
                                "--memory-threshold",
                                "10",
                                "--disk-threshold=4",
                                "--cores=0.500",
                                "--memory",
                                "all",
                                "--gpus",
                                "junk",
                                "--tlq",
                                "1",
                                "-w",
                                "64K",
                                "--tcp-window-size",
                                "1M",
                                "--idle-time",
                                "30",
                                "-F",
                                "3",
                                "--advertise",
                                "--measure-capacity",
                                "--disk-allocation",
                                "--coprocesses-total",
                                "2",
                                "--bandwidth",
                                "1M",
                                "--specify-log",
                                "x",
                                "-d",
                                "nonsense",
                                "--from-factory",
                                "fac",
                                "--feature",
                                "b c",
                                "--feature",
                                "a",
                                "-A",
                                "arch x",
                                "-O",
                                "os",
                                "127.0.0.1",
                                manager_.port(),
                                "-s",
                                work_.path(),
                                "-b5"});
  Peer peer = manager_.accept();
  const auto hello = peer.hello();
  EXPECT_THAT(hello.front(), HasSubstr(" os arch_x "));
  EXPECT_THAT(hello, ::testing::Contains("feature b%20c"));
  EXPECT_THAT(hello, ::testing::Contains("feature a"));
  EXPECT_THAT(hello, ::testing::Contains("info from-factory fac"));
}

TEST_F(Options, NoticesReachStderrWhereverTheDetailsGo) {
  WorkerProcess process(logs_, {"127.0.0.1", "1", "-t", "0", "-s", work_.path(), "-d", "all", "-o", ":stdout"});
  EXPECT_EQ(process.wait(), 0);
  EXPECT_THAT(process.out(), HasSubstr("stopping: could not connect"));
  EXPECT_THAT(process.err(), HasSubstr("stopping: could not connect"));
}

TEST_F(Options, ResourcesMayComeFromTheEnvironment) {
  WorkerProcess process(logs_, arguments(), {}, {"MEMORY=77", "CORES=9"});
  Peer peer = manager_.accept();
  const auto hello = peer.hello();
  EXPECT_THAT(hello, ::testing::Contains("resource memory 77 77 77"));
  EXPECT_THAT(hello, ::testing::Contains("resource cores 2 2 2")) << "the option wins";
}

TEST_F(Options, APromiseOfDiskThatCannotBeKeptEndsIt) {
  WorkerProcess process(logs_, arguments({"--disk", "999999999"}));
  EXPECT_EQ(process.wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("has less than the promised disk space (--disk > disk total) 999999999 < "));
}

TEST_F(Options, ACacheLargerThanThePromisedDiskEndsTheSession) {
  WorkerProcess process(logs_, arguments({"--disk", "3"}));
  {
    Peer peer = manager_.greet();
    peer.put("big", std::string(5U << 20, 'x'));
    EXPECT_THAT(peer.until("info disk_exhausted"), HasSubstr("info disk_exhausted 5"));
  }
  Peer again = manager_.greet();
  EXPECT_THAT(process.err(), HasSubstr("used more than declared disk space (--disk - < disk used) 3 < 5 MB"));
}

TEST_F(Options, TheDebugFileTellsTheStory) {
  const auto log = logs_.path() + "/debug";
  WorkerProcess process(logs_, arguments({"-d", "all", "-o", log, "--single-shot"}));
  {
    Peer peer = manager_.greet();
    peer.run(1, "echo told");
  }
  process.wait();
  std::ifstream in(log);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_THAT(text, HasSubstr("[" + std::to_string(process.pid()) + "]wq: "));
  EXPECT_THAT(text, HasSubstr("echo told"));
  EXPECT_THAT(text, HasSubstr("rx: task 1"));
}

}  // namespace
}  // namespace taskmill::test
