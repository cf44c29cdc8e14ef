// The meter against live processes whose use is known (examples/resources/known_use.cpp). Deadlines are generous; what
// is compared are amounts, not speeds.
#include "common/measure/task_meter.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "common/measure/cgroup.hpp"
#include "common/measure/proc_reader.hpp"

extern char** environ;

namespace taskmill::measure {
namespace {

using namespace std::chrono_literals;
constexpr std::int64_t MB = 1 << 20;

Time now() { return Time{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())}; }

/// One watch for the whole program: the subreaper attribute belongs to the process.
ProcessWatch& watch() {
  static ProcessWatch instance;
  static const bool once = instance.become_subreaper().has_value();
  EXPECT_TRUE(once);
  return instance;
}

class MeteredRun {
 public:
  explicit MeteredRun(std::vector<std::string> command, MeterOptions options = {}) : meter_(watch(), options, now()) {
    std::vector<char*> argv;
    for (auto& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    const ScopedTaskMark guard(meter_.mark());
    const int error = ::posix_spawnp(&pid_, argv[0], nullptr, nullptr, argv.data(), environ);
    EXPECT_EQ(error, 0) << command[0];
    next_ = meter_.start(pid_, now());
  }
  ~MeteredRun() {
    meter_.kill_all(SIGKILL);
    reap_rest();
  }

  /// Samples as asked until the first process ends, a limit is passed or `patience` is over.
  Measurement to_the_end(Duration patience = 60s) {
    const auto deadline = now() + patience;
    while (!ended() && now() < deadline) {
      std::this_thread::sleep_for(std::min<Duration>(5ms, std::chrono::duration_cast<Duration>(next_ - now())));
      if (now() < next_) continue;
      next_ = meter_.sample(now());
      if (meter_.exceeded()) meter_.kill_all(SIGKILL);
    }
    EXPECT_TRUE(ended()) << "still running";
    meter_.root_exited(now());
    const auto at = now();
    rusage usage{};
    EXPECT_EQ(::wait4(pid_, &status_, 0, &usage), pid_);
    meter_.kill_all(SIGKILL);
    reap_rest();
    return meter_.finish(usage, at);
  }
  bool ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
  }
  void reap_rest() {
    for (int i = 0; i < 200; ++i) {
      for (const auto& orphan : watch().reap_orphans(now()))
        if (orphan.mark == meter_.mark()) meter_.orphan_reaped(orphan);
      if (meter_.processes().empty()) return;
      std::this_thread::sleep_for(5ms);
    }
    ADD_FAILURE() << "processes are left";
  }
  TaskMeter& meter() { return meter_; }
  int status() const { return status_; }
  pid_t pid() const { return pid_; }

 private:
  TaskMeter meter_;
  pid_t pid_ = 0;
  int status_ = 0;
  Time next_{};
};

std::string known_use() { return KNOWN_USE; }
double seconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }
double in_mb(const std::optional<std::int64_t>& bytes) { return static_cast<double>(bytes.value_or(0)) / MB; }

TEST(TaskMeter, CpuOfSeveralThreads) {
  const auto m = MeteredRun({known_use(), "spin", "2", "0.5"}).to_the_end();
  EXPECT_NEAR(seconds(m.cpu()), 1.0, 0.1);
  EXPECT_EQ(m.max_processes, 1);
}

TEST(TaskMeter, CpuOfManyShortChildrenIsComplete) {
  const auto m = MeteredRun({known_use(), "churn", "200"}).to_the_end();
  EXPECT_GE(seconds(m.cpu()), 0.2);
  EXPECT_LE(seconds(m.cpu()), 1.0) << "and not counted twice";
  EXPECT_LE(m.max_processes, 2);
}

TEST(TaskMeter, MemoryStepsWithinFivePercent) {
  const auto m = MeteredRun({known_use(), "steps", "120", "4", "0.2"}).to_the_end();
  EXPECT_NEAR(in_mb(m.memory), 120, 6);
}

