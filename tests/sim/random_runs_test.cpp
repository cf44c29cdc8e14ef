// Random small worlds with every fault on, each step checked; the seed is printed with a failure.
#include <gtest/gtest.h>

#include "tests/support/sim_world.hpp"

namespace taskmill::testing {
namespace {

using namespace taskmill::manager;

std::vector<SimTask> random_tasks(Random& random, std::size_t count, bool environments) {
  std::vector<SimTask> tasks;
  for (std::size_t i = 0; i < count; ++i) {
    SimTask t;
    t.spec.command = "task";
    t.spec.category = "cat" + std::to_string(random.below(3));
    if (random.below(2) == 0) t.spec.resources.cores = static_cast<double>(1 + random.below(2));
    if (random.below(3) == 0) t.spec.resources.memory = static_cast<std::int64_t>(100 * (1 + random.below(10)));
    if (random.below(4) == 0) t.spec.priority = static_cast<double>(random.below(4));
    if (random.below(10) == 0) t.spec.algorithm = static_cast<Algorithm>(1 + random.below(5));
    if (environments && random.below(2) == 0) t.spec.environment_archive = "env" + std::to_string(random.below(2));
    t.spec.may_run_twice = random.below(4) != 0;
    for (std::uint64_t k = random.below(3); k > 0; --k) {
      InputSpec input;
      input.source = "file" + std::to_string(random.below(5));
      input.remote = "in" + std::to_string(k);
      input.cache = random.below(4) != 0;
      t.spec.inputs.push_back(input);
    }
    for (std::uint64_t k = random.below(3); k > 0; --k) {
      OutputSpec output;
      output.local = "out" + std::to_string(i) + "." + std::to_string(k);
      output.remote = "out" + std::to_string(k);
      output.cache = random.below(5) == 0;
      t.spec.outputs.push_back(output);
    }
    t.duration = Duration(static_cast<std::int64_t>(random.exponential(5e6)));
    t.memory = static_cast<std::int64_t>(random.exponential(300)) + 10;
    if (random.below(3) == 0) t.submit_at = Duration(static_cast<std::int64_t>(random.below(20000000)));
    tasks.push_back(std::move(t));
  }
  return tasks;
}

SimOptions random_options(std::uint64_t seed, Random& random) {
  SimOptions o;
  o.seed = seed;
  o.check = true;
  o.workers = static_cast<std::uint32_t>(1 + random.below(5));
  o.cores = static_cast<double>(1 + random.below(8));
  o.mixed_sizes = random.below(2) == 0;
  o.enforce_memory = random.below(2) == 0;
  o.latency = Duration(static_cast<std::int64_t>(random.below(3) * 20000));
  o.config.default_category.mode = static_cast<AllocationMode>(random.below(9));
  o.config.algorithm = static_cast<Algorithm>(1 + random.below(5));
  o.config.stragglers = random.below(2) == 0 ? Stragglers::replicate : Stragglers::leave;
  o.config.straggler_min_samples = 5;
  o.config.fast_abort_min_samples = 5;
  o.config.affinity_min_bytes = 1;
  o.config.transactions = random.below(4) == 0;
  o.config.unfittable_timeout = std::chrono::seconds(100);
  if (random.below(3) == 0) o.config.default_category.fast_abort = 3;
  if (random.below(3) == 0) o.config.default_category.max_concurrent = static_cast<std::int64_t>(1 + random.below(4));
  if (random.below(3) == 0) o.config.prefetch_tasks = 2;
  if (random.below(4) == 0) o.config.resource_submit_multiplier = 1.5;
  if (random.below(4) == 0) o.slow_workers = 0.3;
  o.config.reserve_after = std::chrono::seconds(static_cast<int>(1 + random.below(10)));
  o.calm_at = std::chrono::seconds(60);
  const auto sometimes = [&random](double p) { return random.below(2) == 0 ? p : 0; };
  o.lose_worker = sometimes(0.05);
  o.refuse = sometimes(0.1);
  o.fail_stage = sometimes(0.1);
  o.miss_output = sometimes(0.1);
  o.cancel = sometimes(0.05);
  o.congest = sometimes(0.1);
  o.invalidate = sometimes(0.05);
  o.peers = random.below(2) == 0;
  o.config.peer_transfers = static_cast<int>(1 + random.below(3));
  o.fail_peer = sometimes(0.2);
  o.silence_peer = sometimes(0.1);
  o.environments = random.below(3) != 0;
  o.fail_environment = sometimes(0.1);
  return o;
}

SimResult play(std::uint64_t seed) {
  Random random(seed);
  const SimOptions options = random_options(seed, random);
  return SimWorld(options, random_tasks(random, 20 + random.below(150), seed % 2 == 0)).run();
}

class RandomRuns : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomRuns, EveryTaskEndsOnceWhateverHappens) {
  for (std::uint64_t seed = GetParam(); seed < GetParam() + 25; ++seed) {
    const SimResult result = play(seed);
    ASSERT_TRUE(result.problems.empty()) << "seed " << seed << ": " << result.problems.front();
  }
}

INSTANTIATE_TEST_SUITE_P(FromSeed, RandomRuns, ::testing::Values(1, 26, 51, 76, 101, 126));

TEST(PeerTransfers, TheManagerSendsACommonInputOnlyAFewTimes) {
  SimOptions options;
  options.check = true;
  options.peers = true;
  options.workers = 100;
  options.cores = 1;
  std::vector<SimTask> tasks(100);
  for (SimTask& task : tasks) {
    task.spec.command = "task";
    task.spec.resources.cores = 1;
    InputSpec input;
    input.source = "common";
    input.remote = "common";
    task.spec.inputs.push_back(input);
  }
  const SimResult result = SimWorld(options, std::move(tasks)).run();
  EXPECT_TRUE(result.problems.empty()) << result.problems.front();
  EXPECT_EQ(result.succeeded, 100U);
  EXPECT_LE(result.staged, 3U);
  EXPECT_EQ(result.passed_on + result.staged, 100U);
}

TEST(PeerTransfers, TheManagerSendsAnEnvironmentOnlyAFewTimes) {
  SimOptions options;
  options.check = true;
  options.peers = options.environments = true;
  options.workers = 100;
  options.cores = 1;
  std::vector<SimTask> tasks(100);
  for (SimTask& task : tasks) {
    task.spec.command = "task";
    task.spec.resources.cores = 1;
    task.spec.environment_archive = "env0";
  }
  const SimResult result = SimWorld(options, std::move(tasks)).run();
  EXPECT_TRUE(result.problems.empty()) << result.problems.front();
  EXPECT_EQ(result.succeeded, 100U);
  EXPECT_LE(result.environments_from_manager, 3U);
  EXPECT_EQ(result.passed_on + result.environments_from_manager, 100U);
}

TEST(Replay, TheSameSeedGivesTheSameTrace) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) EXPECT_EQ(play(seed).hash, play(seed).hash) << seed;
}

}  // namespace
}  // namespace taskmill::testing
