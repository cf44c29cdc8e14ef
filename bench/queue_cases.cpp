// Many tasks: queued, finished, or fitting nowhere; what one costs in memory, and to submit.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "bench/cases.hpp"
#include "bench/crowd.hpp"

namespace taskmill::bench {
namespace {

constexpr std::uint64_t thousand = 1000;

std::string join(const std::vector<double>& values, const char* unit) {
  std::string text;
  for (const double value : values) text += (text.empty() ? "" : " / ") + (value > 0 ? figure(value) : "none");
  return text + unit;
}

/// CPU and rate with `depth` tasks queued, each depth refilled as tasks finish. Depths take turns, so that what else
/// the machine does meets all of them.
void depth_cases(Context& context) {
  std::vector<std::uint64_t> depths = {thousand, 10 * thousand, 100 * thousand, 1000 * thousand};
  if (context.quick) depths.pop_back();
  const std::uint64_t done = context.quick ? 20'000 : 40'000;
  std::string names;
  for (const auto depth : depths) names += (names.empty() ? "" : " / ") + figure(static_cast<double>(depth));
  struct Series {
    std::vector<double> cpu, rate;
  };
  std::string peer_text;
  Series ours;
  for (const auto& stack : context.stacks) {
    if (!stack.has_manager()) continue;
    const int times = stack.is_ours() ? context.repeat : 1;
    std::vector<std::vector<Row>> rows(depths.size());
    for (int i = 0; i < times; ++i) {
      for (std::size_t d = 0; d < depths.size(); ++d) {
        const auto more = stack.is_ours() ? done : 4000;
        const Load load{.tasks = depths[d] + more, .ahead = depths[d]};
        rows[d].push_back(
            measure_crowd(stack, {10, 1}, load, stack.is_ours() ? 5 : 2, {.stop_after = more, .library = true}));
      }
    }
    Series series;
    for (std::size_t d = 0; d < depths.size(); ++d) {
      Row row = median_row(std::move(rows[d]));
      row.what = "manager, 10 workers × 1 core, " + figure(static_cast<double>(depths[d])) + " tasks queued";
      series.cpu.push_back(row.cpu_us);
      series.rate.push_back(row.rate);
      context.table.add(row);
    }
    if (stack.is_ours())
      ours = series;
    else
      peer_text += (peer_text.empty() ? "" : "; ") + join(series.cpu, " µs");
  }
  if (ours.cpu.empty() || ours.cpu.front() <= 0) return;
  const auto [least, most] = std::minmax_element(ours.cpu.begin() + 1, ours.cpu.end());
  const double first = ours.cpu.front();
  const double apart = std::max(std::fabs(*most - first), std::fabs(first - *least)) / first;
  context.scores.add({.what = "manager, CPU per completed task with " + names + " queued",
                      .peer = peer_text,
                      .ours = join(ours.cpu, " µs"),
                      .ratio = figure(*most / first) + " × that of 1,000",
                      .target = "all within 10 % of 1,000 queued",
                      .met = apart <= 0.1 || *most <= 1.1 * first ? Met::yes : Met::no});
  const double slowest = *std::min_element(ours.rate.begin(), ours.rate.end());
  context.scores.add({.what = "manager, tasks/s with " + names + " queued",
                      .ours = join(ours.rate, " tasks/s"),
                      .ratio = figure(ours.rate.back() / ours.rate.front()),
                      .target = "≥ 10,000 tasks/s; 1,000 and 1,000,000 within 20 %",
                      .met = slowest >= 10'000 && ours.rate.back() >= 0.8 * ours.rate.front() ? Met::yes : Met::no});
}

/// CPU per task early and late in one long run with 1,000 tasks kept queued.
void long_run(Context& context) {
  const std::uint64_t all = context.quick ? 60'000 : 300'000;
  const auto measure = [&](const Stack& stack, std::uint64_t tasks) {
    const Scratch scratch;
    std::pair<double, double> result;
    auto manager = stack.start_library(scratch, {.tasks = tasks + 2000, .ahead = 1000});
    if (!manager.program) return result;
    SimWorkers sim({.port = manager.port, .workers = 10, .version = stack.version()});
    struct Mark {
      std::uint64_t at;
      double cpu = 0;
      std::uint64_t done = 0;
    };
    Mark marks[] = {{tasks / 20}, {tasks * 3 / 20}, {tasks * 18 / 20}, {tasks - 1}};
    std::size_t next = 0;
    sim.connect();
    sim.run(60, [&] {
      if (next < 4 && sim.tasks_done() >= marks[next].at) {
        marks[next].cpu = manager.program->cpu_s();
        marks[next++].done = sim.tasks_done();
      }
      return next == 4;
    });
    if (next < 4) return result;
    const auto per_task = [](const Mark& from, const Mark& to) {
      return (to.cpu - from.cpu) * 1e6 / static_cast<double>(to.done - from.done);
    };
    return std::pair{per_task(marks[0], marks[1]), per_task(marks[2], marks[3])};
  };
  std::string peer;
  std::pair<double, double> ours;
  for (const auto& stack : context.stacks) {
    if (!stack.has_manager()) continue;
    const auto tasks = stack.is_ours() ? all : all / 60;
    const auto [early, late] = measure(stack, tasks);
    context.table.add({.what = "manager, one long run, 1,000 kept queued: CPU per task of its last tenth",
                       .who = stack.label(),
                       .rate = late,
                       .unit = "us",
                       .note = "early " + figure(early) + " us, " + std::to_string(tasks) + " tasks"});
    if (stack.is_ours())
      ours = {early, late};
    else
      peer += (peer.empty() ? "" : "; ") + (early > 0 ? figure(early) : "none") + " → " + figure(late) + " µs (" +
              figure(static_cast<double>(tasks)) + " tasks)";
  }
  if (ours.first <= 0) return;
  context.scores.add(
      {.what = "manager, after " + figure(static_cast<double>(all)) + " finished tasks, 1,000 kept ahead",
       .peer = peer,
       .ours = figure(ours.first) + " → " + figure(ours.second) + " µs",
       .ratio = figure(ours.second / ours.first),
       .target = "no growth (≤ 1.1)",
       .met = at_most(ours.second / ours.first, 1.1)});
}

void misfits(Context& context) {
  const std::uint64_t many = context.quick ? 10'000 : 40'000;
  Rows with, without;
  for (const int unfit : {0, 100}) {
    auto rows = measure_all(
        context, "manager, 100 workers × 1 core" + std::string(unfit > 0 ? ", 100 tasks that fit nowhere ahead" : ""),
        [](const Stack& stack) { return stack.has_manager(); },
        [&](const Stack& stack) {
          const auto tasks = stack.is_ours() ? many : 1000;
          return measure_crowd(stack, {100, 1}, {.tasks = tasks, .misfits = unfit}, stack.is_ours() ? 3 : 2,
                               {.library = true});
        });
    (unfit > 0 ? with : without) = std::move(rows);
  }
  if (!with.ours || !without.ours || without.ours->cpu_us <= 0) return;
  context.scores.add({.what = "manager, 100 tasks that fit nowhere ahead, 100 workers",
                      .peer = without.peer_text(rate_text) + " → " + with.peer_text(rate_text),
                      .ours = rate_and_cpu(*without.ours) + " → " + rate_and_cpu(*with.ours),
                      .ratio = figure(with.ours->cpu_us / without.ours->cpu_us) + " × the CPU",
                      .target = "within 10 % of the run without them",
                      .met = at_most(with.ours->cpu_us / without.ours->cpu_us, 1.1)});
}

/// Submits 1,000,000 tasks through the library: CPU and memory per task. `rate`: bytes; `cpu_us`: submit.
Row measure_submit(const Stack& stack, std::uint64_t tasks, bool distinct) {
  const Scratch scratch;
  const auto report = scratch.path("report");
  auto manager =
      stack.start_library(scratch, {.tasks = tasks, .mode = "submit", .distinct = distinct, .report = report});
  if (manager.program) manager.program->wait(30);
  const auto count = static_cast<double>(tasks);
  Row row{.who = stack.label(), .unit = "bytes"};
  row.rate = (reported(report, "rss_after") - reported(report, "rss_before")) / count;
  row.cpu_us = reported(report, "submit_cpu_s") * 1e6 / count;
  return row;
}

void memory_and_submit(Context& context) {
  const std::uint64_t tasks = context.quick ? 200'000 : 1'000'000;
  const auto bytes_text = [](const Row& row) { return figure(row.rate) + " B"; };
  for (const bool distinct : {false, true}) {
    const auto what = "memory per queued task, " + figure(static_cast<double>(tasks)) +
                      (distinct ? " tasks, all different" : " tasks, specs shared");
    const auto rows = measure_all(
        context, what, [](const Stack& stack) { return stack.has_manager(); },
        [&](const Stack& stack) { return measure_submit(stack, tasks, distinct); });
    if (!rows.ours) continue;
    const double most = distinct ? 600 : 256;
    context.scores.add({.what = what,
                        .peer = rows.peer_text(bytes_text),
                        .ours = bytes_text(*rows.ours),
                        .target = "≤ " + figure(most) + " B",
                        .met = at_most(rows.ours->rate, most)});
    const auto cpu_text = [](const Row& row) { return figure(row.cpu_us) + " µs"; };
    if (distinct) continue;
    context.scores.add({.what = "submit, in batches",
                        .peer = rows.peer_text(cpu_text),
                        .ours = cpu_text(*rows.ours),
                        .target = "≤ 1 µs",
                        .met = at_most(rows.ours->cpu_us, 1)});
  }
}

/// From the start of the program until it listens with everything queued.
void task_list(Context& context) {
  const std::uint64_t tasks = context.quick ? 200'000 : 1'000'000;
  const auto what = figure(static_cast<double>(tasks)) + " tasks from a JSONL file, ready to be served";
  const auto rows = measure_all(
      context, what, [](const Stack& stack) { return stack.has_manager() && stack.is_ours(); },
      [&](const Stack& stack) {
        const Scratch scratch;
        const auto manager = stack.start_manager(scratch, {.tasks = tasks, .distinct = true});
        Row row{.who = stack.label(), .unit = "s"};
        if (!manager.program) return row;
        // The port is known before the list is read; the first task of a worker says that all is queued.
        SimWorkers sim({.port = manager.port, .stop_after = 1});
        sim.connect();
        sim.run(60);
        row.rate = manager.ready_s + (sim.first_task_s() - sim.connect_s());
        row.cpu_us = manager.program->cpu_s() * 1e6 / static_cast<double>(tasks);
        row.memory_mb = static_cast<double>(manager.program->resident_bytes()) / 1e6;
        return row;
      });
  if (!rows.ours) return;
  context.scores.add({.what = what,
                      .ours = figure(rows.ours->rate) + " s (" + figure(rows.ours->cpu_us) + " µs CPU each, " +
                              figure(rows.ours->memory_mb) + " MB resident)",
                      .target = "≤ 3 s",
                      .met = at_most(rows.ours->rate, 3)});
}

}  // namespace

void queue_cases(Context& context) {
  depth_cases(context);
  long_run(context);
  misfits(context);
  memory_and_submit(context);
  task_list(context);
}

}  // namespace taskmill::bench
