#include "common/measure/core/time_line.hpp"

#include <algorithm>

namespace taskmill::measure {

TimeLine::TimeLine(std::size_t points, Duration resolution)
    : limit_(std::max<std::size_t>(points, 2)), resolution_us_(std::max<std::int64_t>(resolution.count(), 1)) {
  pieces_.reserve(limit_);
}

void TimeLine::add(Duration until, Duration cpu, std::int64_t memory, std::int64_t disk, std::int32_t processes) {
  const std::int64_t end = std::max<std::int64_t>(until.count(), pieces_.empty() ? 0 : pieces_.back().until_us);
  const std::int64_t used = std::max<std::int64_t>(cpu.count() - cpu_total_us_, 0);
  cpu_total_us_ = std::max(cpu_total_us_, cpu.count());
  const auto begin_of_last = pieces_.size() < 2 ? 0 : pieces_[pieces_.size() - 2].until_us;
  const bool extend = !pieces_.empty() && pieces_.back().until_us - begin_of_last < resolution_us_;
  if (!extend) {
    if (pieces_.size() >= limit_) halve();
    pieces_.push_back({});
  }
  auto& piece = pieces_.back();
  piece.until_us = end;
  piece.cpu_us += used;
  piece.memory = std::max(piece.memory, memory);
  piece.disk = std::max(piece.disk, disk);
  piece.processes = std::max(piece.processes, processes);
}

void TimeLine::Piece::take(const Piece& next) {
  until_us = next.until_us;
  cpu_us += next.cpu_us;
  memory = std::max(memory, next.memory);
  disk = std::max(disk, next.disk);
  processes = std::max(processes, next.processes);
}

void TimeLine::halve() {
  std::size_t out = 0;
  for (std::size_t i = 0; i < pieces_.size(); ++out) {
    auto merged = pieces_[i++];
    if (i < pieces_.size()) merged.take(pieces_[i++]);
    pieces_[out] = merged;
  }
  pieces_.resize(out);
  resolution_us_ *= 2;
}

std::vector<TimePoint> TimeLine::points() const {
  auto pieces = pieces_;
  // The end may come a moment after a sample: the rate of so short a piece would say nothing.
  while (pieces.size() > 1 && pieces.back().until_us - pieces[pieces.size() - 2].until_us < resolution_us_) {
    const auto last = pieces.back();
    pieces.pop_back();
    pieces.back().take(last);
  }
  std::vector<TimePoint> out;
  out.reserve(pieces.size());
  std::int64_t begin = 0;
  for (const auto& piece : pieces) {
    const auto length = piece.until_us - begin;
    const double cores = length > 0 ? static_cast<double>(piece.cpu_us) / static_cast<double>(length) : 0;
    out.push_back({piece.until_us, cores, piece.memory, piece.disk, piece.processes});
    begin = piece.until_us;
  }
  return out;
}

}  // namespace taskmill::measure
