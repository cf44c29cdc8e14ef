// Workers 40 ms away: what the manager reaches when each answer takes so long.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "bench/cases.hpp"
#include "bench/relay.hpp"
#include "bench/sim_workers.hpp"

namespace taskmill::bench {
namespace {

constexpr double one_way_s = 0.02;

/// 4 simulated workers × 4 cores that speak the text protocol, one output of 100 bytes per task.
Row measure_text(const Stack& stack, double seconds) {
  Row row{.who = stack.label()};
  const Scratch scratch;
  std::filesystem::create_directories(scratch.path("out"));
  auto manager = stack.start_library(
      scratch, {.tasks = stack.is_ours() ? 60'000U : 5'000U, .ahead = 5'000, .output_dir = scratch.path("out")});
  if (!manager.program) return row;
  const Relay relay(manager.port, one_way_s);
  SimWorkers sim({.port = relay.port(), .workers = 4, .cores = 4, .version = stack.version(), .output_bytes = 100});
  sim.connect();
  sim.run(5 + seconds, [&] { return sim.tasks_received() > 0 && now_s() > sim.first_task_s() + seconds; });
  const double elapsed = sim.last_done_s() - sim.first_task_s();
  if (sim.tasks_done() > 0 && elapsed > 0) row.rate = static_cast<double>(sim.tasks_done()) / elapsed;
  row.p50_ms = percentile(sim.turnarounds(), 0.5) * 1e3;
  row.p99_ms = percentile(sim.turnarounds(), 0.99) * 1e3;
  return row;
}

/// The same with real workers of the stack, which really run the command.
Row measure_real(const Stack& stack, std::uint64_t tasks) {
  Row row{.who = stack.label()};
  const Scratch scratch;
  std::filesystem::create_directories(scratch.path("out"));
  const auto report = scratch.path("report");
  auto manager = stack.start_library(
      scratch,
      {.tasks = tasks, .command = "head -c 100 /dev/zero > out", .output_dir = scratch.path("out"), .report = report});
  if (!manager.program) return row;
  const Relay relay(manager.port, one_way_s);
  std::vector<std::unique_ptr<Program>> workers;
  for (int i = 0; i < 4; ++i) {
    std::filesystem::create_directories(scratch.path("worker" + std::to_string(i)));
    workers.push_back(stack.start_worker(scratch, relay.port(), 4));
  }
  if (!manager.program->wait(20)) {
    row.note = "did not end in time";
    return row;
  }
  const double elapsed = reported(report, "last_s") - reported(report, "first_s");
  if (elapsed > 0) row.rate = (reported(report, "done") - 1) / elapsed;
  return row;
}

void score(Context& context, const std::string& what, const Rows& rows, double times, const std::string& more) {
  if (!rows.ours) return;
  const auto* peer = rows.best_peer();
  const double ratio = peer != nullptr && peer->rate > 0 ? rows.ours->rate / peer->rate : 0;
  context.scores.add({.what = what,
                      .peer = rows.peer_text(rate_text),
                      .ours = rate_text(*rows.ours),
                      .ratio = ratio > 0 ? figure(ratio) + " × the peer" : "-",
                      .target = "≥ " + figure(times) + " × the peer" + more,
                      .met = at_least(ratio, times)});
}

}  // namespace

void distance_cases(Context& context) {
  const auto why = netem_problem();
  std::printf("\n40 ms round-trip time: through a relay of this program%s\n",
              why.empty() ? "" : (", netem is not to be had here (" + why + ")").c_str());
  const auto what = "40 ms round-trip time, 4 workers × 4 cores, one small output per task";
  const auto text = measure_all(
      context, std::string(what) + ", text protocol", [](const Stack& stack) { return stack.has_manager(); },
      [&](const Stack& stack) { return measure_text(stack, stack.is_ours() ? context.seconds + 1 : 4); });
  score(context, std::string(what) + ", legacy workers", text, 20, "");
  const auto real = measure_all(
      context, std::string(what) + ", real workers",
      [](const Stack& stack) { return stack.has_manager() && stack.has_worker(); },
      [&](const Stack& stack) { return measure_real(stack, stack.is_ours() ? 2000 : 100); });
  score(context, std::string(what) + ", both ends native", real, 50, "");
}

}  // namespace taskmill::bench
