#include "common/measure/watchdog.hpp"

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

extern char** environ;

namespace taskmill::measure {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

Time now() { return Time{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())}; }

class WatchdogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/taskmill-watchdog-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    sandbox_ = name;
  }
  void TearDown() override {
    for (const auto& [task, pid] : pids_) end(task);
    std::filesystem::remove_all(sandbox_);
  }

  void start(Watchdog::Task task, std::vector<std::string> words, Limits limits = {}, bool own_mark = false) {
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t pid = 0;
    {
      // As a worker that marks its processes itself does.
      const ScopedTaskMark guard(own_mark ? watch_.new_mark() : TaskMark{});
      ASSERT_EQ(::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ), 0);
    }
    pids_[task] = pid;
    dog_.started(task, pid, {limits, sandbox_}, now());
  }
  std::vector<Watchdog::Passed> until_passed(Duration patience = 30s) {
    const auto deadline = now() + patience;
    while (now() < deadline) {
      std::this_thread::sleep_for(2ms);
      if (!dog_.next() || now() < *dog_.next()) continue;
      auto passed = dog_.turn(now());
      if (!passed.empty()) return passed;
    }
    return {};
  }
  std::optional<Measurement> end(Watchdog::Task task) {
    const auto pid = pids_.at(task);
    if (pid == 0) return std::nullopt;
    pids_[task] = 0;
    ::kill(pid, SIGKILL);
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
    dog_.root_exited(task, now());
    rusage usage{};
    ::wait4(pid, nullptr, 0, &usage);
    return dog_.finish(task, usage, now());
  }

  ProcessWatch watch_;
  Watchdog dog_{watch_};
  std::string sandbox_;
  std::map<Watchdog::Task, pid_t> pids_;
};

TEST_F(WatchdogTest, NamesTheTaskThatPassedItsLimitAndOnlyOnce) {
  Limits limits;
  limits.memory = 50;
  start(1, {KNOWN_USE, "memory", "10", "300"}, limits);
  start(2, {KNOWN_USE, "memory", "100", "300"}, limits);
  const auto passed = until_passed();
  ASSERT_EQ(passed.size(), 1u);
  EXPECT_EQ(passed[0].task, 2u);
  EXPECT_EQ(passed[0].exceeded.kind, LimitKind::memory);
  EXPECT_TRUE(until_passed(700ms).empty());
  const auto m = end(2);
  ASSERT_TRUE(m);
  ASSERT_EQ(m->exceeded.size(), 1u);
  EXPECT_EQ(m->exceeded[0].allowed, 50);
  EXPECT_GE(*m->memory, std::int64_t{50} << 20);
  EXPECT_TRUE(end(1)->exceeded.empty());
  EXPECT_FALSE(dog_.next()) << "nothing to do, no timer";
}

TEST_F(WatchdogTest, TheSandboxIsWatchedInSlices) {
  for (int i = 0; i < 2000; ++i) std::ofstream(sandbox_ + "/f" + std::to_string(i)) << "x";
  Limits limits;
  limits.disk = 20;
  start(1, {KNOWN_USE, "disk", "40", "300", sandbox_}, limits);
  const auto passed = until_passed();
  ASSERT_EQ(passed.size(), 1u);
  EXPECT_EQ(passed[0].exceeded.kind, LimitKind::disk);
  const auto m = end(1);
  EXPECT_GE(*m->disk, std::int64_t{20} << 20);
}

TEST_F(WatchdogTest, AShortTasksDiskIsSeenAtTheEnd) {
  start(1, {"/bin/sleep", "300"});
  std::ofstream(sandbox_ + "/late") << std::string(100'000, 'x');
  dog_.last_look_at_disk(1);
  const auto m = end(1);
  EXPECT_GE(*m->disk, 100'000);
  EXPECT_EQ(m->files, 2);
}

TEST_F(WatchdogTest, AMarkThatTheTaskAlreadyCarriesIsAdopted) {
  ASSERT_TRUE(watch_.become_subreaper());
  start(1, {KNOWN_USE, "daemon", "300"}, {}, true);
  const auto pid = pids_.at(1);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  std::this_thread::sleep_for(30ms);
  dog_.turn(now() + 1s);
  const auto m = dog_.so_far(1, now());
  EXPECT_GE(m->total_processes, 2) << "the daemon carries the same mark";
  // Nobody else ends it.
  std::vector<ProcessWatch::Orphan> orphans;
  for (int i = 0; i < 1000 && orphans.empty(); ++i) {
    std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
    for (int child = 0; children >> child;)
      if (child != pid) ::kill(child, SIGKILL);
    std::this_thread::sleep_for(5ms);
    orphans = watch_.reap_orphans(now());
  }
  ASSERT_FALSE(orphans.empty());
  for (const auto& orphan : orphans) dog_.orphan_ended(orphan);
}

TEST_F(WatchdogTest, OneTurnIsBounded) {
  for (Watchdog::Task task = 1; task <= 40; ++task) start(task, {"/bin/sleep", "300"});
  const auto later = now() + 10s;
  int turns = 0;
  for (; *dog_.next() <= later && turns < 1000; ++turns) dog_.turn(later);
  EXPECT_GT(turns, 1) << "the rest is due in the next turn";
  EXPECT_GT(*dog_.next(), later) << "but it comes to an end";
}

TEST_F(WatchdogTest, UnknownTasksAreNotMissed) {
  rusage usage{};
  EXPECT_FALSE(dog_.finish(7, usage, now()));
  dog_.root_exited(7, now());
  dog_.orphan_ended({});
  EXPECT_FALSE(dog_.so_far(7, now()));
}

}  // namespace
}  // namespace taskmill::measure
