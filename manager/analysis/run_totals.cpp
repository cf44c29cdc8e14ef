#include "manager/analysis/run_totals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>

namespace taskmill::manager::analysis {
namespace {

constexpr double short_chunk_s = 1, good_chunk_s = 30, long_chunk_s = 1800;
constexpr double memory_headroom = 1.1;
constexpr std::int64_t memory_step = 50;

}  // namespace

void Totals::add(const Totals& other) {
  tasks += other.tasks, failed += other.failed, exhausted += other.exhausted;
  useful += other.useful, exhausted_hours += other.exhausted_hours;
  failed_hours += other.failed_hours, lost_hours += other.lost_hours;
  longest = std::max(longest, other.longest);
  sum += other.sum;
  memory_peak = std::max(memory_peak, other.memory_peak);
}

double seconds(const TaskTrace& trace) { return static_cast<double>((trace.end - trace.start).count()) * 1e-6; }

Totals totals_of(const Executor& executor, ItemKind kind) {
  Totals totals;
  for (const auto& trace : executor.traces()) {
    if (trace.kind != kind) continue;
    ++totals.tasks;
    const double cores = std::max(trace.cores, 1.0);
    const double spent = seconds(trace) * cores / 3600;
    if (trace.succeeded)
      totals.useful += spent;
    else if (trace.exhausted)
      ++totals.exhausted;
    else
      totals.failed_hours += spent, ++totals.failed;
    totals.exhausted_hours += trace.exhausted_s * cores / 3600;
    totals.lost_hours += trace.lost_s * cores / 3600;
    totals.longest = std::max(totals.longest, seconds(trace));
    totals.sum += seconds(trace);
    totals.memory_peak = std::max(totals.memory_peak, trace.memory_mb);
  }
  return totals;
}

std::vector<std::pair<std::string, double>> slow_hosts(const Executor& executor) {
  std::map<std::uint32_t, std::pair<double, double>> by_host;
  double all_time = 0;
  double all_events = 0;
  for (const auto& trace : executor.traces()) {
    if (trace.kind != ItemKind::process || !trace.succeeded || trace.events == 0) continue;
    by_host[trace.host].first += seconds(trace);
    by_host[trace.host].second += static_cast<double>(trace.events);
    all_time += seconds(trace);
    all_events += static_cast<double>(trace.events);
  }
  std::vector<std::pair<std::string, double>> slow;
  if (all_time <= 0 || all_events <= 0) return slow;
  for (const auto& [host, sums] : by_host)
    slow.emplace_back(executor.hosts()[host], sums.first / sums.second / (all_time / all_events));
  std::sort(slow.begin(), slow.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return slow;
}

std::vector<std::string> recommendations(const Executor& executor) {
  std::vector<std::string> lines;
  const auto process = totals_of(executor, ItemKind::process);
  const auto& planner = executor.planner();
  const auto succeeded = static_cast<double>(process.tasks - process.failed - process.exhausted);
  const double mean = succeeded > 0 ? process.sum / static_cast<double>(process.tasks) : 0;
  const double events = succeeded > 0 ? static_cast<double>(planner.progress().events_processed) / succeeded : 0;
  if (executor.description().planner.dynamic_chunksize) {
    lines.push_back(fmt::format("chunksize = {}", planner.chunk_size_now()));
  } else if (process.exhausted * 10 > process.tasks) {
    lines.push_back(fmt::format("chunksize = {} ({} of {} attempts exhausted their box)",
                                std::bit_floor(static_cast<std::uint64_t>(std::max(events, 1.0))), process.exhausted,
                                process.tasks));
  } else if (succeeded > 0 && (mean < short_chunk_s || mean > long_chunk_s)) {
    const double factor = good_chunk_s / std::max(mean, 1e-3);
    const auto size = std::bit_floor(static_cast<std::uint64_t>(std::max(events * factor, 1.0)));
    lines.push_back(fmt::format("chunksize = {} (a chunk took {:.2f} s)", size, mean));
  }
  if (process.memory_peak > 0) {
    const auto memory = static_cast<std::int64_t>(process.memory_peak * memory_headroom);
    lines.push_back(fmt::format("memory = {} for processing (highest measured {:.0f} MB)",
                                memory / memory_step * memory_step + memory_step, process.memory_peak));
  }
  return lines;
}

std::string loss_name(const Executor& executor, const Loss& loss) {
  if (loss.kind == ItemKind::accumulate) return "a merge";
  const auto& name = executor.planner().file_name(loss.file);
  return loss.range.count() > 0 ? fmt::format("{} events {} to {}", name, loss.range.first, loss.range.last) : name;
}

}  // namespace taskmill::manager::analysis
