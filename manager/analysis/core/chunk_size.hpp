// How many events the next chunk should hold.
//
// Fixed: the configured chunk size. Dynamic: wall time and memory of a chunk are modelled as a + b * events by
// least squares with exponential forgetting (recent chunks count more: 0.98 per chunk); the size is the largest
// power of two whose predicted time and memory stay within the targets. Until five chunks with at least two
// different sizes are known the configured size is used, alternating with its half so that the fit has something
// to hold on to (Coffea's executor does the same). A chunk that exhausts its memory
// lowers the ceiling to half of it at once; twenty chunks that fit at the ceiling raise it again (one outlier must not
// keep chunks small for ever).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace taskmill::manager::analysis {

struct ChunkTargets {
  std::optional<double> wall_time_s;
  std::optional<double> memory_mb;
};

class LineFit {
 public:
  void add(double x, double y);
  /// Largest x with a + b*x <= y; nullopt while there are too few points.
  [[nodiscard]] std::optional<double> solve(double y) const;
  /// The x at which b*x equals the fixed part a: below it most of the cost is overhead. nullopt as solve(), or without
  /// a fixed part.
  [[nodiscard]] std::optional<double> balance() const;
  /// a + b*x, or what proportion says; nullopt while there are too few points.
  [[nodiscard]] std::optional<double> predict(double x) const;
  [[nodiscard]] int points() const { return points_; }

 private:
  struct Line {
    double offset = 0, slope = 0;
  };
  [[nodiscard]] std::optional<Line> line() const;
  double n_ = 0, sum_x_ = 0, sum_y_ = 0, sum_xx_ = 0, sum_xy_ = 0;
  int points_ = 0;
};

/// What a worker has left before it leaves by itself.
struct WorkerLife {
  std::optional<double> left_s;  ///< nullopt: it has no end
  double cores = 1;
};
/// The life time that chunks should fit into: nine tenths of the cores belong to workers with this much left or more.
/// Chunks get no smaller for the few that are about to leave; those get none that they cannot finish. nullopt: no
/// limit.
std::optional<double> life_to_plan_for(std::vector<WorkerLife> workers);

class ChunkSizer {
 public:
  ChunkSizer(std::uint64_t initial, std::optional<ChunkTargets> dynamic);

  /// Size for the next chunk (>= 1). Each call may alternate to keep the fit informed.
  std::uint64_t next();
  /// The size aimed at, without alternation.
  [[nodiscard]] std::uint64_t current() const;
  /// Below this size the fixed cost of a chunk is more than three quarters of its time; 1 while that is not known.
  [[nodiscard]] std::uint64_t least_useful() const;
  void on_done(std::uint64_t events, double wall_time_s, double memory_mb);
  void on_exhausted(std::uint64_t events);
  /// How long a chunk of this many events will take; nullopt while nothing is known.
  [[nodiscard]] std::optional<double> expected_s(std::uint64_t events) const {
    return time_.predict(static_cast<double>(events));
  }
  /// Remaining life time of workers (life_to_plan_for): a chunk should take no more than half of it.
  void limit_time(std::optional<double> seconds) { life_limit_s_ = seconds; }
  [[nodiscard]] bool is_dynamic() const { return dynamic_.has_value(); }

 private:
  std::uint64_t initial_;
  std::optional<ChunkTargets> dynamic_;
  std::optional<double> life_limit_s_;
  LineFit time_, memory_;
  std::uint64_t ceiling_;
  int done_at_ceiling_ = 0;
  std::uint64_t sizes_seen_low_ = 0, sizes_seen_high_ = 0;
  bool halve_next_ = false;
};

}  // namespace taskmill::manager::analysis
