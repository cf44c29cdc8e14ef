// Life and death of the worker: worker.md section 19, checks 1, 2, 12, 13, 17.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "protocol/auth_machine.hpp"
#include "tests/integration/worker/kit.hpp"

namespace taskmill::test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Life : public ::testing::Test {
 protected:
  std::vector<std::string> arguments(std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"127.0.0.1", manager_.port(), "-s", work_.path(), "--cores", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// SIGTERM, and what must hold afterwards in every state.
  void end_by(int number, WorkerProcess& process) {
    const double took = seconds_of([&] {
      process.signal(number);
      EXPECT_EQ(process.wait(), 0);
    });
    EXPECT_LT(took, 2.0);
    EXPECT_TRUE(work_.names().empty()) << work_.names().front();
  }
  ScratchDirectory logs_, work_;
  ScriptedManager manager_;
};

TEST_F(Life, AnIdleWorkerSaysGoodbyeAndLeaves) {
  WorkerProcess process(logs_, arguments({"-t", "2"}));
  Peer peer = manager_.greet();
  const double took =
      seconds_of([&] { EXPECT_EQ(peer.until("info idle-disconnecting"), "info idle-disconnecting 2"); });
  EXPECT_GT(took, 1.0);
  EXPECT_LT(took, 8.0);
  EXPECT_EQ(process.wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("because I did not receive any task in 2 seconds (--idle-timeout)."));
  EXPECT_THAT(process.err(), HasSubstr("stopping: no other managers available"));
  EXPECT_THAT(process.out(),
              HasSubstr("connected to manager 127.0.0.1:" + manager_.port() + " via local address 127.0.0.1:"));
  EXPECT_THAT(process.out(), HasSubstr("work_queue_worker: deleting workspace " + work_.path()));
}

TEST_F(Life, ALostManagerIsFoundAgainAndTasksOfTheOldSessionAreDead) {
  WorkerProcess process(logs_, arguments());
  {
    Peer peer = manager_.greet();
    peer.task(1, "sleep 9191.1");
    ASSERT_TRUE(eventually([] { return process_exists("sleep 9191.1"); }));
  }
  Peer again = manager_.accept();
  EXPECT_THAT(again.line(), StartsWith("workqueue 11 "));
  EXPECT_TRUE(eventually([] { return !process_exists("sleep 9191.1"); }));
  again.hello();
  EXPECT_EQ(again.run(1, "ls | wc -l").output, "0\n");
}

TEST_F(Life, NothingOfASessionIsLeftForTheNext) {
  WorkerProcess process(logs_, arguments());
  {
    Peer peer = manager_.greet();
    peer.put("cached", "x");
    EXPECT_EQ(peer.run(1, "echo x > ../stray; mkdir -p ../heap/deep; echo x > $WORKER_TMPDIR/shared").exit_code, 0);
  }
  Peer again = manager_.greet();
  const auto left = again.run(1, "ls -A ..; ls -A $WORKER_TMPDIR; ls -A ../cache");
  for (const char* gone : {"stray", "heap", "shared", "cached"}) EXPECT_EQ(left.output.find(gone), std::string::npos);
}

TEST_F(Life, ReleaseBringsItBackSoon) {
  WorkerProcess process(logs_, arguments());
  {
    Peer peer = manager_.greet();
    peer.send("release\n");
    EXPECT_EQ(peer.until("never"), "");
  }
  const double took = seconds_of([&] { Peer again = manager_.greet(); });
  EXPECT_LT(took, 5.0);
}

TEST_F(Life, ExitEndsIt) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  peer.send("exit\n");
  EXPECT_EQ(process.wait(), 0);
  EXPECT_TRUE(work_.names().empty());
}

TEST_F(Life, SingleShotEndsAfterTheFirstSession) {
  WorkerProcess process(logs_, arguments({"--single-shot"}));
  {
    Peer peer = manager_.greet();
    EXPECT_EQ(peer.run(1, "echo x").output, "x\n");
  }
  EXPECT_EQ(process.wait(), 0);
}