TEST(TaskMeter, VirtualMemoryIsTheLargestThatWasSeen) {
  MeteredRun run({known_use(), "memory", "120", "300"});
  const auto seen = [&run] { return in_mb(run.meter().so_far(now()).virtual_memory); };
  for (const auto deadline = now() + 60s; seen() < 120 && now() < deadline;) {
    run.meter().sample(now());
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_GE(seen(), 120);
  EXPECT_LT(seen(), 240);
}

TEST(TaskMeter, AShortSpikeIsNotMissed) {
  const auto m = MeteredRun({known_use(), "spike", "300", "0.3"}).to_the_end();
  EXPECT_NEAR(in_mb(m.memory), 300, 15);
}

TEST(TaskMeter, PagesSharedByForkCountOnce) {
  const auto m = MeteredRun({known_use(), "share", "100", "4", "2"}).to_the_end();
  EXPECT_NEAR(in_mb(m.memory), 100, 8) << to_string(m.memory_source);
  EXPECT_EQ(m.memory_source, MemorySource::pss);
  EXPECT_EQ(m.max_processes, 5);
  EXPECT_EQ(m.total_processes, 5);
}

TEST(TaskMeter, MemoryOfSeparateProcessesAddsUp) {
  const auto use = known_use();
  const auto m = MeteredRun({"/bin/sh", "-c", use + " memory 60 0.5 & " + use + " memory 80 0.5 & wait"}).to_the_end();
  EXPECT_NEAR(in_mb(m.memory), 140, 8);
}

TEST(TaskMeter, BytesReadAndWritten) {
  char folder[] = "/tmp/taskmill-io-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const auto m =
      MeteredRun({"/bin/sh", "-c", "cd " + std::string(folder) + " && " + known_use() + " io 20 40 0.3"}).to_the_end();
  EXPECT_EQ(::rmdir(folder), 0);
  EXPECT_NEAR(in_mb(m.bytes_written), 20, 1);
  EXPECT_NEAR(in_mb(m.bytes_read), 40, 1);
}

int wait_for_the_end(void*) {
  while (true) ::pause();
}

// Between its start and its exec a task shares the memory of who starts it (common/os/launch.hpp).
TEST(TaskMeter, WhatIsNotYetItsOwnProgramHasNoMemory) {
  TaskMeter meter(watch(), {}, now());
  std::vector<char> stack(64U << 10);
  const pid_t pid = ::clone(wait_for_the_end, stack.data() + stack.size(), CLONE_VM | SIGCHLD, nullptr);
  ASSERT_GT(pid, 0);
  meter.start(pid, now());
  meter.sample(now());
  EXPECT_EQ(meter.usage().memory, 0);
  EXPECT_EQ(meter.usage().processes, 1);
  ::kill(pid, SIGKILL);
  int status = 0;
  rusage usage{};
  EXPECT_EQ(::wait4(pid, &status, 0, &usage), pid);
  meter.finish(usage, now());
}

TEST(TaskMeter, ShortTasksHaveTrueNumbers) {
  const auto m = MeteredRun({known_use(), "spin", "1", "0.003"}).to_the_end();
  EXPECT_GE(seconds(m.cpu()), 0.003);
  EXPECT_LT(seconds(m.cpu()), 0.05);
  EXPECT_TRUE(m.memory);
  EXPECT_TRUE(m.context_switches);
}

TEST(TaskMeter, DaemonsAreFoundAndKilled) {
  // Double fork, new session, no environment, changed name, parent gone before the first look.
  MeteredRun run({known_use(), "daemon", "300"});
  const auto deadline = now() + 20s;
  while (!run.ended() && now() < deadline) std::this_thread::sleep_for(5ms);
  ProcReader reader("/proc");
  std::vector<pid_t> left;
  const auto is_hidden = [&] {
    left = run.meter().processes();
    return left.size() == 1 && reader.stat(left[0]) && reader.stat(left[0])->name == ") hidden (";
  };
  while (!is_hidden() && now() < deadline) std::this_thread::sleep_for(5ms);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_NE(left[0], run.pid());
  ASSERT_TRUE(reader.stat(left[0]));
  EXPECT_EQ(reader.stat(left[0])->name, ") hidden (");
  const auto m = run.to_the_end();
  EXPECT_FALSE(reader.stat(left[0])) << "killed and reaped";
  EXPECT_GE(m.total_processes, 2);
}

TEST(TaskMeter, NeighboursAreNotTouched) {
  MeteredRun one({"/bin/sleep", "300"});
  MeteredRun two({"/bin/sh", "-c", "setsid sleep 300 & sleep 300"});
  two.meter().kill_all(SIGKILL);
  two.to_the_end();
  EXPECT_FALSE(one.ended());
  EXPECT_EQ(one.meter().processes().size(), 1u);
  one.meter().kill_all(SIGKILL);
  one.to_the_end();
}

TEST(TaskMeter, GrowingMemoryIsStoppedBeforeItIsMuchTooMuch) {
  MeterOptions options;
  options.limits.memory = 200;
  MeteredRun run({known_use(), "grow", "200", "4000"}, options);
  const auto m = run.to_the_end();
  ASSERT_FALSE(m.exceeded.empty());
  EXPECT_EQ(m.exceeded[0].kind, LimitKind::memory);
  EXPECT_EQ(m.exceeded[0].allowed, 200);
  EXPECT_GT(m.exceeded[0].used, 200);
  EXPECT_LT(in_mb(m.memory), 500);
  EXPECT_TRUE(WIFSIGNALED(run.status()));
}

TEST(TaskMeter, WallTimeAndProcessesAreLimited) {
  MeterOptions options;
  options.limits.wall_time = 0.3;
  auto m = MeteredRun({"/bin/sleep", "300"}, options).to_the_end();
  ASSERT_FALSE(m.exceeded.empty());
  EXPECT_EQ(m.exceeded[0].kind, LimitKind::wall_time);
  options = {};
  options.limits.processes = 10;
  m = MeteredRun({known_use(), "fork", "50", "300"}, options).to_the_end();
  ASSERT_FALSE(m.exceeded.empty());
  EXPECT_EQ(m.exceeded[0].kind, LimitKind::processes);
  EXPECT_GT(m.exceeded[0].used, 10);
}

TEST(TaskMeter, ASampleIsCheap) {
  MeteredRun run({known_use(), "fork", "50", "300"});
  std::this_thread::sleep_for(300ms);
  run.meter().sample(now());
  timespec before{}, after{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  constexpr int samples = 20;
  for (int i = 0; i < samples; ++i) run.meter().sample(now());
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const double us =
      (static_cast<double>(after.tv_sec - before.tv_sec) * 1e9 + static_cast<double>(after.tv_nsec - before.tv_nsec)) /
      1e3;
  RecordProperty("us_per_process_and_sample", std::to_string(us / samples / 51));
  std::printf("one sample costs %.1f us per process\n", us / samples / 51);
  EXPECT_EQ(run.meter().usage().processes, 51);
  run.meter().kill_all(SIGKILL);
  run.to_the_end();
}

TEST(TaskMeter, ATaskInItsControlGroup) {
  const char* named = std::getenv("TASKMILL_CGROUP");
  const auto parent = CgroupParent::find(named ? named : "");
  if (!parent) GTEST_SKIP() << parent.error().text << " (TASKMILL_CGROUP names a folder to use)";
  auto group = parent->create("taskmill-test-" + std::to_string(::getpid()), {});
  ASSERT_TRUE(group) << group.error().text;
  const auto folder = (*group)->folder();
  MeterOptions options;
  options.cgroup = group->get();
  {
    MeteredRun run({"/bin/sh", "-c", known_use() + " spin 1 0.3; setsid sleep 300 & sleep 300"}, options);
    std::this_thread::sleep_for(600ms);
    run.meter().sample(now());
    EXPECT_GE((*group)->processes().size(), 2u);
    run.meter().kill_all(SIGKILL);
    const auto m = run.to_the_end();
    EXPECT_TRUE(m.in_cgroup);
    EXPECT_NEAR(seconds(m.cpu()), 0.3, 0.1);
  }
  group->reset();
  EXPECT_NE(::access(folder.c_str(), F_OK), 0) << "the group is removed";
}

}  // namespace
}  // namespace taskmill::measure
