// Which events of which files something holds: the accounting behind "each event exactly once".
//
// Per file a sorted list of disjoint half-open ranges [first, last); neighbours are joined. add() and merge()
// refuse any overlap, so a retried or replicated chunk can never be counted twice without being noticed. The
// ranges of all partial results of a run are disjoint, so together they cost at most one entry per chunk.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace taskmill::manager::analysis {

struct EventRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  ///< one behind the last event
  [[nodiscard]] std::uint64_t count() const { return last - first; }
  auto operator<=>(const EventRange&) const = default;
};

class EventSet {
 public:
  using Ranges = std::vector<EventRange>;

  /// False, and nothing changed, when the range is empty or overlaps what is there.
  [[nodiscard]] bool add(std::uint32_t file, EventRange range);
  /// False, and nothing changed, when anything overlaps.
  [[nodiscard]] bool merge(const EventSet& other);
  [[nodiscard]] bool overlaps(const EventSet& other) const;
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  /// Events of [0, total) of `file` that are not here.
  [[nodiscard]] Ranges missing(std::uint32_t file, std::uint64_t total) const;
  [[nodiscard]] const std::map<std::uint32_t, Ranges>& files() const { return files_; }
  bool operator==(const EventSet&) const = default;

 private:
  std::map<std::uint32_t, Ranges> files_;
  std::uint64_t count_ = 0;
};

}  // namespace taskmill::manager::analysis