TEST_F(Life, AnOldManagerIsGreetedInItsVersion) {
  WorkerProcess process(logs_, arguments());
  {
    Peer peer = manager_.accept();
    EXPECT_THAT(peer.hello().front(), StartsWith("workqueue 11 "));
  }
  {
    Peer peer = manager_.accept();
    EXPECT_THAT(peer.hello().front(), StartsWith("workqueue 9 "));
    EXPECT_EQ(peer.run(1, "echo nine").output, "nine\n");
    // Objects of version 9 are fetched at once.
    peer.send("thirdget 1 made echo made > %%\n");
    EXPECT_EQ(peer.run(2, "cat m", "infile made m 1\n").output, "made\n");
    peer.send("release\n");
  }
  Peer peer = manager_.accept();
  EXPECT_THAT(peer.hello().front(), StartsWith("workqueue 9 ")) << "the answer was not remembered";
}

TEST_F(Life, UnknownMessagesEndTheSessionAndAreNamed) {
  WorkerProcess process(logs_, arguments());
  {
    Peer peer = manager_.greet();
    peer.send("nonsense 1 2\n");
    EXPECT_EQ(peer.until("never"), "");
  }
  Peer again = manager_.greet();
  EXPECT_THAT(process.err(), HasSubstr("invalid command from manager"));
  EXPECT_THAT(process.err(), HasSubstr("nonsense"));
}

TEST_F(Life, GivesUpWhenNobodyAnswers) {
  ScratchDirectory scratch;
  std::string port;
  { port = ScriptedManager().port(); }
  WorkerProcess process(scratch, {"127.0.0.1", port, "-s", work_.path(), "-t", "2", "-b", "1"});
  EXPECT_EQ(process.wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("couldn't connect to 127.0.0.1:" + port));
  EXPECT_THAT(process.err(), HasSubstr("stopping: could not connect after 2 seconds."));
}

TEST_F(Life, WallTimeEndsItAndIsAnnounced) {
  WorkerProcess process(logs_, arguments({"--wall-time", "2"}));
  Peer peer = manager_.accept();
  const auto hello = peer.hello();
  EXPECT_NE(hello.back(), "info worker-end-time 0");
  peer.task(1, "sleep 9292.1");
  EXPECT_EQ(peer.until("info wall_time_exhausted"), "info wall_time_exhausted 2");
  EXPECT_EQ(process.wait(), 0);
  EXPECT_FALSE(process_exists("sleep 9292.1"));
}

// --- signals ---

TEST_F(Life, TermWhenIdle) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  end_by(SIGTERM, process);
  EXPECT_EQ(peer.until("info vacating"), "info vacating 15");
}

TEST_F(Life, EverySignalIsOrderly) {
  for (const int number : {SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP}) {
    WorkerProcess process(logs_, arguments());
    Peer peer = manager_.greet();
    end_by(number, process);
    EXPECT_EQ(peer.until("info vacating"), "info vacating " + std::to_string(number));
  }
}

TEST_F(Life, TermWhileItStarts) {
  for (int step = 0; step < 12; ++step) {
    WorkerProcess process(logs_, {"-M", "nobody", "-C", "127.0.0.1:1", "-s", work_.path()});
    eventually([&] { return step == 0 || !work_.names().empty(); });
    ::usleep(static_cast<useconds_t>(step) * 1000);
    process.signal(SIGTERM);
    EXPECT_THAT(process.wait(), AnyOf(0, 128 + SIGTERM)) << "the latter before it is a worker at all";
    EXPECT_TRUE(work_.names().empty()) << work_.names().front();
  }
}

TEST_F(Life, TermWhileTasksRun) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  peer.task(1, "sleep 9393.1 & (setsid sleep 9393.2 &); touch a b c; mkdir d; trap '' TERM; sleep 9393.3");
  ASSERT_TRUE(eventually([] { return process_exists("sleep 9393.3") && process_exists("sleep 9393.2"); }));
  end_by(SIGTERM, process);
  EXPECT_EQ(peer.until("info vacating"), "info vacating 15");
  EXPECT_FALSE(process_exists("sleep 9393."));
}

TEST_F(Life, TermDuringAStalledPut) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  peer.send("put big 1000000000 0644\nsome bytes");
  peer.send(std::string(1000, 'x'));
  end_by(SIGTERM, process);
  EXPECT_EQ(peer.until("info vacating"), "info vacating 15");
}

TEST_F(Life, AStalledPutHoldsUpNothing) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  peer.task(1, "sleep 0.5; echo done");
  peer.send("put big 1000000 0644\nsome bytes");
  const double took = seconds_of([&] { EXPECT_EQ(peer.until("available_results"), "available_results"); });
  EXPECT_LT(took, 4.0);
}

