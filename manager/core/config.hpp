// Limits and policies of the manager as values (manager.md 5). Nothing here is global; tune() changes a field
// by its old name. Units are in the types or in the name.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "common/base/resources.hpp"
#include "common/base/time.hpp"
#include "manager/core/task_spec.hpp"
#include "protocol/capabilities.hpp"

namespace taskmill::manager {

/// manager.md 2.5.
enum class AllocationMode : std::uint8_t {
  fixed = 0,
  max = 1,
  min_waste = 2,
  max_throughput = 3,
  greedy_bucketing = 4,
  exhaustive_bucketing = 5,
  det_greedy_bucketing = 6,
  det_exhaustive_bucketing = 7,
  quantized_bucketing = 8,
};
/// "FIXED", "MAX", "MIN_WASTE", … as the logs print them.
const char* allocation_mode_text(AllocationMode mode);

/// Settings of one category (manager.md 10.1); negative resource fields are unspecified.
struct CategorySettings {
  AllocationMode mode = AllocationMode::fixed;
  Resources max, min;
  Resources first_guess;             ///< used until the category is steady
  std::int64_t max_concurrent = -1;  ///< at most this many running; negative: no limit
  std::int64_t max_processes = -1;   ///< of one task at one time (native workers); negative: the worker's own limit
  /// nullopt: as the category "default"; 0: off; >= 1: kill what runs longer than this times the average.
  std::optional<double> fast_abort;
  /// Which resources are labelled automatically; unset: cores, memory and disk in every mode but fixed.
  std::optional<bool> label_cores, label_memory, label_disk, label_gpus;
};

/// Which limits a native worker is told to stop a task for.
enum class Enforce : std::uint8_t {
  never,
  asked,   ///< memory and disk that the task or its category names, or that were learned
  always,  ///< the whole box, also what was only given in proportion
};

enum class Stragglers : std::uint8_t { leave, replicate };

/// The wrapper for workers that do not measure themselves (manager.md 11).
struct Monitoring {
  bool enabled = false;
  bool watchdog = false;        ///< stop what passes the box, there and at native workers
  bool full = false;            ///< time series and debug files too
  std::string program;          ///< local path of resource_monitor; empty: legacy workers are not measured
  std::string directory;        ///< where summaries go; empty: current directory
  std::int64_t interval_s = 0;  ///< 0: the program's own default
  std::int64_t process_id = 0;  ///< for the names of the summary files
};

struct Config {
  Algorithm algorithm = Algorithm::time;
  CategorySettings default_category;  ///< settings of categories created later
  Monitoring monitoring;
  Enforce enforce = Enforce::asked;  ///< `monitoring.watchdog` means always
  bool enforce_cores = false;        ///< cores too, instead of telling only

  // Boxes (manager.md 9).
  double resource_submit_multiplier = 1.0;
  bool proportional_resources = true;
  bool proportional_whole_tasks = true;
  bool ramp_down = false;

  // Learning (10) and slow tasks (14.2).
  std::int64_t category_steady_n_tasks = 25;
  int fast_abort_min_samples = 10;
  Duration slow_host_block{std::chrono::seconds(900)};
  Stragglers stragglers = Stragglers::leave;
  int straggler_min_samples = 20;
  double straggler_factor = 1.5;                    ///< a task is an outlier beyond this times the 95th percentile …
  Duration straggler_min{std::chrono::seconds(1)};  ///< … and beyond the median by at least this much

  // Time limits (12.3, 14.1).
  Duration keepalive_interval{std::chrono::seconds(120)};  ///< 0: off
  Duration keepalive_timeout{std::chrono::seconds(30)};
  Duration short_timeout{std::chrono::seconds(5)};
  Duration long_timeout{std::chrono::seconds(3600)};
  /// A requested reply must begin within this time (the peer's 5 s is too short for a pipelined exchange).
  Duration reply_timeout{std::chrono::seconds(60)};
  Duration min_transfer_timeout{std::chrono::seconds(60)};
  Duration foreman_transfer_timeout{std::chrono::seconds(3600)};
  double transfer_outlier_factor = 10;
  double default_transfer_rate = 1048576;  ///< bytes/s

  // Admission.
  int wait_for_workers = 0;  ///< dispatch nothing until this many are connected; then reset
  int hungry_minimum = 10;
  double hungry_factor = 2;
  int attempt_schedule_depth = 100;  ///< how many tasks of one shape are looked at when the first do not suit a worker
  bool wait_retrieve_many = false;
  /// A task that fits no connected worker is returned after this time; nullopt: waits for ever.
  std::optional<Duration> unfittable_timeout;
  Duration large_task_warning{std::chrono::seconds(180)};

  /// A local input checked (stat) within this time is not checked again for the next task that names it.
  Duration file_check_interval{std::chrono::milliseconds(50)};

  /// A task that has waited this long for room that smaller ones keep taking has a worker emptied for it; nullopt:
  /// never.
  std::optional<Duration> reserve_after{std::chrono::seconds(30)};
  double reserve_share = 0.125;  ///< at most this part of the workers (at least one) is being emptied at a time

  // Data-aware placement.
  std::uint64_t affinity_min_bytes = 1U << 20;  ///< cached inputs below this do not influence placement
  int affinity_lookahead = 32;                  ///< ready tasks looked at for one that suits a freed worker

  /// A worker, and the manager, sends one large cached input to at most so many at a time; 0: workers send none.
  int peer_transfers = 3;
  std::uint64_t peer_min_bytes = 1U << 20;  ///< smaller inputs are always sent by the manager

  // Prefetch: tasks sent to a worker beyond what it can run now, as many as it ends while news travels. Never when
  // fewer tasks wait than run: at the end each goes where it starts first.
  int prefetch_tasks = 64;                           ///< at most this many per worker; 0: off
  Duration prefetch_below{std::chrono::seconds(2)};  ///< only for categories whose mean run time is below

  /// What may be used with native workers (docs/extensions.md): tune("native-batch", 0) takes one away.
  protocol::CapabilitySet extensions = protocol::CapabilitySet::all();

  /// Whether records of the transactions log are made at all.
  bool transactions = false;
};

/// manager.md 5. Unknown name or bad value: false, and `problem` (if given) says why.
bool tune(Config& config, const std::string& name, double value, std::string* problem = nullptr);

}  // namespace taskmill::manager
