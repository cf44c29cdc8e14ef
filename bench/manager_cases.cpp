#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "bench/cases.hpp"
#include "bench/limits.hpp"
#include "bench/sim_workers.hpp"

namespace taskmill::bench {
namespace {

struct Crowd {
  int workers = 1;
  int cores = 1;
};

std::string text_of(const Crowd& crowd) {
  return std::to_string(crowd.workers) + " workers x " + std::to_string(crowd.cores) + " cores";
}

/// Tasks to queue so that a run of `seconds` does not use them up.
std::uint64_t enough_tasks(const Stack& stack, double seconds) {
  return static_cast<std::uint64_t>((stack.is_ours() ? 150'000 : 10'000) * std::max(1.0, seconds));
}

Row measure_crowd(const Stack& stack, const Crowd& crowd, const Load& load, double seconds,
                  std::uint64_t stop_after = 0, SimWorkersConfig config = {}) {
  Row row{.who = stack.label()};
  Scratch scratch;
  auto manager = stack.start_manager(scratch, load);
  if (!manager.program) {
    row.note = "the manager did not start";
    return row;
  }
  row.memory_mb = static_cast<double>(manager.program->resident_bytes()) / 1e6;
  config.port = manager.port;
  config.workers = crowd.workers;
  config.cores = crowd.cores;
  config.version = stack.version();
  config.stop_after = stop_after > 0 ? stop_after : load.tasks - 1;
  SimWorkers sim(config);
  double cpu = 0;
  double memory = 0;
  sim.on_first_task = [&] {
    cpu = manager.program->cpu_s();
    memory = static_cast<double>(manager.program->resident_bytes()) / 1e6;
  };
  sim.connect();
  sim.run(5 + seconds, [&] { return sim.tasks_received() > 0 && now_s() > sim.first_task_s() + seconds; });
  const double used = manager.program->cpu_s() - cpu;
  row.memory_mb = memory;
  const double elapsed = sim.last_done_s() - sim.first_task_s();
  if (sim.tasks_done() > 0 && elapsed > 0) {
    row.rate = static_cast<double>(sim.tasks_done()) / elapsed;
    row.cpu_us = used * 1e6 / static_cast<double>(sim.tasks_done());
    row.p50_ms = percentile(sim.turnarounds(), 0.5) * 1e3;
    row.p99_ms = percentile(sim.turnarounds(), 0.99) * 1e3;
  }
  if (config.deaf_above > 0 && sim.deaf() == 0)
    row.note = "nobody was sent the large input";
  else if (sim.workers_served() < crowd.workers)
    row.note = std::to_string(sim.workers_served()) + " workers served";
  return row;
}

void measure_connect(Context& context, int workers) {
  for (const auto& stack : context.stacks) {
    if (!stack.has_manager()) continue;
    Scratch scratch;
    Row row{.what = std::to_string(workers) + " workers connect at the same instant",
            .who = stack.label(),
            .unit = "workers"};
    auto manager = stack.start_manager(scratch, {.tasks = static_cast<std::uint64_t>(workers) * 2});
    if (!manager.program) continue;
    const auto before = manager.program->resident_bytes();
    SimWorkers sim({.port = manager.port, .workers = workers, .version = stack.version(), .finish_tasks = false});
    const double start = now_s();
    sim.connect();
    sim.run(context.quick ? 10 : 40, [&] { return sim.workers_served() == workers; });
    row.rate = sim.workers_served();
    char note[96];
    const auto grown = static_cast<double>(manager.program->resident_bytes()) - static_cast<double>(before);
    std::snprintf(note, sizeof note, "served after %.2f s, %.1f kB each", now_s() - start, grown / 1e3 / workers);
    row.note = note;
    context.table.add(std::move(row));
  }
}

}  // namespace

void manager_cases(Context& context) {
  std::vector<Crowd> crowds = {{1, 16}, {10, 1}, {context.quick ? 100 : 1000, 1}};
  if (!context.quick) crowds.push_back({5000, 1});
  for (const auto& crowd : crowds) {
    const auto what = "manager, " + text_of(crowd) + ", tasks of no cost";
    const auto limit = wire_limit(crowd.workers, crowd.cores, std::min(2.0, context.seconds));
    context.table.add({.what = what,
                       .who = "limit",
                       .rate = limit.per_second,
                       .cpu_us = limit.cpu_us,
                       .note = "a minimal manager of the wire"});
    for (const auto& stack : context.stacks) {
      if (!stack.has_manager() || (crowd.workers > 1000 && !stack.is_ours())) continue;
      const Load load{.tasks = enough_tasks(stack, context.seconds),
                      .ahead = 2000 + 2ULL * static_cast<std::uint64_t>(crowd.workers)};
      auto row = measure_crowd(stack, crowd, load, context.seconds);
      row.what = what;
      context.table.add(std::move(row));
    }
  }
}

void connect_cases(Context& context) {
  measure_connect(context, context.quick ? 200 : 1000);
  if (context.quick) return;
  Context ours_only;
  ours_only.stacks = context.stacks;
  ours_only.seconds = context.seconds;
  std::erase_if(ours_only.stacks, [](const Stack& stack) { return !stack.is_ours(); });
  measure_connect(ours_only, 5000);
}

void queue_depth_cases(Context& context) {
  std::vector<std::uint64_t> depths = {1'000, 10'000, 100'000};
  if (!context.quick) depths.push_back(1'000'000);
  for (const auto depth : depths) {
    const auto what = "manager, 10 workers x 1 core, " + std::to_string(depth) + " tasks queued";
    for (const auto& stack : context.stacks) {
      if (!stack.has_manager()) continue;
      // Five hundred more than the depth are there, and the run stops before the queue is much shorter.
      auto row = measure_crowd(stack, {10, 1}, {.tasks = depth + 500}, context.seconds,
                               std::max<std::uint64_t>(500, depth / 20));
      row.what = what;
      context.table.add(std::move(row));
    }
  }
}

void disturbance_cases(Context& context) {
  Scratch scratch;
  const auto big = scratch.path("big");
  std::ofstream(big) << std::string(64U << 20, 'b');
  struct Disturbance {
    const char* what;
    Crowd crowd;
    Load load;
    SimWorkersConfig config;
  };
  const std::uint64_t many = context.quick ? 2000 : 20000;
  const std::vector<Disturbance> cases = {
      {"20 workers x 1 core, undisturbed", {20, 1}, {.tasks = many}, {}},
      {"20 workers x 1 core, behind 100 tasks that fit nowhere", {20, 1}, {.tasks = many, .misfits = 100}, {}},
      {"20 workers x 1 core, one stops reading inside a 64 MiB input",
       {20, 1},
       {.tasks = many, .big_file = big},
       {.deaf_above = 1U << 20}},
      {"4 workers x 4 cores, 40 ms round-trip time, one small output per task",
       {4, 4},
       {.tasks = many, .output_dir = scratch.path("out")},
       {.output_bytes = 100, .round_trip_s = 0.04}},
  };
  std::filesystem::create_directories(scratch.path("out"));
  for (const auto& disturbance : cases) {
    for (const auto& stack : context.stacks) {
      if (!stack.has_manager()) continue;
      auto row = measure_crowd(stack, disturbance.crowd, disturbance.load, context.seconds, 0, disturbance.config);
      row.what = std::string("manager, ") + disturbance.what;
      context.table.add(std::move(row));
    }
  }
}

}  // namespace taskmill::bench
