// One task at a time: how soon an idle manager sends it, and how soon its result is back.
#include <algorithm>
#include <cstdio>

#include "bench/cases.hpp"
#include "bench/limits.hpp"
#include "bench/sim_workers.hpp"

namespace taskmill::bench {
namespace {

std::string times_text(const Row& row) {
  return row.p50_ms > 0 ? figure(row.p50_ms) + " ms, p99 " + figure(row.p99_ms) : "none";
}

/// From submit() of an idle manager until the task is at its only worker.
Row measure_first_dispatch(const Stack& stack, int probes) {
  Row row{.who = stack.label(), .unit = "probes"};
  const Scratch scratch;
  const auto report = scratch.path("report");
  auto manager = stack.start_library(
      scratch, {.tasks = static_cast<std::uint64_t>(probes), .mode = "probe", .gap_ms = 50, .report = report});
  if (!manager.program) return row;
  SimWorkers sim({.port = manager.port, .version = stack.version()});
  sim.connect();
  sim.run(0.2 * probes + 5, [&] { return sim.tasks_done() == static_cast<std::uint64_t>(probes); });
  manager.program->wait(5);
  std::vector<double> times;
  const auto submitted = reported_probes(report);
  for (std::size_t i = 1; i < std::min(submitted.size(), sim.arrivals().size()); ++i)
    times.push_back(sim.arrivals()[i] - submitted[i].first);  // the first one also waits for the worker
  row.rate = static_cast<double>(times.size());
  row.p50_ms = percentile(times, 0.5) * 1e3;
  row.p99_ms = percentile(times, 0.99) * 1e3;
  return row;
}

/// submit(), `true` on a real worker, wait().
Row measure_round_trip(const Stack& stack, int probes) {
  Row row{.who = stack.label(), .unit = "tasks/s"};
  const Scratch scratch;
  const auto report = scratch.path("report");
  auto manager =
      stack.start_library(scratch, {.tasks = static_cast<std::uint64_t>(probes), .mode = "probe", .report = report});
  if (!manager.program) return row;
  auto worker = stack.start_worker(scratch, manager.port, 1);
  if (!manager.program->wait(20)) row.note = "did not end in time";
  std::vector<double> times;
  for (const auto& [from, to] : reported_probes(report)) times.push_back(to - from);
  times.erase(times.begin(), times.begin() + std::min<std::ptrdiff_t>(20, static_cast<std::ptrdiff_t>(times.size())));
  row.p50_ms = percentile(times, 0.5) * 1e3;
  row.p99_ms = percentile(times, 0.99) * 1e3;
  if (row.p50_ms > 0) row.rate = 1e3 / row.p50_ms;
  return row;
}

void first_dispatch(Context& context) {
  const auto what = "first dispatch on an idle manager";
  const auto rows = measure_all(
      context, what, [](const Stack& stack) { return stack.has_manager(); },
      [&](const Stack& stack) { return measure_first_dispatch(stack, context.quick ? 10 : 40); });
  if (!rows.ours) return;
  context.scores.add({.what = what,
                      .peer = rows.peer_text(times_text),
                      .ours = times_text(*rows.ours),
                      .target = "≤ 5 ms",
                      .met = at_most(rows.ours->p99_ms, 5)});
}

void round_trip(Context& context) {
  const auto what = "round trip of one task at a time, real worker";
  const auto limit = spawn_limit(1, context.seconds);
  context.table.add({.what = what,
                     .who = "limit",
                     .rate = limit.per_second,
                     .p50_ms = limit.p50_s * 1e3,
                     .p99_ms = limit.p99_s * 1e3,
                     .note = "posix_spawn and wait"});
  const auto rows = measure_all(
      context, what, [](const Stack& stack) { return stack.has_manager() && stack.has_worker(); },
      [&](const Stack& stack) { return measure_round_trip(stack, context.quick ? 200 : 1000); });
  if (!rows.ours || limit.p50_s <= 0) return;
  const double of_limit = rows.ours->p50_ms / (limit.p50_s * 1e3);
  const double tail = rows.ours->p99_ms / rows.ours->p50_ms;
  context.scores.add({.what = what,
                      .peer = rows.peer_text(times_text),
                      .limit = figure(limit.p50_s * 1e3) + " ms, p99 " + figure(limit.p99_s * 1e3),
                      .ours = times_text(*rows.ours),
                      .ratio = figure(of_limit) + " × the limit, p99 " + figure(tail) + " × the median",
                      .target = "≤ 1.4 × the limit, p99 ≤ 2 × the median",
                      .met = of_limit <= 1.4 && tail <= 2 ? Met::yes : Met::no});
}

}  // namespace

void latency_cases(Context& context) {
  first_dispatch(context);
  round_trip(context);
}

}  // namespace taskmill::bench
