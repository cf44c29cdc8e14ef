// How many blocks of memory a task costs: counted, so that nobody has to hope.
#include <gtest/gtest.h>

#include <map>

#include "tests/perf/core_driver.hpp"
#include "tests/perf/counted_allocations.hpp"

namespace taskmill::perf {
namespace {

TEST(Allocations, PerTaskInTheSteadyState) {
  std::map<std::string, std::uint64_t, std::less<>> blocks;
  CoreDriver driver([&blocks](std::string_view part, const std::function<void()>& work) {
    auto& count = blocks.emplace(part, 0).first->second;
    const auto before = allocations.load();
    work();
    count += allocations.load() - before;
  });
  driver.start();
  driver.run(500);
  blocks.clear();
  constexpr std::uint32_t tasks = 2000;
  driver.run(tasks);
  const auto per_task = [&blocks](const char* part) { return static_cast<double>(blocks[part]) / tasks; };
  for (const auto& [part, count] : blocks) RecordProperty(part, std::to_string(per_task(part.c_str())));
  EXPECT_LE(per_task("parse"), 0.05);
  EXPECT_LE(per_task("dispatch"), 0.05);
  EXPECT_LE(per_task("complete"), 2);
  EXPECT_LE(per_task("match"), 3);
  EXPECT_LE(per_task("submit"), 14);
}

// A million tasks of one kind are records in pages: the number of blocks hardly grows with the number of tasks.
TEST(Allocations, SubmittingEqualTasksTakesFewBlocks) {
  const Now now{Time(std::chrono::seconds(1)), WallTime(std::chrono::seconds(1700000000))};
  Machine machine(Config{}, 1, now);
  TaskSpec spec;
  spec.command = "true";
  spec.resources.cores = 1;
  constexpr std::size_t tasks = 100'000;
  const auto before = allocations.load();
  ASSERT_TRUE(machine.submit_many(spec, tasks, now).has_value());
  EXPECT_LT(allocations.load() - before, tasks / 100);
}

}  // namespace
}  // namespace taskmill::perf
