// What one worker does to the others: one that stops reading, and a thousand that answer at once.
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "bench/cases.hpp"
#include "bench/crowd.hpp"
#include "bench/limits.hpp"

namespace taskmill::bench {
namespace {

namespace fs = std::filesystem;

std::string latency_text(const Row& row) {
  return row.rate > 0       ? figure(row.rate) + " " + row.unit + ", p99 " + figure(row.p99_ms) + " ms"
         : row.note.empty() ? "nothing was served"
                            : row.note;
}

void stopped_worker(Context& context) {
  const Scratch scratch;
  const auto big = scratch.path("big");
  std::ofstream(big) << std::string(64U << 20, 'b');
  const auto measure = [&](const Stack& stack, bool disturbed) {
    const Load load{.tasks = stack.is_ours() ? 200'000U : 20'000U, .big_file = disturbed ? big : std::string()};
    // 20 tasks per second and worker would be a light load; here every slot is refilled at once.
    return measure_crowd(stack, {20, 1}, load, stack.is_ours() ? context.seconds : 3,
                         {.workers = {.deaf_above = disturbed ? 1U << 20 : 0U}});
  };
  Rows rows[2];
  for (const bool disturbed : {false, true}) {
    rows[disturbed ? 1 : 0] = measure_all(
        context,
        std::string("manager, 20 workers × 1 core") + (disturbed ? ", one stops reading inside a 64 MiB input" : ""),
        [](const Stack& stack) { return stack.has_manager(); },
        [&](const Stack& stack) { return measure(stack, disturbed); });
  }
  if (!rows[0].ours || !rows[1].ours || rows[0].ours->p99_ms <= 0) return;
  const double worse = rows[1].ours->p99_ms / rows[0].ours->p99_ms;
  context.scores.add({.what = "one stopped worker with a 64 MiB input in flight, 19 others",
                      .peer = rows[0].peer_text(latency_text) + " → " + rows[1].peer_text(latency_text),
                      .ours = latency_text(*rows[0].ours) + " → " + latency_text(*rows[1].ours),
                      .ratio = figure(worse) + " × the p99 without",
                      .target = "p99 dispatch latency within 2 ×",
                      .met = rows[1].ours->note.empty() || rows[1].ours->rate > 0 ? at_most(worse, 2) : Met::no});
}

struct Burst {
  std::uint64_t count = 1000;
  std::uint64_t bytes = 1'000'000;
};

std::uint64_t stored_bytes(const std::string& directory, std::uint64_t count) {
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    struct stat info {};
    if (::stat((directory + "/" + std::to_string(i)).c_str(), &info) == 0)
      total += static_cast<std::uint64_t>(info.st_size);
  }
  return total;
}

/// Rate: MB/s into files from the moment all results are announced. p50, p99: turnaround of 10 other workers
/// meanwhile.
Row measure_burst(const Stack& stack, const Burst& burst, double patience_s) {
  Row row{.who = stack.label(), .unit = "MB/s"};
  const Scratch scratch;
  fs::create_directories(scratch.path("out"));
  const Load load{.tasks = burst.count + 1'000'000 / (stack.is_ours() ? 1 : 50),
                  .output_dir = scratch.path("out"),
                  .burst = burst.count};
  auto manager = stack.start_library(scratch, load);
  if (!manager.program) return row;
  const int others = 10;
  SimWorkers control({.port = manager.port, .workers = others, .version = stack.version(), .feature = "control"});
  SimWorkers crowd({.port = manager.port,
                    .workers = static_cast<int>(burst.count),
                    .version = stack.version(),
                    .output_bytes = burst.bytes,
                    .hold_until = burst.count,
                    .feature = "burst"});
  std::atomic<double> released = 0, stored = 0;
  std::atomic<bool> stop = false;
  std::vector<double> control_times;
  std::thread control_thread([&] {
    control.connect();
    std::size_t before = 0;
    control.run(2 * patience_s, [&] {
      if (released == 0) before = control.turnarounds().size();
      return stop.load();
    });
    control_times.assign(control.turnarounds().begin() + static_cast<std::ptrdiff_t>(before),
                         control.turnarounds().end());
  });
  std::thread watcher([&] {
    while (!stop && stored == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (released > 0 && stored_bytes(scratch.path("out"), burst.count) == burst.count * burst.bytes) stored = now_s();
    }
  });
  crowd.connect();
  crowd.run(2 * patience_s, [&] {
    if (released == 0) released = crowd.released_s();
    const bool late = released > 0 && now_s() > released + patience_s;
    return late || stored > 0;
  });
  stop = true;
  watcher.join();
  control_thread.join();
  const auto moved = static_cast<double>(stored_bytes(scratch.path("out"), burst.count));
  if (released > 0) row.rate = moved / 1e6 / ((stored > 0 ? stored.load() : now_s()) - released);
  row.p50_ms = percentile(control_times, 0.5) * 1e3;
  row.p99_ms = percentile(control_times, 0.99) * 1e3;
  if (released == 0)
    row.note = "only " + std::to_string(crowd.workers_served()) + " of " + std::to_string(burst.count) +
               " workers had their task in time";
  else if (stored == 0)
    row.note = figure(moved / 1e6) + " MB stored in time";
  return row;
}

void results_at_once(Context& context) {
  const Burst burst{.count = context.quick ? 100U : 1000U};
  const auto what = figure(static_cast<double>(burst.count)) + " workers return 1 MB each at once";
  const Scratch scratch;
  std::vector<Row> limits;
  for (int i = 0; i < context.repeat; ++i) {
    const double seconds = store_limit(scratch.path(""), burst.count, burst.bytes);
    limits.push_back({.what = what,
                      .who = "limit",
                      .rate = static_cast<double>(burst.count * burst.bytes) / 1e6 / seconds,
                      .unit = "MB/s",
                      .note = "the same bytes from loopback into files"});
  }
  const auto limit = median_row(std::move(limits));
  context.table.add(limit);
  const auto rows = measure_all(
      context, what, [](const Stack& stack) { return stack.has_manager(); },
      [&](const Stack& stack) { return measure_burst(stack, burst, stack.is_ours() ? 15 : 8); });
  if (!rows.ours) return;
  const double of_limit = rows.ours->rate / limit.rate;
  context.scores.add({.what = what,
                      .peer = rows.peer_text(latency_text),
                      .limit = rate_text(limit),
                      .ours = latency_text(*rows.ours) + " of other workers",
                      .ratio = figure(of_limit) + " of the limit",
                      .target = "≥ 80 % of the limit; p99 of the others ≤ 50 ms",
                      .met = of_limit >= 0.8 && rows.ours->p99_ms > 0 && rows.ours->p99_ms <= 50 ? Met::yes : Met::no});
}

}  // namespace

void disturbance_cases(Context& context) {
  stopped_worker(context);
  results_at_once(context);
}

}  // namespace taskmill::bench
