// A real worker under a driver of no cost; and both ends real.
#include <algorithm>
#include <thread>

#include "bench/cases.hpp"
#include "bench/limits.hpp"
#include "bench/sim_manager.hpp"

namespace taskmill::bench {
namespace {

Row measure_worker(const Stack& stack, const SimManagerConfig& config, double seconds) {
  Row row{.who = stack.label()};
  const Scratch scratch;
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

/// Tasks per second of plain posix_spawn; the same through a shell goes only to the table.
Row spawn_row(Context& context, const std::string& what, int at_once) {
  Row direct;
  for (const bool shell : {true, false}) {
    std::vector<Row> rows;
    for (int i = 0; i < context.repeat; ++i) {
      const auto limit = spawn_limit(at_once, std::min(0.7, context.seconds), shell);
      rows.push_back({.what = what,
                      .who = shell ? "limit, sh -c" : "limit",
                      .rate = limit.per_second,
                      .p50_ms = limit.p50_s * 1e3,
                      .p99_ms = limit.p99_s * 1e3});
    }
    direct = median_row(std::move(rows));
    direct.note = std::string(shell ? "posix_spawn of /bin/sh -c true; " : "posix_spawn of /bin/true; ") + direct.note;
    context.table.add(direct);
  }
  return direct;
}

Rows measure_workers(Context& context, const std::string& what, SimManagerConfig config) {
  return measure_all(
      context, what, [](const Stack& stack) { return stack.has_worker(); },
      [&](const Stack& stack) { return measure_worker(stack, config, context.seconds * 4); });
}

void slots(Context& context, int count, std::uint64_t tasks) {
  const auto what = "worker, `true`, " + std::to_string(count) + (count == 1 ? " slot" : " slots");
  const auto limit = spawn_row(context, what, count);
  const auto rows = measure_workers(context, what, {.slots = count, .tasks = tasks});
  if (!rows.ours) return;
  const double of_limit = rows.ours->rate / limit.rate;
  Score score{.what = what,
              .peer = rows.peer_text(rate_and_cpu),
              .limit = rate_text(limit),
              .ours = rate_and_cpu(*rows.ours),
              .ratio = figure(of_limit) + " of the limit",
              .target = "≥ 90 % of the limit",
              .met = at_least(of_limit, 0.9)};
  if (count == 1) {
    score.target += "; ≤ 120 µs worker CPU/task";
    if (score.met == Met::yes && rows.ours->cpu_us > 120) score.met = Met::no;
  }
  context.scores.add(std::move(score));
}

void with_files(Context& context, const std::string& what, const SimManagerConfig& config, double times) {
  const auto rows = measure_workers(context, what, config);
  const auto* peer = rows.best_peer();
  if (!rows.ours || peer == nullptr || peer->rate <= 0) return;
  context.scores.add({.what = what,
                      .peer = rows.peer_text(rate_and_cpu),
                      .ours = rate_and_cpu(*rows.ours),
                      .ratio = figure(rows.ours->rate / peer->rate) + " × the peer",
                      .target = "≥ " + figure(times) + " × the peer",
                      .met = at_least(rows.ours->rate / peer->rate, times)});
}

/// From the first result to the last.
Row measure_both(const Stack& stack, std::uint64_t tasks, int cores) {
  Row row{.who = stack.label()};
  const Scratch scratch;
  const auto report = scratch.path("report");
  auto manager = stack.start_library(scratch, {.tasks = tasks, .report = report});
  if (!manager.program) return row;
  auto worker = stack.start_worker(scratch, manager.port, cores);
  if (!manager.program->wait(30)) {
    row.note = "did not end in time";
    return row;
  }
  const double elapsed = reported(report, "last_s") - reported(report, "first_s");
  if (elapsed > 0) row.rate = (reported(report, "done") - 1) / elapsed;
  return row;
}

}  // namespace

void worker_cases(Context& context) {
  const auto tasks = static_cast<std::uint64_t>(1000 * context.seconds);
  for (const int count : {1, 4, 16}) slots(context, count, tasks);
  with_files(context, "worker, 10 inputs of 4 KiB per task, not cached, 4 slots",
             {.slots = 4, .tasks = tasks, .inputs = 10}, 3);
  with_files(context, "worker, one output of 4 KiB per task, 4 slots",
             {.slots = 4, .tasks = tasks, .command = "head -c 4096 /dev/zero > out", .output = true}, 2);
}

void both_cases(Context& context) {
  const auto tasks = static_cast<std::uint64_t>(1500 * context.seconds);
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const auto what = "both ends native, `true`, " + std::to_string(cores) + " cores";
  const auto limit = spawn_row(context, what, cores);
  const auto rows = measure_all(
      context, what, [](const Stack& stack) { return stack.has_manager() && stack.has_worker(); },
      [&](const Stack& stack) { return measure_both(stack, tasks, cores); });
  if (!rows.ours) return;
  const double of_limit = rows.ours->rate / limit.rate;
  context.scores.add({.what = what,
                      .peer = rows.peer_text(rate_text),
                      .limit = rate_text(limit),
                      .ours = rate_text(*rows.ours),
                      .ratio = figure(of_limit) + " of the limit",
                      .target = "≥ 85 % of the limit",
                      .met = at_least(of_limit, 0.85)});
}

}  // namespace taskmill::bench
