// Many workers that connect at the same instant, and what an idle one costs.
#include <algorithm>
#include <cstdio>
#include <fstream>

#include "bench/cases.hpp"
#include "bench/sim_workers.hpp"

namespace taskmill::bench {
namespace {

enum class Guard { none, password, tls };

struct Arrival {
  int workers = 1000;
  Guard guard = Guard::none;
  double patience_s = 10;
};

/// Row::rate: workers served. p99: seconds until the last one had a task, as milliseconds. CPU per worker.
Row measure_arrival(const Stack& stack, const Arrival& arrival) {
  Row row{.who = stack.label(), .unit = "workers"};
  const Scratch scratch;
  Load load{.tasks = static_cast<std::uint64_t>(arrival.workers) * 2};
  SimWorkersConfig config{.workers = arrival.workers, .version = stack.version(), .finish_tasks = false};
  if (arrival.guard != Guard::none) {
    config.password = "a secret of the bench\n";
    load.password_file = scratch.path("password");
    std::ofstream(load.password_file) << config.password;
  }
  if (arrival.guard == Guard::tls) {
    auto files = aio::make_self_signed(scratch.path(""), "localhost");
    if (!files.has_value()) fail(files.error().text);
    load.cert = files->cert;
    load.key = files->key;
    config.tls = true;
  }
  auto manager = stack.start_library(scratch, load);
  if (!manager.program) {
    row.note = "the manager did not start";
    return row;
  }
  const auto before = manager.program->resident_bytes();
  const double cpu = manager.program->cpu_s();
  config.port = manager.port;
  SimWorkers sim(std::move(config));
  sim.connect();
  sim.run(arrival.patience_s, [&] { return sim.workers_served() == arrival.workers; });
  row.rate = sim.workers_served();
  row.p99_ms = (now_s() - sim.connect_s()) * 1e3;
  row.cpu_us = (manager.program->cpu_s() - cpu) * 1e6 / std::max(1.0, row.rate);
  const auto grown = static_cast<double>(manager.program->resident_bytes()) - static_cast<double>(before);
  row.memory_mb = grown / 1e6;
  return row;
}

std::string arrival_text(const Row& row) { return figure(row.rate) + " after " + figure(row.p99_ms / 1e3) + " s"; }

void score_arrival(Context& context, const Arrival& arrival, const std::string& how, double target_s) {
  const auto what = figure(arrival.workers) + " workers connect at the same instant" + how;
  const auto rows = measure_all(
      context, what,
      [&](const Stack& stack) { return stack.has_manager() && (stack.is_ours() || arrival.guard != Guard::tls); },
      [&](const Stack& stack) {
        auto limited = arrival;
        if (context.quick && !stack.is_ours()) limited.patience_s = 3;
        return measure_arrival(stack, limited);
      });
  if (!rows.ours) return;
  const bool all = static_cast<int>(rows.ours->rate) == arrival.workers;
  const double seconds = rows.ours->p99_ms / 1e3;
  context.scores.add({.what = what,
                      .peer = rows.peer_text(arrival_text),
                      .limit = "-",
                      .ours = arrival_text(*rows.ours) + ", " + figure(rows.ours->cpu_us) + " µs CPU each",
                      .ratio = "-",
                      .target = "all in ≤ " + figure(target_s) + " s",
                      .met = all ? at_most(seconds, target_s) : Met::no});
}

/// The growth of the manager when 5,000 workers are connected and have nothing to do.
void idle_memory(Context& context) {
  const int workers = context.quick ? 500 : 5000;
  const auto what = "memory per idle connection, " + figure(workers) + " workers";
  const auto rows = measure_all(
      context, what, [](const Stack& stack) { return stack.has_manager() && stack.is_ours(); },
      [&](const Stack& stack) {
        Row row{.who = stack.label(), .unit = "KiB"};
        const Scratch scratch;
        auto manager = stack.start_library(scratch, {.tasks = 1, .mode = "probe", .gap_ms = 60'000});
        if (!manager.program) return row;
        const auto before = manager.program->resident_bytes();
        SimWorkers sim({.port = manager.port, .workers = workers});
        sim.connect();
        // Settled when it has not grown for half a second.
        auto last = before;
        double still_since = now_s();
        sim.run(20, [&] {
          const auto now = manager.program->resident_bytes();
          if (now != last) still_since = now_s();
          last = now;
          return now > before && now_s() > still_since + 0.5;
        });
        row.rate = static_cast<double>(last - before) / 1024 / workers;
        return row;
      });
  if (!rows.ours) return;
  context.scores.add({.what = what,
                      .ours = figure(rows.ours->rate) + " KiB",
                      .target = "≤ 8 KiB",
                      .met = at_most(rows.ours->rate, 8)});
}

}  // namespace

void connect_cases(Context& context) {
  const int workers = context.quick ? 200 : 1000;
  score_arrival(context, {.workers = workers}, "", 1);
  score_arrival(context, {.workers = workers, .guard = Guard::password}, ", password", 1);
  score_arrival(context, {.workers = workers, .guard = Guard::tls}, ", TLS and password", 3);
  idle_memory(context);
}

}  // namespace taskmill::bench
