#include "manager/analysis/core/event_set.hpp"

#include <algorithm>

namespace taskmill::manager::analysis {
namespace {

// First range of `ranges` that ends behind `position`.
EventSet::Ranges::const_iterator first_ending_behind(const EventSet::Ranges& ranges, std::uint64_t position) {
  return std::upper_bound(ranges.begin(), ranges.end(), position,
                          [](std::uint64_t p, const EventRange& range) { return p < range.last; });
}

bool overlaps_range(const EventSet::Ranges& ranges, const EventRange& range) {
  const auto next = first_ending_behind(ranges, range.first);
  return next != ranges.end() && next->first < range.last;
}

void insert_joined(EventSet::Ranges& ranges, EventRange range) {
  auto at = ranges.begin() + (first_ending_behind(ranges, range.first) - ranges.cbegin());
  if (at != ranges.begin() && std::prev(at)->last == range.first) {
    --at;
    at->last = range.last;
  } else {
    at = ranges.insert(at, range);
  }
  const auto next = std::next(at);
  if (next != ranges.end() && next->first == at->last) {
    at->last = next->last;
    ranges.erase(next);
  }
}

}  // namespace

bool EventSet::add(std::uint32_t file, EventRange range) {
  if (range.first >= range.last) return false;
  auto& ranges = files_[file];
  if (overlaps_range(ranges, range)) return false;
  insert_joined(ranges, range);
  count_ += range.count();
  return true;
}

bool EventSet::overlaps(const EventSet& other) const {
  for (const auto& [file, ranges] : other.files_) {
    const auto mine = files_.find(file);
    if (mine == files_.end()) continue;
    for (const auto& range : ranges) {
      if (overlaps_range(mine->second, range)) return true;
    }
  }
  return false;
}

bool EventSet::merge(const EventSet& other) {
  if (overlaps(other)) return false;
  for (const auto& [file, ranges] : other.files_) {
    auto& mine = files_[file];
    for (const auto& range : ranges) insert_joined(mine, range);
  }
  count_ += other.count_;
  return true;
}

EventSet::Ranges EventSet::missing(std::uint32_t file, std::uint64_t total) const {
  Ranges gaps;
  std::uint64_t position = 0;
  if (const auto found = files_.find(file); found != files_.end()) {
    for (const auto& range : found->second) {
      if (range.first >= total) break;
      if (range.first > position) gaps.push_back({position, range.first});
      position = range.last;
    }
  }
  if (position < total) gaps.push_back({position, total});
  return gaps;
}

}  // namespace taskmill::manager::analysis