TEST_F(Life, TermDuringACommandObject) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  peer.send("putcmd sleep%209494.1;%20touch%20%25%25 slow 0 777\n");
  peer.task(1, "cat x", "infile slow x 1\n");
  ASSERT_TRUE(eventually([] { return process_exists("sleep 9494.1"); }));
  end_by(SIGTERM, process);
  EXPECT_FALSE(process_exists("sleep 9494.1"));
}

TEST_F(Life, TermWhileTheCatalogIsDown) {
  std::string port;
  { port = ScriptedManager().port(); }
  WorkerProcess process(logs_, {"-M", "nobody", "-C", "127.0.0.1:" + port, "-s", work_.path()});
  ASSERT_TRUE(eventually([&] { return process.err().find("catalog") != std::string::npos; }));
  end_by(SIGTERM, process);
}

TEST_F(Life, TheCatalogBeingDownDoesNotOutliveTheTimeOut) {
  std::string port;
  { port = ScriptedManager().port(); }
  WorkerProcess process(logs_, {"-M", "nobody", "-C", "127.0.0.1:" + port, "-s", work_.path(), "-t", "2"});
  EXPECT_EQ(process.wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("could not connect after 2 seconds"));
}

TEST_F(Life, TermWhileTlsIsSilent) {
  WorkerProcess process(logs_, arguments({"--ssl"}));
  Peer peer = manager_.accept();
  end_by(SIGTERM, process);
}

TEST_F(Life, TermDuringASilentPasswordExchange) {
  const auto password = logs_.file("password", "secret");
  WorkerProcess process(logs_, arguments({"-P", password}));
  Peer peer = manager_.accept();
  EXPECT_EQ(peer.line(), "auth password sha1");
  end_by(SIGTERM, process);
}

TEST_F(Life, ASecondSignalEndsItAtOnce) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  process.signal(SIGTERM);
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(), 0);
}

TEST_F(Life, ManyFilesAreGoneInTime) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  peer.task(
      1,
      "for d in 1 2 3 4 5 6 7 8 9 10; do mkdir $d; (cd $d; seq 1000 | xargs touch); done; touch ready; sleep 9595.1");
  ASSERT_TRUE(eventually([] { return process_exists("sleep 9595.1"); }));
  end_by(SIGTERM, process);
}

