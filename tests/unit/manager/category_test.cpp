// First allocations, learning and escalation: the worked examples of manager.md 10.
#include "manager/core/category.hpp"

#include <gtest/gtest.h>

namespace taskmill::manager {
namespace {

struct Sample {
  int count;
  double value, time_s;
};

Histogram histogram(double size, std::initializer_list<Sample> samples) {
  Histogram h(size);
  for (const Sample& s : samples)
    for (int i = 0; i < s.count; ++i) h.add(s.value, s.time_s);
  return h;
}

TEST(FirstAllocation, Example1) {
  const Histogram h = histogram(250, {{20, 200, 60}, {5, 900, 60}});
  EXPECT_EQ(h.min_waste(900), 250);
  EXPECT_EQ(h.max_throughput(900), 250);
  EXPECT_EQ(h.max_seen({}), 1000);
}

TEST(FirstAllocation, Example2) {
  const Histogram h = histogram(250, {{5, 200, 60}, {20, 900, 60}});
  EXPECT_EQ(h.min_waste(900), 250);
  EXPECT_EQ(h.max_throughput(900), 1000);
  EXPECT_EQ(h.max_seen({}), 1000);
}

TEST(FirstAllocation, Example3And4) {
  const Histogram memory = histogram(250, {{10, 100, 10}, {10, 600, 30}, {4, 1100, 60}, {1, 3000, 300}});
  EXPECT_EQ(memory.min_waste(3000), 1250);
  EXPECT_EQ(memory.max_throughput(3000), 250);
  EXPECT_EQ(memory.max_seen({}), 3250);
  const Histogram cores = histogram(1, {{10, 1, 10}, {10, 1, 30}, {4, 2, 60}, {1, 4, 300}});
  EXPECT_EQ(cores.min_waste(4), 2);
  EXPECT_EQ(cores.max_throughput(4), 1);
  EXPECT_EQ(cores.max_seen({}), 4);
  EXPECT_EQ(memory.min_waste(2000), 1250);
  EXPECT_EQ(memory.max_throughput(2000), 250);
  EXPECT_EQ(memory.max_seen(2000), 2000);
}

TEST(FirstAllocation, Example5Disk) {
  Histogram disk(250);
  for (int i = 1; i <= 25; ++i) disk.add(40 * i, 60);
  EXPECT_EQ(disk.min_waste(1000), 1000);
  EXPECT_EQ(disk.max_throughput(1000), 1000);
  EXPECT_EQ(disk.max_seen({}), 1250);
}

TEST(FirstAllocation, Example6Edges) {
  const auto bucket = [](double value) { return histogram(250, {{1, value, 1}}).buckets()[0].upper; };
  EXPECT_EQ(bucket(250), 250);
  EXPECT_EQ(bucket(251), 500);
  EXPECT_EQ(bucket(0), 0);
  EXPECT_EQ(histogram(250, {{1, 251, 1}}).max_seen({}), 500);
  EXPECT_EQ(histogram(250, {{1, 917, 1}}).max_seen({}), 1000);
  EXPECT_EQ(histogram(250, {{1, 918, 1}}).max_seen({}), 1250);
  EXPECT_EQ(histogram(1, {{1, 1.2, 1}}).max_seen({}), 2);
  EXPECT_EQ(histogram(250, {{5, 0, 1}}).min_waste(100), 0);
}

TEST(FirstAllocation, UnknownMaximumOrNoDataGiveNothing) {
  EXPECT_EQ(histogram(250, {{5, 100, 1}}).min_waste(-1), -1);
  EXPECT_EQ(Histogram(250).max_throughput(100), -1);
  EXPECT_EQ(Histogram(250).max_seen({}), -1);
}

Measurement used(std::int64_t memory, double cores = 0.9, std::int64_t disk = 100) {
  Measurement m;
  m.cores = cores;
  m.memory = memory;
  m.disk = disk;
  m.gpus = 0;
  m.wall_time_s = 60;
  m.exit_type = "normal";
  return m;
}

const Resources node{8, 8000, 16000, 0};

Category taught(AllocationMode mode, int completions, CategorySettings settings = {}) {
  settings.mode = mode;
  Category c("hog", settings);
  for (int i = 1; i <= completions; ++i) c.learn(used(i % 5 == 0 ? 900 : 200), true, 25, node);
  return c;
}

Resources box_of(const Category& c, Label label) {
  return to_resources(box_for(to_box(node), c.max_label(label, {}, {}, node), c.min_label(label, {}, {}, node), {}));
}

TEST(Learning, ResetsComputesAndBecomesSteadyWhenTheOldOneDid) {
  CategorySettings settings;
  settings.mode = AllocationMode::min_waste;
  Category c("hog", settings);
  std::vector<int> resets;
  for (int i = 1; i <= 30; ++i) {
    const std::int64_t before = c.completions_since_reset();
    c.learn(used(i % 5 == 0 ? 900 : 200), true, 25, node);
    if (c.completions_since_reset() <= before || i == 1) resets.push_back(i);
    EXPECT_EQ(c.steady(), i >= 30) << i;
  }
  EXPECT_EQ(resets, (std::vector<int>{1, 5}));
  EXPECT_EQ(c.first().memory, 250);
}

TEST(Learning, WholeFlowOfExample7) {
  for (const auto mode :
       {AllocationMode::fixed, AllocationMode::max, AllocationMode::min_waste, AllocationMode::max_throughput}) {
    Category c = taught(mode, 29);
    EXPECT_EQ(box_of(c, Label::first), (Resources{8, 8000, 16000, 0}));
    c.learn(used(900), true, 25, node);
    const Resources first = box_of(c, Label::first);
    const Resources max = box_of(c, Label::max);
    switch (mode) {
      case AllocationMode::fixed:
        EXPECT_EQ(first, (Resources{8, 8000, 16000, 0}));
        break;
      case AllocationMode::max:
        EXPECT_EQ(first, (Resources{1, 1000, 2000, 0}));
        EXPECT_EQ(max, (Resources{8, 8000, 16000, 0}));
        break;
      default:
        EXPECT_EQ(first, (Resources{1, 250, 500, 0}));
        EXPECT_EQ(max, (Resources{1, 1000, 2000, 0}));
        Measurement exhausted = used(3000);
        exhausted.exit_type = "limits";
        c.learn(exhausted, false, 25, node);
        EXPECT_EQ(box_of(c, Label::first), (Resources{1, 250, 500, 0}));
        EXPECT_EQ(box_of(c, Label::max), (Resources{4, 4000, 8000, 0}));
    }
  }
}

TEST(Learning, NothingLearnedAsksForMoreThanTheLargestWorker) {
  Category c = taught(AllocationMode::min_waste, 30);
  Measurement exhausted = used(9000);
  exhausted.exit_type = "limits";
  c.learn(exhausted, false, 25, node);
  EXPECT_EQ(box_of(c, Label::max), (Resources{8, 8000, 16000, 0}));
}

TEST(Learning, FirstGuessHoldsUntilTheCategoryIsSteady) {
  CategorySettings settings;
  settings.mode = AllocationMode::max;
  settings.first_guess = {1, 500, 500, -1};
  Category c("g", settings);
  EXPECT_EQ(c.max_label(Label::first, {}, {}).memory, 500);
  c.learn(used(200), true, 25, node);
  EXPECT_EQ(c.max_label(Label::first, {}, {}).memory, 500);
  for (int i = 0; i < 30; ++i) c.learn(used(200), true, 25, node);
  EXPECT_EQ(c.max_label(Label::first, {}, {}).memory, 500);  // round_up(200 + 83)
  EXPECT_TRUE(c.steady());
}

TEST(Learning, RequestOfTheTaskIsKeptInEveryMode) {
  for (int mode = 0; mode <= 8; ++mode) {
    const Category c = taught(static_cast<AllocationMode>(mode), 40);
    for (const Label label : {Label::first, Label::max})
      EXPECT_EQ(c.max_label(label, {2, 5000, 7, 1}, {1, 1, 1, 1}, node), (Resources{2, 5000, 7, 1}));
  }
}

TEST(Escalation, FollowsOwnRequestThenTheCategoryMaximum) {
  CategorySettings limited;
  limited.max.memory = 2000;
  const Category open = taught(AllocationMode::max, 1);
  const Category capped = taught(AllocationMode::max, 1, limited);
  const Category fixed = taught(AllocationMode::fixed, 1);
  const Measurement m = used(3000);
  EXPECT_TRUE(open.may_grow(m, {}));
  EXPECT_FALSE(open.may_grow(m, {-1, 1000}));
  EXPECT_TRUE(open.may_grow(m, {-1, 4000}));
  EXPECT_FALSE(capped.may_grow(m, {}));
  EXPECT_FALSE(fixed.may_grow(m, {}));
}

TEST(Learning, OutlierDoesNotBlockFirstAttemptsOnSmallWorkers) {
  Category c = taught(AllocationMode::max, 30);
  c.learn(used(20000), false, 25, node);
  const Resources b = c.min_label(Label::first, {}, {}, node);
  EXPECT_LE(b.memory, node.memory);
}

}  // namespace
}  // namespace taskmill::manager
