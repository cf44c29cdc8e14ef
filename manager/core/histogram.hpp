// How often a measured amount fell into which bucket, and how long those attempts took (manager.md 10.1, 10.4).
//
// Buckets are half-open intervals (low, high], named by the upper end; 0 has its own. From them the first
// allocation of one resource is computed. Values and times are kept as sums per bucket: memory does not grow
// with the number of tasks.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace taskmill::manager {

class Histogram {
 public:
  explicit Histogram(double bucket_size) : size_(bucket_size) {}
  /// Smallest multiple of the bucket size that is not below `value`.
  [[nodiscard]] double round_up(double value) const;
  void add(double value, double wall_time_s);  ///< negative value or time: ignored
  [[nodiscard]] bool empty() const { return buckets_.empty(); }
  [[nodiscard]] double largest() const { return largest_; }  ///< 0 when empty
  [[nodiscard]] std::int64_t count() const { return count_; }

  // The three rules of 10.4. `maximum` is a_m, already truncated; negative: not known, the answer is -1.
  [[nodiscard]] double min_waste(double maximum) const;
  [[nodiscard]] double max_throughput(double maximum) const;
  /// `limit`: the smaller of explicit maximum and largest worker, where given.
  [[nodiscard]] double max_seen(std::optional<double> limit) const;

  struct Bucket {
    double upper = 0;
    std::int64_t count = 0;
    double time_s = 0;
  };
  [[nodiscard]] const std::vector<Bucket>& buckets() const { return buckets_; }
  [[nodiscard]] double bucket_size() const { return size_; }

 private:
  template <class Better>
  double choose(double maximum, Better score) const;
  double size_;
  std::vector<Bucket> buckets_;  ///< by upper end
  double largest_ = 0, time_s_ = 0;
  std::int64_t count_ = 0;
};

}  // namespace taskmill::manager
