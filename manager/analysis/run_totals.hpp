// Sums over the finished attempts of an analysis, for its summary and its report. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "manager/analysis/executor.hpp"

namespace taskmill::manager::analysis {

constexpr ItemKind phases[] = {ItemKind::preprocess, ItemKind::process, ItemKind::accumulate};

/// Core-hours are allocated cores times time: what nobody else could use meanwhile.
struct Totals {
  std::uint64_t tasks = 0, failed = 0, exhausted = 0;
  double useful = 0, exhausted_hours = 0, failed_hours = 0, lost_hours = 0;
  double longest = 0, sum = 0;  ///< s
  double memory_peak = -1;      ///< MB

  void add(const Totals& other);
};

double seconds(const TaskTrace& trace);
Totals totals_of(const Executor& executor, ItemKind kind);
/// Hosts by time per event, slowest first, with their factor over the mean.
std::vector<std::pair<std::string, double>> slow_hosts(const Executor& executor);
/// Settings that would have suited this run better, as lines of a description.
std::vector<std::string> recommendations(const Executor& executor);
/// "FILE events 0 to 100", "FILE", "a merge".
std::string loss_name(const Executor& executor, const Loss& loss);

}  // namespace taskmill::manager::analysis
