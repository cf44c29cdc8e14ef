#include "manager/core/category.hpp"

#include <algorithm>
#include <cmath>

namespace taskmill::manager {
namespace {

constexpr std::array<double, 4> bucket_sizes = {1, 250, 250, 1};  // cores, memory, disk, gpus
constexpr std::array<double, 4> bucketing_defaults = {1, 1000, 1000, 0};

Four measured_four(const Measurement& m) {
  return {m.cores, static_cast<double>(m.memory), static_cast<double>(m.disk), static_cast<double>(m.gpus)};
}

BucketingKind bucketing_kind(AllocationMode mode) {
  switch (mode) {
    case AllocationMode::exhaustive_bucketing:
      return BucketingKind::exhaustive;
    case AllocationMode::det_greedy_bucketing:
      return BucketingKind::det_greedy;
    case AllocationMode::det_exhaustive_bucketing:
      return BucketingKind::det_exhaustive;
    case AllocationMode::quantized_bucketing:
      return BucketingKind::quantized;
    default:
      return BucketingKind::greedy;
  }
}

bool specified(const Resources& r) { return r.cores > -1 || r.memory > -1 || r.disk > -1 || r.gpus > -1; }

}  // namespace

Category::Category(std::string name, const CategorySettings& settings)
    : name_(std::move(name)),
      histograms_{Histogram(bucket_sizes[0]), Histogram(bucket_sizes[1]), Histogram(bucket_sizes[2]),
                  Histogram(bucket_sizes[3])} {
  configure(settings);
}

void Category::configure(const CategorySettings& settings) {
  settings_ = settings;
  seen_ = raised(seen_, settings.min);
  has_guess_ = specified(settings.first_guess);
  if (has_guess_) seen_ = raised(seen_, settings.first_guess);
  for (std::size_t i = 0; i < 4; ++i) {
    if (!bucketing()) continue;
    const BucketingKind kind = bucketing_kind(settings.mode);
    if (!predictors_[i] || predictors_[i]->kind() != kind)
      predictors_[i] = std::make_unique<BucketPredictor>(kind, bucketing_defaults[i]);
  }
  ++epoch_;
}

bool Category::labelled(std::size_t resource) const {
  if (settings_.mode == AllocationMode::fixed) return false;
  switch (resource) {
    case at_cores:
      return settings_.label_cores.value_or(true);
    case at_memory:
      return settings_.label_memory.value_or(true);
    case at_disk:
      return settings_.label_disk.value_or(true);
    default:
      return settings_.label_gpus.value_or(false);
  }
}

bool Category::teaches(protocol::ResultCode code) {
  using protocol::ResultCode;
  return code == ResultCode::success || code == ResultCode::signal || code == ResultCode::resource_exhaustion ||
         code == ResultCode::task_max_run_time || code == ResultCode::disk_alloc_full ||
         code == ResultCode::output_transfer_error;
}

bool Category::learn(const Measurement& measured, bool succeeded, std::int64_t steady_n,
                     const Resources& largest_worker) {
  const Four used = measured_four(measured);
  const Four limit = to_four(settings_.max);
  bool report = false;
  if (!steady_) {
    for (std::size_t i = 0; i < 4; ++i) {
      if (limit[i] > -1 || used[i] <= histograms_[i].round_up(histograms_[i].largest())) continue;
      first_ = {};
      completions_ = 0;
      report = true;
      break;
    }
  }
  const bool was_steady = steady_;
  steady_ = completions_ >= steady_n;
  const Resources old_seen = seen_;
  seen_ = raised(seen_, from_four(used));
  seen_.cores = std::max(old_seen.cores, measured.cores);
  if (measured.exit_type.empty() || measured.exit_type == "normal") {
    for (std::size_t i = 0; i < 4; ++i) histograms_[i].add(used[i], measured.wall_time_s);
    ++completions_;
    ++total_;
    if (settings_.mode != AllocationMode::fixed && steady_n > 0 && completions_ % steady_n == 0 && total_ > 1) {
      compute_first(largest_worker);
      report = true;
    }
  }
  if (succeeded && bucketing()) {
    for (std::size_t i = 0; i < 4; ++i) predictors_[i]->add(used[i]);
  }
  if (report || steady_ != was_steady || old_seen != seen_ || bucketing()) ++epoch_;
  return report;
}

double Category::first_of(std::size_t resource, const Resources& largest_worker) const {
  const Four limit = to_four(settings_.max);
  const Four worker = to_four(largest_worker);
  const Four seen = to_four(seen_);
  const Histogram& histogram = histograms_[resource];
  if (settings_.mode == AllocationMode::max) {
    std::optional<double> cap;
    if (limit[resource] > -1) cap = limit[resource];
    if (worker[resource] > 0) cap = cap ? std::min(*cap, worker[resource]) : worker[resource];
    return histogram.max_seen(cap);
  }
  double maximum = limit[resource] > -1 ? limit[resource] : seen[resource] > -1 ? seen[resource] : worker[resource];
  maximum = std::trunc(maximum);
  return settings_.mode == AllocationMode::min_waste ? histogram.min_waste(maximum) : histogram.max_throughput(maximum);
}

void Category::compute_first(const Resources& largest_worker) {
  first_ = {};
  if (settings_.mode != AllocationMode::max && settings_.mode != AllocationMode::min_waste &&
      settings_.mode != AllocationMode::max_throughput)
    return;
  Four first = {-1, -1, -1, -1};
  for (std::size_t i = 0; i < 4; ++i) {
    if (labelled(i)) first[i] = first_of(i, largest_worker);
  }
  first_ = raised(from_four(first), settings_.min);
}

Resources Category::first() const {
  if (steady_ && specified(first_)) return first_;
  if (has_guess_) return settings_.first_guess;
  return steady_ ? first_ : Resources{};
}

Resources Category::max_label(Label label, const Resources& request, const Resources& prediction) const {
  const AllocationMode mode = settings_.mode;
  Resources a;
  const Resources now = first();
  const bool by_waste = mode == AllocationMode::min_waste || mode == AllocationMode::max_throughput;
  if (by_waste && learned()) {
    a = raised(overridden(a, seen_), now);
  } else if (bucketing()) {
    a = overridden(a, prediction);
  }
  // After the second exhaustion the caller names the size of the largest worker: the last step of the ladder.
  if (label == Label::max && !bucketing() && mode != AllocationMode::fixed) a = overridden(a, prediction);
  a = overridden(a, settings_.max);
  if (learned() && label == Label::first && (by_waste || mode == AllocationMode::max)) a = overridden(a, now);
  return overridden(a, request);
}

Resources Category::max_label(Label label, const Resources& request, const Resources& prediction,
                              const Resources& largest_worker) const {
  const Resources a = max_label(label, request, prediction);
  if (settings_.mode == AllocationMode::fixed || (label == Label::first && !bucketing())) return a;
  // What was learned or predicted never asks for more than the largest worker has: a task that shall have the maximum
  // gets that worker (the old manager left it waiting for ever).
  Four need = to_four(a);
  const Four have = to_four(largest_worker);
  const Four asked = to_four(request);
  const Four limit = to_four(settings_.max);
  for (std::size_t i = 0; i < 4; ++i) {
    if (asked[i] <= -1 && limit[i] <= -1 && have[i] > 0) need[i] = std::min(need[i], have[i]);
  }
  return from_four(need);
}

Resources Category::min_label_of(const Resources& request, const Resources& a) const {
  Resources b;
  if (settings_.mode != AllocationMode::fixed) b = seen_;
  b = raised(overridden(b, a), settings_.min);
  if (settings_.mode == AllocationMode::fixed && request.disk < 0) b.disk = std::max<std::int64_t>(b.disk, 0);
  return b;
}

Resources Category::min_label(Label label, const Resources& request, const Resources& prediction,
                              const Resources& largest_worker) const {
  const Resources b = min_label_of(request, max_label(label, request, prediction));
  const Four need = to_four(b);
  const Four have = to_four(largest_worker);
  bool too_large = false;
  for (std::size_t i = 0; i < 4; ++i) too_large = too_large || (have[i] > 0 && have[i] < need[i]);
  // A measured outlier must not block the rest of the category.
  if (!too_large || (label == Label::max && settings_.mode == AllocationMode::fixed)) return b;
  Resources capped = largest_worker;
  capped = overridden(capped, request);
  return min_label_of(capped, max_label(label, capped, prediction));
}

bool Category::may_grow(const Measurement& measured, const Resources& request) const {
  if (settings_.mode == AllocationMode::fixed) return false;
  const Four used = measured_four(measured);
  const Four asked = to_four(request);
  const Four limit = to_four(settings_.max);
  for (std::size_t i = 0; i < 4; ++i) {
    const double bound = asked[i] > -1 ? asked[i] : limit[i];
    if (bound > -1 && used[i] > bound) return false;
  }
  return true;
}

Resources Category::predict_first(Random& random) {
  Four out = {-1, -1, -1, -1};
  for (std::size_t i = 0; i < 4; ++i) {
    if (labelled(i)) out[i] = predictors_[i]->predict(-1, random);
  }
  return from_four(out);
}

Resources Category::predict_retry(const Measurement& measured, const Resources& shown, Random& random) {
  const Four used = measured_four(measured);
  const Four broken = to_four(measured.limits_exceeded);
  const Four most = to_four(shown);
  Four out = {-1, -1, -1, -1};
  for (std::size_t i = 0; i < 4; ++i) {
    if (!labelled(i)) continue;
    if (broken[i] > -1) {
      out[i] = predictors_[i]->predict(std::max(used[i], broken[i]), random);
    } else {
      out[i] = predictors_[i]->predict(most[i], random);
      if (predictors_[i]->sampling()) out[i] = std::max(out[i], predictors_[i]->default_value());
    }
  }
  return from_four(out);
}

BucketPredictor* Category::predictor(std::size_t resource) { return predictors_[resource].get(); }

}  // namespace taskmill::manager
