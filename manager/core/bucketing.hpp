// The bucketing predictors of manager.md 10.7: one per resource and category.
//
// Points are (value, significance) of successful attempts; the n-th point weighs n, so recent ones count more.
// Equal values are kept as one point with the summed weight, and never more than max_points of them (neighbours are
// merged, the larger value survives), so learning costs the same after a million tasks as after a thousand. Buckets are
// rebuilt when a prediction is asked for and enough has changed.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/random.hpp"

namespace taskmill::manager {

enum class BucketingKind : std::uint8_t { greedy, exhaustive, det_greedy, det_exhaustive, quantized };

class BucketPredictor {
 public:
  struct Bucket {
    double value = 0, probability = 0;
  };
  BucketPredictor(BucketingKind kind, double default_value) : kind_(kind), default_(default_value) {}

  void add(double value);
  /// What to give a task that last got (or used) `previous`; negative: it never ran.
  double predict(double previous, Random& random);
  [[nodiscard]] bool sampling() const { return count_ < sampling_points; }
  [[nodiscard]] double default_value() const { return default_; }
  [[nodiscard]] BucketingKind kind() const { return kind_; }
  const std::vector<Bucket>& buckets();  ///< rebuilt if points came since

  static constexpr std::int64_t sampling_points = 10;
  static constexpr int max_buckets = 10;
  static constexpr std::size_t max_points = 1000;

 private:
  struct Point {
    double value = 0, weight = 0;
    std::int64_t count = 0;
  };
  struct Sums {  ///< up to and including a point
    double weight = 0, weighted = 0;
  };
  [[nodiscard]] double grown(double previous) const;
  void rebuild();
  void split(std::size_t low, std::size_t high, std::vector<std::size_t>& breaks) const;
  void rebuild_greedy();
  void rebuild_exhaustive();
  void rebuild_quantized();
  void thin_out();
  [[nodiscard]] double weight(std::size_t low, std::size_t high) const;  ///< of points [low, high]
  [[nodiscard]] double weighted(std::size_t low, std::size_t high) const;

  BucketingKind kind_;
  double default_;
  std::int64_t count_ = 0;
  std::int64_t next_rebuild_ = 0;
  std::vector<Point> points_;  ///< by value
  std::vector<Sums> sums_;
  std::vector<Bucket> buckets_;
};

}  // namespace taskmill::manager
