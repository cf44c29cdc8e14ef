// allocation_table [SEED]: what each allocation mode makes of one heavy-tailed workload, as a Markdown table.
//
// 4,000 tasks of one category on 20 workers of 16 cores, 16,000 MB of memory and 64,000 MB of disk. A task uses one
// core and runs 30 to 300 s (log-uniform); its peak memory is log-normal (median 600 MB, sigma 0.9), so that one in a
// hundred passes 4.8 GB. Memory grows steadily to its peak and a task is stopped where it passes its box, as a worker
// with enforcement does. The tasks ask for nothing, except in the two rows that say so.
//
// The second table is about slow workers: 2,000 tasks of 30 to 300 s (log-uniform) on 50 workers of 4 cores, of which
// one in twenty takes ten times as long for everything.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "tests/support/sim_world.hpp"

using namespace taskmill;
using namespace taskmill::testing;

namespace {

constexpr std::uint32_t count = 4000;

struct Peak {
  std::int64_t memory = 0;
  Duration duration{0};
};

std::vector<Peak> workload(std::uint64_t seed) {
  Random random(seed);
  std::vector<Peak> peaks;
  for (std::uint32_t i = 0; i < count; ++i) {
    // Box-Muller: the same on every machine, unlike the distributions of the standard library.
    const double normal = std::sqrt(-2 * std::log(1 - random.uniform())) * std::cos(2 * M_PI * random.uniform());
    const double memory = std::min(600 * std::exp(0.9 * normal), 15000.0);
    const double seconds = 30 * std::pow(10.0, random.uniform());
    peaks.push_back({static_cast<std::int64_t>(memory) + 1, Duration(static_cast<std::int64_t>(seconds * 1e6))});
  }
  return peaks;
}

void row(const char* name, const std::vector<Peak>& peaks, manager::AllocationMode mode, std::int64_t ask,
         std::uint64_t seed) {
  SimOptions o;
  o.seed = seed;
  o.workers = 20;
  o.cores = 16;
  o.memory = 16000;
  o.disk = 64000;
  o.enforce_memory = true;
  o.config.default_category.mode = mode;
  const auto source = [&](std::uint32_t i, SimTask& task) {
    task.spec.command = "analyze";
    task.spec.resources = ask == 0 ? Resources{} : Resources{1, ask > 0 ? ask : peaks[i].memory, -1, -1};
    task.memory = peaks[i].memory;
    task.duration = peaks[i].duration;
    task.cores = 1;
  };
  SimWorld world(o, count, source);
  const SimResult r = world.run();
  const double hours = static_cast<double>(r.makespan.count()) / 3.6e9;
  std::printf("| %s | %.0f | %.0f %% | %.0f %% | %llu | %llu |\n", name, static_cast<double>(r.succeeded) / hours,
              100 * (1 - r.used_mb_s / r.allocated_mb_s), 100 * (1 - r.used_core_s / r.allocated_core_s),
              static_cast<unsigned long long>(r.exhausted_attempts),
              static_cast<unsigned long long>(count - r.succeeded));
  for (const auto& problem : r.problems) std::printf("PROBLEM: %s\n", problem.c_str());
}

void slow_row(const char* name, manager::Stragglers policy, double fast_abort, std::uint64_t seed) {
  constexpr std::uint32_t tasks = 2000;
  SimOptions o;
  o.seed = seed;
  o.workers = 50;
  o.slow_workers = 0.05;
  o.config.stragglers = policy;
  if (fast_abort > 0) o.config.default_category.fast_abort = fast_abort;
  Random random(seed);
  const auto source = [&](std::uint32_t, SimTask& task) {
    task.spec.command = "analyze";
    task.spec.resources = {1, 1000, 1000, -1};
    task.duration = Duration(static_cast<std::int64_t>(30e6 * std::pow(10.0, random.uniform())));
  };
  SimWorld world(o, tasks, source);
  const SimResult r = world.run();
  const auto stats = world.machine().stats();
  std::printf("| %s | %.0f | %llu | %lld | %lld |\n", name, static_cast<double>(r.makespan.count()) / 1e6,
              static_cast<unsigned long long>(r.dispatched - tasks), static_cast<long long>(stats.stragglers_copied),
              static_cast<long long>(stats.copies_won));
  for (const auto& problem : r.problems) std::printf("PROBLEM: %s\n", problem.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const std::vector<Peak> peaks = workload(seed);
  std::printf("| mode | tasks/hour | memory wasted | cores wasted | attempts exhausted | tasks failed |\n");
  std::printf("| --- | ---: | ---: | ---: | ---: | ---: |\n");
  using Mode = manager::AllocationMode;
  row("fixed, nothing asked (whole worker)", peaks, Mode::fixed, 0, seed);
  row("fixed, 1 core and 4000 MB asked", peaks, Mode::fixed, 4000, seed);
  row("max (`auto`)", peaks, Mode::max, 0, seed);
  row("min-waste", peaks, Mode::min_waste, 0, seed);
  row("max-throughput", peaks, Mode::max_throughput, 0, seed);
  row("greedy-bucketing", peaks, Mode::greedy_bucketing, 0, seed);
  row("exhaustive-bucketing", peaks, Mode::exhaustive_bucketing, 0, seed);
  row("det-greedy-bucketing", peaks, Mode::det_greedy_bucketing, 0, seed);
  row("det-exhaustive-bucketing", peaks, Mode::det_exhaustive_bucketing, 0, seed);
  row("quantized-bucketing", peaks, Mode::quantized_bucketing, 0, seed);
  row("an oracle (each task asks what it needs)", peaks, Mode::fixed, -1, seed);
  std::printf("\n| slow tasks | makespan s | started again or twice | copies | copies that won |\n");
  std::printf("| --- | ---: | ---: | ---: | ---: |\n");
  slow_row("left alone", manager::Stragglers::leave, 0, seed);
  slow_row("fast abort at 3 times the average", manager::Stragglers::leave, 3, seed);
  slow_row("`--stragglers replicate`", manager::Stragglers::replicate, 0, seed);
  return 0;
}
