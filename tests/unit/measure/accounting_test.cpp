#include "common/measure/core/accounting.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace taskmill::measure {
namespace {

using namespace std::chrono_literals;
constexpr std::int64_t MB = 1 << 20;
constexpr std::int64_t s = 1'000'000;

ProcessSample process(std::int64_t pid, std::int64_t parent, std::int64_t user, std::int64_t rss = 0) {
  ProcessSample p;
  p.pid = pid;
  p.parent = parent;
  p.start_time = static_cast<std::uint64_t>(1000 + pid);
  p.counters.user = user;
  p.rss = p.peak_rss = rss;
  return p;
}

TreeSample at(Duration when, std::vector<ProcessSample> processes) { return {when, std::move(processes), {}}; }

TEST(Accounting, ChildThatWasWaitedForCountsOnce) {
  Accounting a({});
  a.add(at(1s, {process(10, 1, 1 * s), process(11, 10, 3 * s)}));
  EXPECT_EQ(a.usage().cpu, 4s);
  a.add(at(2s, {process(10, 1, 5 * s)}));  // inherited 3 s, used 1 s itself
  EXPECT_EQ(a.usage().cpu, 5s);
}

TEST(Accounting, ChildThatNobodyWaitedForIsNotForgotten) {
  Accounting a({});
  a.add(at(1s, {process(10, 1, 1 * s), process(11, 10, 3 * s)}));
  a.add(at(2s, {process(10, 1, 1 * s)}));  // SIGCHLD ignored: the parent gained nothing
  a.add(at(3s, {process(10, 1, 2 * s)}));
  a.add(at(4s, {process(10, 1, 2 * s)}));
  EXPECT_EQ(a.usage().cpu, 4s) << "at least; the second that the parent gained later may be inherited";
}

TEST(Accounting, InheritanceThatIsSeenOneSampleLateIsNotCountedTwice) {
  Accounting a({});
  a.add(at(1s, {process(10, 1, 0), process(11, 10, 3 * s)}));
  // The parent was read before it waited, the child was gone when we came to it.
  a.add(at(2s, {process(10, 1, 0)}));
  EXPECT_EQ(a.usage().cpu, 3s);
  a.add(at(3s, {process(10, 1, 3 * s)}));
  EXPECT_EQ(a.usage().cpu, 3s);
  a.add(at(4s, {process(10, 1, 3 * s)}));
  EXPECT_EQ(a.usage().cpu, 3s);
}

TEST(Accounting, AChainOfEndedProcessesIsInheritedByTheSurvivor) {
  Accounting a({});
  a.add(at(1s, {process(10, 1, 0), process(11, 10, 1 * s), process(12, 11, 2 * s)}));
  a.add(at(2s, {process(10, 1, 3 * s)}));
  a.add(at(3s, {process(10, 1, 3 * s)}));
  EXPECT_EQ(a.usage().cpu, 3s);
}

TEST(Accounting, OrphansAreAddedWithTheirFinalNumbers) {
  Accounting a({});
  a.add(at(1s, {process(10, 1, 1 * s), process(50, 1, 2 * s)}));
  a.reaped(50, {3 * s, 1 * s, 7, 20 * MB});
  const auto m = a.finish(10, {1 * s, 0, 5, 0}, 2s);
  EXPECT_EQ(m.cpu_user, 4s);
  EXPECT_EQ(m.cpu_system, 1s);
  EXPECT_EQ(m.context_switches, 12);
  EXPECT_EQ(m.memory, 20 * MB);
}

TEST(Accounting, APidThatWasRecycledIsAnotherProcess) {
  Accounting a({});
  a.add(at(1s, {process(10, 1, 0), process(11, 10, 3 * s)}));
  auto other = process(11, 10, 1 * s);
  other.start_time += 99;
  a.add(at(2s, {process(10, 1, 3 * s), other}));
  EXPECT_EQ(a.usage().cpu, 4s);
  EXPECT_EQ(a.so_far(2s).total_processes, 3);
}

TEST(Accounting, ATaskNeverSampledStillHasItsTrueNumbers) {
  Accounting a({});
  const auto m = a.finish(10, {2000, 1000, 3, 5 * MB}, 4ms);
  EXPECT_EQ(m.cpu(), 3ms);
  EXPECT_EQ(m.memory, 5 * MB);
  EXPECT_EQ(m.memory_source, MemorySource::rusage);
  EXPECT_EQ(m.max_processes, 1);
  EXPECT_EQ(m.total_processes, 1);
  EXPECT_DOUBLE_EQ(m.cores_average, 0.75);
  EXPECT_DOUBLE_EQ(m.cores_peak, 0.75);
  EXPECT_FALSE(m.disk) << "not measured is not zero";
}

TEST(Accounting, HighWaterMarkOfOneProcessIsAPeakBetweenSamples) {
  Accounting a({});
  auto p = process(10, 1, 0, 9 * MB);
  p.peak_rss = 400 * MB;
  a.add(at(1s, {p}));
  EXPECT_EQ(a.so_far(1s).memory, 400 * MB);
  EXPECT_EQ(a.usage().memory, 9 * MB) << "now, not then";
}

TEST(Accounting, SharedPagesCountOnce) {
  Accounting a({});
  EXPECT_FALSE(a.wants_shared(100 * MB, 1)) << "one process overlaps with nobody of the task";
  EXPECT_TRUE(a.wants_shared(300 * MB, 3));
  std::vector<ProcessSample> tree{process(10, 1, 0, 100 * MB), process(11, 10, 0, 100 * MB),
                                  process(12, 10, 0, 100 * MB)};
  for (auto& p : tree) p.pss = 34 * MB;
  a.add(at(1s, tree));
  auto m = a.so_far(1s);
  EXPECT_EQ(m.memory, 102 * MB);
  EXPECT_EQ(m.memory_source, MemorySource::pss);
  EXPECT_FALSE(a.wants_shared(90 * MB, 3)) << "cannot be a new peak";
  EXPECT_TRUE(a.wants_shared(300 * MB, 3));
  for (auto& p : tree) p.pss.reset();
  a.add(at(2s, tree));
  m = a.so_far(2s);
  EXPECT_EQ(m.memory, 102 * MB) << "a sample without proportional sizes does not raise the peak";
}

TEST(Accounting, WithoutProportionalSizesTheSourceSaysSo) {
  Accounting a({});
  a.add(at(1s, {process(10, 1, 0, 100 * MB), process(11, 10, 0, 100 * MB)}));
  const auto m = a.so_far(1s);
  EXPECT_EQ(m.memory, 200 * MB);
  EXPECT_EQ(m.memory_source, MemorySource::rss);
}

TEST(Accounting, TheControlGroupsAccountIsPreferred) {
  Accounting a({});
  auto sample = at(1s, {process(10, 1, 1 * s, 100 * MB)});
  sample.group = GroupSample{};
  sample.group->memory = 70 * MB;
  sample.group->user = 5 * s;
  sample.group->system = 1 * s;
  sample.group->processes_peak = 9;
  a.add(sample);
  const auto m = a.so_far(1s);
  EXPECT_EQ(m.cpu(), 6s);
  EXPECT_EQ(m.max_processes, 9);
  EXPECT_TRUE(m.in_cgroup);
}

TEST(Accounting, ZombiesAreNotConcurrentProcesses) {
  Accounting a({});
  auto dead = process(11, 10, 1 * s, 0);
  dead.zombie = true;
  a.add(at(1s, {process(10, 1, 0, MB), dead}));
  const auto m = a.so_far(1s);
  EXPECT_EQ(m.max_processes, 1);
  EXPECT_EQ(m.total_processes, 2);
  EXPECT_EQ(m.cpu(), 1s);
}

TEST(Accounting, ATaskSeenOnlyAsAZombieWasOneProcess) {
  Accounting a({});
  auto dead = process(10, 1, 1 * s, 0);
  dead.zombie = true;
  a.add(at(1s, {dead}));
  EXPECT_EQ(a.finish(10, {}, 1s).max_processes, 1);
}

TEST(CpuWindow, PeakIsTheBusiestFullWindow) {
  CpuWindow window(5s);
  Duration cpu{};
  for (int second = 1; second <= 60; ++second) {
    cpu += second > 20 && second <= 30 ? Duration(4s) : Duration(1s);
    window.add(std::chrono::seconds(second), cpu);
  }
  EXPECT_NEAR(window.peak(), 4.0, 0.01);
  EXPECT_NEAR(window.now(), 1.0, 0.01);
}

TEST(CpuWindow, AShortBurstAtTheStartIsNoPeakOfAWindow) {
  CpuWindow window(5s);
  window.add(10ms, 40ms);  // four cores for 10 ms
  EXPECT_NEAR(window.peak(), 4.0, 0.01) << "all there is so far";
  EXPECT_LT(window.now(), 0.01) << "a limit looks at the whole window";
  window.add(10s, 1s);
  EXPECT_LT(window.peak(), 0.6);
}

TEST(TimeLine, TheEndRightAfterASampleIsNotARateOfItsOwn) {
  TimeLine line(16);
  line.add(std::chrono::milliseconds(100), std::chrono::milliseconds(50), 10 * MB, 0, 1);
  line.add(std::chrono::milliseconds(200), std::chrono::milliseconds(100), 10 * MB, 0, 1);
  line.add(std::chrono::microseconds(200'400), std::chrono::milliseconds(120), 20 * MB, 0, 1);
  const auto points = line.points();
  ASSERT_EQ(points.size(), 2u);
  EXPECT_NEAR(points.back().cores, 0.7, 0.01);
  EXPECT_EQ(points.back().memory, 20 * MB);
  EXPECT_EQ(points.back().until_us, 200'400);
}

TEST(TimeLine, StaysBoundedAndCoversTheWholeRun) {
  TimeLine line(16);
  for (int i = 1; i <= 10'000; ++i)
    line.add(std::chrono::milliseconds(i * 100), std::chrono::milliseconds(i * 50), i == 5000 ? 900 * MB : 10 * MB, i,
             2);
  const auto points = line.points();
  EXPECT_LE(points.size(), 16u);
  EXPECT_GE(points.size(), 8u);
  EXPECT_EQ(points.back().until_us, 1000 * s);
  std::int64_t highest = 0;
  for (const auto& p : points) {
    EXPECT_NEAR(p.cores, 0.5, 0.01);
    highest = std::max(highest, p.memory);
  }
  EXPECT_EQ(highest, 900 * MB) << "merging keeps maxima";
}

TEST(Measurement, TravelsAsJson) {
  Accounting a({});
  auto p = process(10, 1, 1 * s, 120 * MB);
  p.has_io = true;
  p.counters.chars_read = 123456789012;
  a.add(at(1s, {p}));
  a.set_disk(6 * MB, 12);
  auto m = a.finish(10, {1 * s, s / 2, 44, 121 * MB}, 3100ms);
  m.exceeded.push_back({LimitKind::memory, 100, 120.5, true});
  const auto text = to_json(m);
  const auto back = parse_measurement(text);
  ASSERT_TRUE(back) << text;
  EXPECT_EQ(to_json(*back), text);
  EXPECT_EQ(back->memory, 121 * MB);
  EXPECT_EQ(back->bytes_read, 123456789012);
  EXPECT_FALSE(back->storage_bytes_read.value_or(0));
  ASSERT_EQ(back->exceeded.size(), 1u);
  EXPECT_DOUBLE_EQ(back->exceeded[0].used, 120.5);
  EXPECT_EQ(to_text(*back, 0), "cores: 0.5, memory: 121 MB, disk 6 MB, gpus: 0.0, runtime 3.1 s");
}

TEST(Measurement, UnknownIsSaidAndNeverMinusOne) {
  EXPECT_EQ(to_text(Measurement{}, 0), "cores: 0.0, memory: unknown, disk unknown, gpus: 0.0, runtime 0.0 s");
  EXPECT_EQ(to_json(Measurement{}).find("-1"), std::string::npos);
}

TEST(Measurement, JunkIsRefusedNotFeared) {
  EXPECT_FALSE(parse_measurement(""));
  EXPECT_FALSE(parse_measurement("[]"));
  EXPECT_FALSE(parse_measurement("{\"memory\":"));
  EXPECT_FALSE(parse_measurement(std::string(200, '[')));
  const auto m = parse_measurement(
      "{\"memory\":-5,\"disk\":1e99,\"max_processes\":99999999999999,\"time_line\":[[1],[1,2,3,4,5]],\"new\":{}}");
  if (m) {
    EXPECT_FALSE(m->memory);
    EXPECT_EQ(m->time_line.size(), 1u);
  }
}

}  // namespace
}  // namespace taskmill::measure
