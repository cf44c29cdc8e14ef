#include "manager/core/config.hpp"

#include <cmath>
#include <string_view>

namespace taskmill::manager {

const char* allocation_mode_text(AllocationMode mode) {
  switch (mode) {
    case AllocationMode::fixed:
      return "FIXED";
    case AllocationMode::max:
      return "MAX";
    case AllocationMode::min_waste:
      return "MIN_WASTE";
    case AllocationMode::max_throughput:
      return "MAX_THROUGHPUT";
    case AllocationMode::greedy_bucketing:
      return "GREEDY_BUCKETING";
    case AllocationMode::exhaustive_bucketing:
      return "EXHAUSTIVE_BUCKETING";
    case AllocationMode::det_greedy_bucketing:
      return "DET_GREEDY_BUCKETING";
    case AllocationMode::det_exhaustive_bucketing:
      return "DET_EXHAUSTIVE_BUCKETING";
    case AllocationMode::quantized_bucketing:
      return "QUANTIZED_BUCKETING";
  }
  return "UNKNOWN";
}

namespace {

Duration seconds(double value) { return Duration(static_cast<std::int64_t>(std::min(value, 1e12) * 1e6)); }

struct Tuning {
  std::string_view name;
  double least;  ///< smaller values are raised to it
  void (*set)(Config&, double);
};

// The names of manager.md 5 with their aliases; the three misspelled ones of the old documentation are accepted too.
constexpr double any = -1e300;
const Tuning tunings[] = {
    {"resource-submit-multiplier", 1, [](Config& c, double v) { c.resource_submit_multiplier = v; }},
    {"asynchrony-multiplier", 1, [](Config& c, double v) { c.resource_submit_multiplier = v; }},
    {"min-transfer-timeout", 0, [](Config& c, double v) { c.min_transfer_timeout = seconds(v); }},
    {"foreman-transfer-timeout", 0, [](Config& c, double v) { c.foreman_transfer_timeout = seconds(v); }},
    {"transfer-outlier-factor", 0, [](Config& c, double v) { c.transfer_outlier_factor = v; }},
    {"default-transfer-rate", 1, [](Config& c, double v) { c.default_transfer_rate = v; }},
    {"fast-abort-multiplier", any,
     [](Config& c, double v) { c.default_category.fast_abort = v >= 1 ? std::optional(v) : std::nullopt; }},
    {"keepalive-interval", 0, [](Config& c, double v) { c.keepalive_interval = seconds(v); }},
    {"keepalive-timeout", 0, [](Config& c, double v) { c.keepalive_timeout = seconds(v); }},
    {"short-timeout", 1, [](Config& c, double v) { c.short_timeout = seconds(v); }},
    {"long-timeout", 1, [](Config& c, double v) { c.long_timeout = seconds(v); }},
    {"reply-timeout", 1, [](Config& c, double v) { c.reply_timeout = seconds(v); }},
    {"category-steady-n-tasks", 1,
     [](Config& c, double v) { c.category_steady_n_tasks = static_cast<std::int64_t>(v); }},
    {"hungry-minimum", 1, [](Config& c, double v) { c.hungry_minimum = static_cast<int>(v); }},
    {"hungry-minimum-factor", 1, [](Config& c, double v) { c.hungry_factor = v; }},
    {"wait-for-workers", 0, [](Config& c, double v) { c.wait_for_workers = static_cast<int>(v); }},
    {"attempt-schedule-depth", 1, [](Config& c, double v) { c.attempt_schedule_depth = static_cast<int>(v); }},
    {"wait-retrieve-many", any, [](Config& c, double v) { c.wait_retrieve_many = v > 0; }},
    {"wait_retrieve_many", any, [](Config& c, double v) { c.wait_retrieve_many = v > 0; }},
    {"monitor-interval", 0, [](Config& c, double v) { c.monitoring.interval_s = static_cast<std::int64_t>(v); }},
    {"proportional-resources", any, [](Config& c, double v) { c.proportional_resources = v > 0; }},
    {"force-proportional-resources", any, [](Config& c, double v) { c.proportional_resources = v > 0; }},
    {"proportional-whole-tasks", any, [](Config& c, double v) { c.proportional_whole_tasks = v > 0; }},
    {"force-proportional-resources-whole-tasks", any, [](Config& c, double v) { c.proportional_whole_tasks = v > 0; }},
    {"ramp-down-heuristic", any, [](Config& c, double v) { c.ramp_down = v > 0; }},
    // Ours.
    {"prefetch-tasks", 0, [](Config& c, double v) { c.prefetch_tasks = static_cast<int>(v); }},
    {"prefetch-below", 0, [](Config& c, double v) { c.prefetch_below = seconds(v); }},
    {"unfittable-timeout", any,
     [](Config& c, double v) { c.unfittable_timeout = v >= 0 ? std::optional(seconds(v)) : std::nullopt; }},
    {"reserve-after", any,
     [](Config& c, double v) { c.reserve_after = v >= 0 ? std::optional(seconds(v)) : std::nullopt; }},
    {"straggler-factor", 1, [](Config& c, double v) { c.straggler_factor = v; }},
    {"peer-transfers", 0, [](Config& c, double v) { c.peer_transfers = static_cast<int>(std::min(v, 1e6)); }},
    {"peer-min-bytes", 1, [](Config& c, double v) { c.peer_min_bytes = static_cast<std::uint64_t>(v); }},
    {"affinity-min-bytes", 0, [](Config& c, double v) { c.affinity_min_bytes = static_cast<std::uint64_t>(v); }},
};

// "native-batch" and its like: 0 for a capability that is not to be used.
bool tune_extension(Config& config, std::string_view name, double value) {
  constexpr std::string_view prefix = "native-";
  if (!name.starts_with(prefix)) return false;
  std::string_view unknown;
  const auto chosen = protocol::parse_capability_names(name.substr(prefix.size()), unknown);
  if (!chosen || chosen->empty()) return false;
  config.extensions = value > 0 ? config.extensions.with(*chosen) : config.extensions.without(*chosen);
  return true;
}

}  // namespace

bool tune(Config& config, const std::string& name, double value, std::string* problem) {
  if (!std::isfinite(value) || std::abs(value) > 1e18) {
    if (problem != nullptr) *problem = "the value of " + name + " is not a finite number";
    return false;
  }
  if (tune_extension(config, name, value)) return true;
  for (const Tuning& tuning : tunings) {
    if (tuning.name != name) continue;
    tuning.set(config, std::max(value, tuning.least));
    return true;
  }
  if (problem != nullptr) *problem = "there is no tuning parameter called \"" + name + "\"";
  return false;
}

}  // namespace taskmill::manager
