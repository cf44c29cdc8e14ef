#include <algorithm>
#include <thread>

#include "bench/cases.hpp"
#include "bench/limits.hpp"
#include "bench/sim_manager.hpp"

namespace taskmill::bench {
namespace {

Row measure_worker(const Stack& stack, const SimManagerConfig& config, double seconds) {
  Row row{.who = stack.label()};
  Scratch scratch;
  SimManager manager(config);
  auto worker = stack.start_worker(scratch, manager.port(), config.slots);
  double cpu = 0;
  manager.on_first_task = [&] { cpu = worker->cpu_s(); };
  manager.run(seconds + 5);
  const double used = worker->cpu_s() - cpu;
  row.memory_mb = static_cast<double>(worker->resident_bytes()) / 1e6;
  const auto done = static_cast<double>(manager.tasks_done());
  if (done > 0) {
    row.rate = done / manager.elapsed_s();
    row.cpu_us = used * 1e6 / done;
    row.p50_ms = percentile(manager.latencies(), 0.5) * 1e3;
    row.p99_ms = percentile(manager.latencies(), 0.99) * 1e3;
  }
  if (manager.tasks_done() < config.tasks)
    row.note = std::to_string(manager.tasks_done()) + " of " + std::to_string(config.tasks) + " tasks came back";
  return row;
}

void add_limit(Context& context, const std::string& what, int at_once) {
  for (const bool shell : {false, true}) {
    const auto limit = spawn_limit(at_once, std::min(2.0, context.seconds), shell);
    context.table.add({.what = what,
                       .who = shell ? "limit, sh -c" : "limit",
                       .rate = limit.per_second,
                       .p50_ms = limit.p50_s * 1e3,
                       .p99_ms = limit.p99_s * 1e3,
                       .note = shell ? "posix_spawn of /bin/sh -c true" : "posix_spawn of /bin/true"});
  }
}

void add_case(Context& context, const std::string& what, const SimManagerConfig& config) {
  for (const auto& stack : context.stacks) {
    if (!stack.has_worker()) continue;
    auto row = measure_worker(stack, config, context.seconds * 4);
    row.what = what;
    context.table.add(std::move(row));
  }
}

}  // namespace

void worker_cases(Context& context) {
  const auto tasks = static_cast<std::uint64_t>(500 * context.seconds);
  for (const int slots : {1, 4, 16}) {
    const auto what =
        "worker, `true`, " + std::to_string(slots) + (slots == 1 ? " slot (round trip of one task)" : " slots");
    add_limit(context, what, slots);
    add_case(context, what, {.slots = slots, .tasks = tasks});
  }
  add_case(context, "worker, 10 inputs of 4 KiB per task, not cached, 4 slots",
           {.slots = 4, .tasks = tasks, .inputs = 10});
  add_case(context, "worker, one output of 4 KiB per task, 4 slots",
           {.slots = 4, .tasks = tasks, .command = "head -c 4096 /dev/zero > out", .output = true});
}

void both_cases(Context& context) {
  const auto tasks = static_cast<std::uint64_t>(500 * context.seconds);
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const auto what = "manager and worker, `true`, " + std::to_string(cores) + " slots";
  add_limit(context, what, cores);
  for (const auto& stack : context.stacks) {
    if (!stack.has_manager() || !stack.has_worker()) continue;
    Scratch scratch;
    auto manager = stack.start_manager(scratch, {.tasks = tasks});
    if (!manager.program) continue;
    const double start = now_s();
    auto worker = stack.start_worker(scratch, manager.port, cores);
    const bool ended = manager.program->wait(context.seconds * 6 + 10);
    Row row{.what = what, .who = stack.label()};
    row.rate = ended ? static_cast<double>(tasks) / (now_s() - start) : 0;
    row.note = ended ? "from the start of the worker to the end of the manager" : "did not end in time";
    context.table.add(std::move(row));
  }
}

}  // namespace taskmill::bench
