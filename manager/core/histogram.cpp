#include "manager/core/histogram.hpp"

#include <algorithm>
#include <cmath>

namespace taskmill::manager {

double Histogram::round_up(double value) const { return std::ceil(value / size_) * size_; }

void Histogram::add(double value, double wall_time_s) {
  if (value < 0 || wall_time_s < 0) return;
  const double upper = round_up(value);
  auto at = std::lower_bound(buckets_.begin(), buckets_.end(), upper,
                             [](const Bucket& bucket, double key) { return bucket.upper < key; });
  if (at == buckets_.end() || at->upper != upper) at = buckets_.insert(at, Bucket{upper, 0, 0});
  ++at->count;
  at->time_s += wall_time_s;
  ++count_;
  time_s_ += wall_time_s;
  largest_ = std::max(largest_, value);
}

// Walks the buckets upwards with F (tasks that fit) and T (time of those that do not, per task). The score is to be
// minimised; the first one wins ties.
template <class Score>
double Histogram::choose(double maximum, Score score) const {
  if (maximum < 0 || buckets_.empty()) return -1;
  const auto total = static_cast<double>(count_);
  double best = -1;
  double best_score = 0;
  double fitting = 0;
  double fitting_time = 0;
  for (const Bucket& bucket : buckets_) {
    fitting += static_cast<double>(bucket.count);
    fitting_time += bucket.time_s;
    if (bucket.upper < 1) continue;
    const double overflow = std::max(0.0, time_s_ - fitting_time) / total;
    const double value = score(bucket.upper, fitting, overflow);
    if (best < 0 || value < best_score) {
      best = bucket.upper;
      best_score = value;
    }
  }
  if (best < 0) return 0;
  return round_up(std::min(best, maximum));
}

double Histogram::min_waste(double maximum) const {
  const double tau = count_ > 0 ? time_s_ / static_cast<double>(count_) : 0;
  return choose(maximum, [&](double k, double, double overflow) { return k * tau + maximum * overflow; });
}

double Histogram::max_throughput(double maximum) const {
  const auto total = static_cast<double>(count_);
  const double tau = count_ > 0 ? time_s_ / total : 0;
  return choose(maximum, [&](double k, double fitting, double overflow) {
    // Attempts of no length say nothing about throughput; count them as equal to keep the ratio finite.
    const double time = std::max(tau + overflow, 1e-9);
    return -(fitting * maximum / k + (total - fitting)) / time;
  });
}

double Histogram::max_seen(std::optional<double> limit) const {
  if (buckets_.empty()) return -1;
  const double value = round_up(largest_ + std::floor(size_ / 3));
  return limit ? std::min(value, *limit) : value;
}

}  // namespace taskmill::manager
