// A category: named group of tasks with limits, statistics and what was learned about their size (manager.md 10).
//
// Pure values: measurements go in by learn(), labels come out for boxes. Whatever changes a label raises `epoch`,
// so that cached boxes know they are stale. The caller supplies the largest connected worker.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "common/base/random.hpp"
#include "manager/core/box.hpp"
#include "manager/core/bucketing.hpp"
#include "manager/core/config.hpp"
#include "manager/core/durations.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/histogram.hpp"

namespace taskmill::manager {

enum class Label : std::uint8_t { first = 0, max = 1 };

struct CategoryCounters {
  std::uint64_t waiting = 0, running = 0, with_results = 0, submitted = 0, dispatched = 0, done = 0, failed = 0,
                cancelled = 0, first_count = 0, max_count = 0, exhausted = 0;
  std::int64_t execute_us = 0, transfer_us = 0;  ///< of successes
  std::uint64_t successes = 0;
};

class Category {
 public:
  Category(std::string name, const CategorySettings& settings);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const CategorySettings& settings() const { return settings_; }
  void configure(const CategorySettings& settings);

  /// An attempt ended with a result that teaches (10.3). `largest_worker`: negative fields unknown. True when the
  /// labels may have changed in a way the transactions log reports.
  bool learn(const Measurement& measured, bool succeeded, std::int64_t steady_n, const Resources& largest_worker);
  [[nodiscard]] static bool teaches(protocol::ResultCode code);

  /// A of 10.2. `prediction`: the bucketing modes' answer for this task.
  [[nodiscard]] Resources max_label(Label label, const Resources& request, const Resources& prediction) const;
  /// The same, with learned values held to the largest worker where they would make the task unrunnable.
  [[nodiscard]] Resources max_label(Label label, const Resources& request, const Resources& prediction,
                                    const Resources& largest_worker) const;
  /// B of 10.2, including the correction for the largest worker.
  [[nodiscard]] Resources min_label(Label label, const Resources& request, const Resources& prediction,
                                    const Resources& largest_worker) const;
  /// 10.6: may a larger box be tried?
  [[nodiscard]] bool may_grow(const Measurement& measured, const Resources& request) const;

  /// Is this resource (a number of box.hpp) of its tasks allocated automatically?
  [[nodiscard]] bool labelled(std::size_t resource) const;
  [[nodiscard]] bool bucketing() const { return settings_.mode >= AllocationMode::greedy_bucketing; }
  /// Prediction for a task that never ran, or (previous fields >= 0) that was exhausted.
  Resources predict_first(Random& random);
  Resources predict_retry(const Measurement& measured, const Resources& shown, Random& random);

  [[nodiscard]] bool steady() const { return steady_; }
  [[nodiscard]] const Resources& seen() const { return seen_; }
  [[nodiscard]] Resources first() const;  ///< in force now; all negative when none
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }
  [[nodiscard]] std::uint64_t completions() const { return total_; }
  [[nodiscard]] std::int64_t completions_since_reset() const { return completions_; }
  [[nodiscard]] BucketPredictor* predictor(std::size_t resource);

  CategoryCounters count;
  Durations durations;  ///< of successful attempts, for stragglers
  bool limits_broken = false;
  std::uint32_t running_head = 0xffffffffU, running_tail = 0xffffffffU;  ///< attempts by start, oldest first
  bool watch_armed = false;                                              ///< a timer for slow tasks is pending

 private:
  [[nodiscard]] bool learned() const { return steady_ || has_guess_; }
  void compute_first(const Resources& largest_worker);
  [[nodiscard]] double first_of(std::size_t resource, const Resources& largest_worker) const;
  Resources min_label_of(const Resources& request, const Resources& a) const;

  std::string name_;
  CategorySettings settings_;
  Resources seen_, first_;
  bool steady_ = false, has_guess_ = false;
  std::int64_t completions_ = 0;
  std::uint64_t total_ = 0;
  std::uint32_t epoch_ = 0;
  std::array<Histogram, 4> histograms_;
  std::array<std::unique_ptr<BucketPredictor>, 4> predictors_;
};

}  // namespace taskmill::manager
