#include "bench/crowd.hpp"

#include <utility>

namespace taskmill::bench {

Row measure_crowd(const Stack& stack, const Crowd& crowd, const Load& load, double seconds, CrowdOptions options) {
  Row row{.who = stack.label()};
  const Scratch scratch;
  auto manager = options.library ? stack.start_library(scratch, load) : stack.start_manager(scratch, load);
  if (!manager.program) {
    row.note = "the manager did not start";
    return row;
  }
  auto& config = options.workers;
  config.port = manager.port;
  config.workers = crowd.workers;
  config.cores = crowd.cores;
  config.version = stack.version();
  config.stop_after = options.stop_after > 0 ? options.stop_after : load.tasks - 1;
  const auto deaf_above = config.deaf_above;
  SimWorkers sim(std::move(config));
  double cpu = 0;
  double memory = 0;
  sim.on_first_task = [&] {
    cpu = manager.program->cpu_s();
    memory = static_cast<double>(manager.program->resident_bytes()) / 1e6;
  };
  sim.connect();
  sim.run(15 + seconds, [&] { return sim.tasks_received() > 0 && now_s() > sim.first_task_s() + seconds; });
  const double used = manager.program->cpu_s() - cpu;
  row.memory_mb = memory;
  const double elapsed = sim.last_done_s() - sim.first_task_s();
  if (sim.tasks_done() > 0 && elapsed > 0) {
    row.rate = static_cast<double>(sim.tasks_done()) / elapsed;
    row.cpu_us = used * 1e6 / static_cast<double>(sim.tasks_done());
    row.p50_ms = percentile(sim.turnarounds(), 0.5) * 1e3;
    row.p99_ms = percentile(sim.turnarounds(), 0.99) * 1e3;
  }
  if (deaf_above > 0 && sim.deaf() == 0)
    row.note = "nobody was sent the large input";
  else if (sim.workers_served() < crowd.workers)
    row.note = std::to_string(sim.workers_served()) + " workers served";
  return row;
}

}  // namespace taskmill::bench