TEST_F(Life, ParentDeathEndsIt) {
  const auto script = "\"$0\" \"$@\" & sleep 0.7";
  WorkerProcess shell(logs_, {"-s", work_.path(), "--parent-death", "127.0.0.1", manager_.port()},
                      {"sh", "-c", script});
  Peer peer = manager_.greet();
  EXPECT_EQ(shell.wait(), 0);
  EXPECT_EQ(peer.until("never", 10'000), "");
  EXPECT_TRUE(peer.closed());
  EXPECT_TRUE(eventually([&] { return work_.names().empty(); }));
}

// --- workspace ---

TEST_F(Life, TheWorkspaceIsPrivateAndUnpredictable) {
  WorkerProcess process(logs_, arguments());
  Peer peer = manager_.greet();
  const auto names = work_.names();
  ASSERT_EQ(names.size(), 1U);
  const auto prefix = "worker-" + std::to_string(::getuid()) + "-" + std::to_string(process.pid()) + "-";
  EXPECT_THAT(names[0], StartsWith(prefix));
  EXPECT_GE(names[0].size(), prefix.size() + 8);
  const auto mode = std::filesystem::status(work_.path() + "/" + names[0]).permissions();
  EXPECT_EQ(static_cast<unsigned>(mode) & 0777U, 0700U);
}

TEST_F(Life, LeftoversOfADeadWorkerAreRemovedAndThoseOfALivingOneAreNot) {
  std::string dead;
  {
    WorkerProcess process(logs_, arguments());
    Peer peer = manager_.greet();
    dead = work_.names().front();
    process.signal(SIGKILL);
    process.wait();
  }
  ASSERT_EQ(work_.names().size(), 1U);
  WorkerProcess living(logs_, arguments());
  Peer first = manager_.greet();
  EXPECT_TRUE(eventually([&] { return work_.names().size() == 1 && work_.names().front() != dead; }));
  WorkerProcess other(logs_, arguments());
  Peer second = manager_.greet();
  EXPECT_EQ(work_.names().size(), 2U);
  EXPECT_EQ(first.run(1, "echo unharmed").output, "unharmed\n");
}

TEST_F(Life, AWorkDirectoryWithShellCharactersIsJustAName) {
  const auto odd = work_.path() + "/x y;touch HACKED;$(touch HACKED2)";
  std::filesystem::create_directory(odd);
  WorkerProcess process(logs_, {"127.0.0.1", manager_.port(), "-s", odd, "--single-shot"});
  {
    Peer peer = manager_.greet();
    EXPECT_EQ(peer.run(1, "echo fine; test -d \"$TMPDIR\" && echo temp").output, "fine\ntemp\n");
  }
  EXPECT_EQ(process.wait(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(odd));
}

// --- password ---

TEST_F(Life, ThePasswordExchangeWorks) {
  const auto password = logs_.file("password", "secret\n");
  WorkerProcess process(logs_, arguments({"-P", password}));
  Peer peer = manager_.accept();
  EXPECT_EQ(peer.line(), "auth password sha1");
  peer.send("auth password sha1\n");
  const auto challenge = peer.line();
  EXPECT_EQ(challenge.size(), 63U);
  const std::string ours(63, 'q');
  peer.send(ours + "\n");
  EXPECT_EQ(peer.line(), protocol::auth_response("secret\n", ours));
  peer.send(protocol::auth_response("secret\n", challenge) + "\n");
  EXPECT_EQ(peer.line(), "ok");
  peer.send("ok\n");
  peer.hello();
  EXPECT_EQ(peer.run(1, "echo in").output, "in\n");
}

TEST_F(Life, ItsOwnChallengeIsNotAccepted) {
  const auto password = logs_.file("password", "secret");
  WorkerProcess process(logs_, arguments({"-P", password, "-t", "3"}));
  Peer peer = manager_.accept();
  peer.line();
  peer.send("auth password sha1\n");
  const auto challenge = peer.line();
  peer.send(challenge + "\n");  // the reflection
  const auto response = peer.line();
  EXPECT_NE(response, protocol::auth_response("secret", challenge));
  EXPECT_THAT(response, AnyOf("", "failure"));
  EXPECT_TRUE(eventually([&] { return process.err().find("wrong password for manager") != std::string::npos; }));
}

TEST_F(Life, AWrongPasswordIsNamedAndTriedAgain) {
  const auto password = logs_.file("password", "secret");
  WorkerProcess process(logs_, arguments({"-P", password, "-t", "5", "-b", "1"}));
  for (int attempt = 0; attempt < 2; ++attempt) {
    Peer peer = manager_.accept();
    peer.line();
    peer.send("auth password sha1\n" + std::string(63, 'q') + "\n" + std::string(40, '0') + "\nfailure\n");
    peer.until("never", 5000);
  }
  EXPECT_EQ(process.wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("work_queue_worker: wrong password for manager 127.0.0.1:" + manager_.port()));
  EXPECT_THAT(process.err(), HasSubstr("could not connect after 5 seconds"));
}

TEST_F(Life, AManagerThatWantsAPasswordIsNamed) {
  WorkerProcess process(logs_, arguments({"-t", "3"}));
  Peer peer = manager_.accept();
  peer.send("auth password sha1\n");
  EXPECT_TRUE(eventually([&] {
    return process.err().find("this manager requires a password. (use the -P option)") != std::string::npos;
  }));
}

// --- several managers, command line ---

TEST_F(Life, AListOfManagersIsTriedInOrder) {
  ScriptedManager second;
  std::string dead;
  { dead = ScriptedManager().port(); }
  WorkerProcess process(
      logs_, {"127.0.0.1:" + dead + ";127.0.0.1:" + manager_.port() + ";127.0.0.1", second.port(), "-s", work_.path()});
  Peer peer = manager_.greet();
  peer.send("release\n");
  Peer other = second.greet();  // after a release the next one has its turn
  EXPECT_EQ(other.run(1, "echo second").output, "second\n");
}

TEST_F(Life, TwoIdleManagersDoNotKeepItForEver) {
  ScriptedManager second;
  WorkerProcess process(
      logs_, {"127.0.0.1:" + manager_.port() + ";127.0.0.1:" + second.port(), "-s", work_.path(), "-t", "1"});
  Peer first = manager_.greet();
  Peer other = second.greet();
  EXPECT_EQ(process.wait(), 0);
  EXPECT_THAT(process.err(), HasSubstr("no other managers available"));
}

}  // namespace
}  // namespace taskmill::test
