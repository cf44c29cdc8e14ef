#include "manager/analysis/core/chunk_size.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace taskmill::manager::analysis {
namespace {

constexpr double forgetting = 0.98;
constexpr int points_needed = 5;
constexpr double min_spread = 1e-3;        // variance over mean square below which a line is not trusted
constexpr int ceiling_patience = 20;       // chunks that fit at the ceiling before it is raised again
constexpr double left_aside = 0.1;         // share of the cores whose workers may be about to leave
constexpr std::uint64_t growth_limit = 4;  // of one step beyond the largest size ever measured

}  // namespace

void LineFit::add(double x, double y) {
  n_ = n_ * forgetting + 1;
  sum_x_ = sum_x_ * forgetting + x;
  sum_y_ = sum_y_ * forgetting + y;
  sum_xx_ = sum_xx_ * forgetting + x * x;
  sum_xy_ = sum_xy_ * forgetting + x * y;
  ++points_;
}

// Nothing when sizes are nearly alike, or the cost falls with the size (its nature changed on the way).
std::optional<LineFit::Line> LineFit::line() const {
  if (points_ < points_needed || sum_x_ <= 0 || sum_y_ <= 0) return std::nullopt;
  const double spread = n_ * sum_xx_ - sum_x_ * sum_x_;
  if (spread < min_spread * n_ * sum_xx_) return std::nullopt;
  const double slope = (n_ * sum_xy_ - sum_x_ * sum_y_) / spread;
  if (slope <= 0) return std::nullopt;
  return Line{(sum_y_ - slope * sum_x_) / n_, slope};
}

std::optional<double> LineFit::solve(double y) const {
  if (points_ < points_needed || sum_x_ <= 0 || sum_y_ <= 0) return std::nullopt;
  const auto fit = line();
  if (!fit) return y * sum_x_ / sum_y_;  // proportion is the only statement that can be made
  return (y - fit->offset) / fit->slope;
}

std::optional<double> LineFit::predict(double x) const {
  if (points_ < points_needed || sum_x_ <= 0 || sum_y_ <= 0) return std::nullopt;
  const auto fit = line();
  if (!fit) return x * sum_y_ / sum_x_;
  return std::max(fit->offset + fit->slope * x, 0.0);
}

std::optional<double> LineFit::balance() const {
  const auto fit = line();
  if (!fit || fit->offset <= 0) return std::nullopt;
  return fit->offset / fit->slope;
}

std::optional<double> life_to_plan_for(std::vector<WorkerLife> workers) {
  const auto life = [](const WorkerLife& worker) {
    return worker.left_s ? std::max(*worker.left_s, 0.0) : std::numeric_limits<double>::infinity();
  };
  std::sort(workers.begin(), workers.end(), [&](const auto& a, const auto& b) { return life(a) < life(b); });
  double cores = 0;
  for (const auto& worker : workers) cores += worker.cores;
  double passed = 0;
  for (const auto& worker : workers) {
    passed += worker.cores;
    if (passed <= cores * left_aside) continue;
    return worker.left_s ? std::optional(life(worker)) : std::nullopt;
  }
  return std::nullopt;
}

ChunkSizer::ChunkSizer(std::uint64_t initial, std::optional<ChunkTargets> dynamic)
    : initial_(std::max<std::uint64_t>(initial, 1)),
      dynamic_(dynamic),
      ceiling_(std::numeric_limits<std::uint64_t>::max()) {}

std::uint64_t ChunkSizer::current() const {
  if (!dynamic_) return std::min(initial_, ceiling_);
  double size = std::numeric_limits<double>::infinity();
  bool known = false;
  auto target_time = dynamic_->wall_time_s;
  if (life_limit_s_) target_time = std::min(target_time.value_or(*life_limit_s_ / 2), *life_limit_s_ / 2);
  if (target_time) {
    if (const auto n = time_.solve(*target_time)) {
      // A target below the fixed cost of a task cannot be met: then a chunk takes as long as its overhead, not less.
      size = std::min(size, std::max(*n, time_.balance().value_or(0)));
      known = true;
    }
  }
  if (dynamic_->memory_mb) {
    if (const auto n = memory_.solve(*dynamic_->memory_mb)) {
      size = std::min(size, *n);
      known = true;
    }
  }
  if (!known) return std::min(initial_, ceiling_);
  const auto most = std::max(sizes_seen_high_, std::uint64_t{1}) * growth_limit;
  const auto least = std::max<std::uint64_t>(sizes_seen_low_ / growth_limit, 1);
  const auto wanted =
      static_cast<std::uint64_t>(std::clamp(size, static_cast<double>(least), static_cast<double>(most)));
  return std::min(std::bit_floor(wanted), ceiling_);
}

std::uint64_t ChunkSizer::next() {
  const auto size = current();
  if (!dynamic_ || size < 2) return size;
  halve_next_ = !halve_next_;
  const bool uninformed = sizes_seen_low_ == sizes_seen_high_ || time_.points() < points_needed;
  return uninformed && halve_next_ ? size / 2 : size;
}

std::uint64_t ChunkSizer::least_useful() const {
  return std::max<std::uint64_t>(static_cast<std::uint64_t>(time_.balance().value_or(0) / 3), 1);
}

void ChunkSizer::on_done(std::uint64_t events, double wall_time_s, double memory_mb) {
  if (events == 0) return;
  sizes_seen_low_ = sizes_seen_low_ == 0 ? events : std::min(sizes_seen_low_, events);
  sizes_seen_high_ = std::max(sizes_seen_high_, events);
  const auto x = static_cast<double>(events);
  if (wall_time_s >= 0) time_.add(x, wall_time_s);
  if (memory_mb >= 0) memory_.add(x, memory_mb);
  if (events >= ceiling_ && ++done_at_ceiling_ >= ceiling_patience) {
    done_at_ceiling_ = 0;
    ceiling_ *= 2;
  }
}

void ChunkSizer::on_exhausted(std::uint64_t events) {
  done_at_ceiling_ = 0;
  if (dynamic_) ceiling_ = std::min(ceiling_, std::max<std::uint64_t>(events / 2, 1));
}

}  // namespace taskmill::manager::analysis
