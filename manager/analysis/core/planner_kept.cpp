// Partial results that lie only where they were made: merged there as soon as there are enough, and fetched to the
// manager when one is left of each location.
#include <algorithm>
#include <utility>

#include "manager/analysis/core/planner.hpp"

namespace taskmill::manager::analysis {

// A location that has a whole merge together, or, when no more chunks come, whatever it has.
std::optional<WorkItem> Planner::next_merge_in_place(std::uint32_t index) {
  Group& group = groups_[index];
  if (stopping_ || group.kept.empty()) return std::nullopt;
  std::optional<std::uint32_t> place;
  while (!place && !group.ripe.empty()) {
    const auto at = group.kept.find(group.ripe.back());
    group.ripe.pop_back();
    if (at != group.kept.end() && at->second.size() >= settings_.treereduction) place = at->first;
  }
  if (!place && group.open_files == 0) {
    for (const auto& [location, queue] : group.kept) {
      if (queue.size() < 2 || group.merges_at.contains(location)) continue;
      place = location;
      break;
    }
  }
  if (!place) return std::nullopt;
  Active active;
  active.item.kind = ItemKind::accumulate;
  active.item.group = index;
  active.item.place = *place;
  auto& queue = group.kept.at(*place);
  while (!queue.empty() && active.item.inputs.size() < settings_.treereduction) {
    active.item.inputs.push_back(queue.front());
    partials_.at(queue.front()).merging = true;
    queue.pop_front();
  }
  if (queue.size() >= settings_.treereduction) group.ripe.push_back(*place);
  if (queue.empty()) group.kept.erase(*place);
  begin_merge(active.item);
  return start(std::move(active));
}

void Planner::begin_merge(const WorkItem& item) {
  Group& group = groups_[item.group];
  ++group.merges_in_flight;
  if (item.place != 0) ++group.merges_at[item.place];
}

void Planner::end_merge(const WorkItem& item) {
  Group& group = groups_[item.group];
  --group.merges_in_flight;
  if (item.place != 0 && --group.merges_at.at(item.place) == 0) group.merges_at.erase(item.place);
}

std::vector<PartialId> Planner::take_fetches() {
  std::vector<PartialId> wanted;
  for (auto& group : groups_) {
    for (const auto id : std::exchange(group.stuck_kept, {})) wanted.push_back(id);
    if (!stopping_ && group.open_files > 0) continue;
    for (auto at = group.kept.begin(); at != group.kept.end();) {
      const bool alone = at->second.size() == 1 && !group.merges_at.contains(at->first);
      if (!stopping_ && !alone) {
        ++at;
        continue;
      }
      wanted.insert(wanted.end(), at->second.begin(), at->second.end());
      at = group.kept.erase(at);
    }
  }
  for (const auto id : wanted) {
    Partial& partial = partials_.at(id);
    partial.fetching = true;
    ++groups_[partial.group].fetching;
  }
  return wanted;
}

void Planner::on_partial_fetched(PartialId id) {
  const auto found = partials_.find(id);
  if (found == partials_.end() || !found->second.fetching) return;
  Partial& partial = found->second;
  partial.fetching = partial.kept = false;
  --groups_[partial.group].fetching;
  if (!partial.stuck) offer(id);
}

// Out of whatever queue it is in.
void Planner::withdraw(PartialId id, const Partial& partial) {
  Group& group = groups_[partial.group];
  if (partial.fetching) {
    --group.fetching;
    return;
  }
  if (partial.merging) return;
  if (partial.stuck) {
    std::erase(group.stuck_kept, id);
    return;
  }
  auto& queues = partial.kept ? group.kept : group.waiting;
  auto& queue = queues[partial.location];
  std::erase(queue, id);
  if (!partial.kept) --group.waiting_count;
  if (queue.empty()) queues.erase(partial.location);
}

void Planner::give_up_kept() {
  std::vector<PartialId> kept;
  for (const auto& [id, partial] : partials_) {
    if (partial.kept) kept.push_back(id);
  }
  stop_submitting();
  for (const auto id : kept) on_partial_lost(id);
}

}  // namespace taskmill::manager::analysis
