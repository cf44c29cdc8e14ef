// Whole analyses on the model cluster: every event once, whatever happens, and the policies do what they are for.
#include <gtest/gtest.h>

#include "tests/sim/analysis_world.hpp"

namespace taskmill::testing {
namespace {

AnalysisSimOptions small_world() {
  AnalysisSimOptions options;
  options.files = 500;
  options.events = 300'000'000;
  options.workers = 40;
  options.planner.dynamic_chunksize = manager::analysis::ChunkTargets{60, 1500};
  return options;
}

TEST(AnalysisSim, TwelveBillionEventsOn1600CoresEndUpInOneResultOnce) {
  AnalysisSimOptions options;
  options.planner.dynamic_chunksize = manager::analysis::ChunkTargets{120, 1500};
  const auto result = simulate_analysis(options);
  EXPECT_EQ(result.problem, "");
  EXPECT_EQ(result.events, options.events);
  EXPECT_GT(result.workers_lost, 0U);
}

TEST(AnalysisSim, NothingIsLostOrCountedTwiceWhateverFails) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    auto options = small_world();
    options.seed = seed;
    options.lose_worker = 0.01;
    options.stall = 0.02;
    options.planner.deterministic = seed % 3 == 0;
    if (options.planner.deterministic) options.planner.dynamic_chunksize.reset();
    options.stragglers = static_cast<SimStragglers>(seed % 3);
    options.planner.treereduction = static_cast<std::uint32_t>(2 + seed);
    const auto result = simulate_analysis(options);
    EXPECT_EQ(result.problem, "") << "seed " << seed;
    EXPECT_EQ(result.events, options.events) << "seed " << seed;
  }
}

TEST(AnalysisSim, TheSameSeedGivesTheSameRun) {
  const auto first = simulate_analysis(small_world());
  const auto second = simulate_analysis(small_world());
  EXPECT_EQ(first.makespan_s, second.makespan_s);
  EXPECT_EQ(first.chunks, second.chunks);
}

TEST(AnalysisSim, ASecondCopyShortensTheTail) {
  auto options = small_world();
  options.stall = 0.02;
  const auto left = simulate_analysis(options);
  options.stragglers = SimStragglers::replicate;
  const auto copied = simulate_analysis(options);
  EXPECT_GT(copied.copies, 0U);
  EXPECT_LT(copied.makespan_s, left.makespan_s);
}

TEST(AnalysisSim, DynamicChunksLearnToStayWithinTheirBox) {
  auto options = small_world();
  options.planner.chunksize = 2'000'000;
  options.planner.dynamic_chunksize.reset();
  const auto fixed = simulate_analysis(options);
  options.planner.dynamic_chunksize = manager::analysis::ChunkTargets{60, 1500};
  const auto dynamic = simulate_analysis(options);
  EXPECT_LT(dynamic.splits, fixed.splits);
  EXPECT_LT(dynamic.wasted_core_s, fixed.wasted_core_s);
}

}  // namespace
}  // namespace taskmill::testing
