#include "manager/core/bucketing.hpp"

#include <algorithm>
#include <cmath>

namespace taskmill::manager {

void BucketPredictor::add(double value) {
  if (value < 0) return;
  ++count_;
  const auto significance = static_cast<double>(count_);
  auto at = std::lower_bound(points_.begin(), points_.end(), value,
                             [](const Point& point, double key) { return point.value < key; });
  if (at != points_.end() && at->value == value) {
    at->weight += significance;
    ++at->count;
  } else {
    points_.insert(at, Point{value, significance, 1});
    if (points_.size() > max_points) thin_out();
  }
}

// Halves the points by merging neighbours; the upper value of a pair stays, so that no prediction gets too small.
void BucketPredictor::thin_out() {
  std::size_t out = 0;
  for (std::size_t i = 0; i < points_.size(); i += 2) {
    Point merged = points_[i];
    if (i + 1 < points_.size()) {
      const Point& next = points_[i + 1];
      merged = {next.value, merged.weight + next.weight, merged.count + next.count};
    }
    points_[out++] = merged;
  }
  points_.resize(out);
}

double BucketPredictor::grown(double previous) const {
  if (previous <= 0 || default_ <= 0) return default_ > 0 ? default_ : std::max(previous, 0.0);
  return default_ * std::exp2(std::floor(std::log2(previous / default_)) + 1);
}

double BucketPredictor::predict(double previous, Random& random) {
  if (sampling()) return previous <= 0 ? default_ : grown(previous);
  rebuild();
  const bool deterministic = kind_ == BucketingKind::det_greedy || kind_ == BucketingKind::det_exhaustive;
  const double draw = deterministic ? 0 : random.uniform();
  double rest = 1;
  double passed = 0;
  for (std::size_t i = 0; i + 1 < buckets_.size(); ++i) {
    const Bucket& bucket = buckets_[i];
    if (bucket.value <= previous) {
      rest -= bucket.probability;
      continue;
    }
    if (deterministic) return bucket.value;
    passed += bucket.probability;
    if (rest > 0 && passed / rest > draw) return bucket.value;
  }
  return buckets_.back().value <= previous ? grown(previous) : buckets_.back().value;
}

const std::vector<BucketPredictor::Bucket>& BucketPredictor::buckets() {
  next_rebuild_ = 0;
  rebuild();
  return buckets_;
}

double BucketPredictor::weight(std::size_t low, std::size_t high) const {
  return sums_[high].weight - (low > 0 ? sums_[low - 1].weight : 0);
}

double BucketPredictor::weighted(std::size_t low, std::size_t high) const {
  return sums_[high].weighted - (low > 0 ? sums_[low - 1].weighted : 0);
}

void BucketPredictor::rebuild() {
  if (points_.empty() || count_ < next_rebuild_) return;
  // Every point at first, then each time one percent is new.
  next_rebuild_ = count_ + 1 + count_ / 100;
  sums_.clear();
  Sums sum;
  for (const Point& point : points_) {
    sum.weight += point.weight;
    sum.weighted += point.weight * point.value;
    sums_.push_back(sum);
  }
  buckets_.clear();
  switch (kind_) {
    case BucketingKind::greedy:
    case BucketingKind::det_greedy:
      rebuild_greedy();
      break;
    case BucketingKind::exhaustive:
    case BucketingKind::det_exhaustive:
      rebuild_exhaustive();
      break;
    case BucketingKind::quantized:
      rebuild_quantized();
      break;
  }
}

// One range: the cheapest last point of a low part; at `high` itself means no split. Ranges are worked off from an
// explicit stack: their depth is bounded only by the number of points.
void BucketPredictor::split(std::size_t low, std::size_t high, std::vector<std::size_t>& breaks) const {
  std::vector<std::pair<std::size_t, std::size_t>> todo{{low, high}};
  while (!todo.empty()) {
    const auto [lo, hi] = todo.back();
    todo.pop_back();
    const double total = weight(lo, hi);
    const double top = points_[hi].value;
    double best = 0;
    std::size_t best_at = hi;
    for (std::size_t i = lo; i <= hi; ++i) {
      const double p1 = weight(lo, i) / total;
      const double p2 = 1 - p1;
      const double e1 = weighted(lo, i) / weight(lo, i);
      const double e2 = i < hi ? weighted(i + 1, hi) / weight(i + 1, hi) : 0;
      const double b = points_[i].value;
      const double high_share = i < hi ? p2 : 0;
      const double cost = kind_ == BucketingKind::greedy
                              ? p1 * p1 * (b - e1) + p1 * high_share * (top - e1) + high_share * p1 * (b + top - e2) +
                                    high_share * high_share * (top - e2)
                              : p1 * (b - e1) + high_share * (b + top - e2);
      if (i == lo || cost <= best) {
        best = cost;
        best_at = i;
      }
    }
    if (best_at == hi) continue;
    breaks.push_back(best_at);
    if (hi > best_at + 1) todo.emplace_back(best_at + 1, hi);
    if (best_at > lo) todo.emplace_back(lo, best_at);
  }
}

void BucketPredictor::rebuild_greedy() {
  std::vector<std::size_t> breaks;
  const std::size_t last = points_.size() - 1;
  split(0, last, breaks);
  breaks.push_back(last);
  std::sort(breaks.begin(), breaks.end());
  std::size_t low = 0;
  for (const std::size_t at : breaks) {
    buckets_.push_back({points_[at].value, weight(low, at) / sums_.back().weight});
    low = at + 1;
  }
}

void BucketPredictor::rebuild_exhaustive() {
  const double top = points_.back().value;
  double best_cost = 0;
  for (int n = 1; n <= max_buckets; ++n) {
    std::vector<double> candidates;
    const int steps = top / n >= 1 ? std::max(0, static_cast<int>(std::floor(std::log2(top / n)))) : 0;
    for (int i = 0; i < steps; ++i) candidates.push_back(std::exp2(i));
    for (int i = 1; i <= n; ++i) candidates.push_back(i == n ? top : top * i / n);
    std::vector<Bucket> set;
    std::vector<double> mean;
    std::size_t at = 0;
    for (const double candidate : candidates) {
      const std::size_t low = at;
      while (at < points_.size() && points_[at].value <= candidate) ++at;
      if (at == low) continue;
      set.push_back({points_[at - 1].value, weight(low, at - 1) / sums_.back().weight});
      mean.push_back(weighted(low, at - 1) / weight(low, at - 1));
    }
    double cost = 0;
    const std::size_t m = set.size();
    for (std::size_t i = 0; i < m; ++i) {
      if (kind_ == BucketingKind::det_exhaustive) {
        double spent = 0;
        for (std::size_t k = 0; k <= i; ++k) spent += set[k].value;
        cost += set[i].probability * (spent - mean[i]);
        continue;
      }
      // c(i, j): a task of bucket i that is first given bucket j.
      std::vector<double> c(m, 0);
      double above = 0;           // sum of probabilities above j
      double weighted_above = 0;  // the same times their costs
      for (std::size_t j = m; j-- > 0;) {
        c[j] = j >= i ? set[j].value - mean[i] : set[j].value + (above > 0 ? weighted_above / above : 0);
        above += set[j].probability;
        weighted_above += set[j].probability * c[j];
        cost += set[i].probability * set[j].probability * c[j];
      }
    }
    if (n == 1 || cost < best_cost) {
      best_cost = cost;
      buckets_ = set;
    }
  }
}

void BucketPredictor::rebuild_quantized() { buckets_.push_back({points_.back().value, 1}); }

}  // namespace taskmill::manager
