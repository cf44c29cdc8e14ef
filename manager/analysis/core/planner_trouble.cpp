// What the planner does when something goes wrong: again, smaller, given up, or processed once more because a partial
// result was lost with its worker.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "manager/analysis/core/planner.hpp"

namespace taskmill::manager::analysis {

void Planner::on_failed(ItemId id, std::string reason) {
  for (const auto kind : {ItemKind::preprocess, ItemKind::process, ItemKind::accumulate}) {
    if (auto active = take(id, kind)) return retry_or(std::move(*active), std::move(reason), false);
  }
}

void Planner::on_exhausted(ItemId id, std::string reason) {
  for (const auto kind : {ItemKind::preprocess, ItemKind::process, ItemKind::accumulate}) {
    if (auto active = take(id, kind)) return retry_or(std::move(*active), std::move(reason), true);
  }
}

void Planner::retry_or(Active active, std::string reason, bool exhausted) {
  auto& item = active.item;
  const bool is_chunk = item.kind == ItemKind::process;
  if (exhausted && is_chunk) {
    sizer_.on_exhausted(item.range.count());
    if (settings_.split_on_exhaustion && item.range.count() > 1 && !stopping_) return split_chunk(item);
  }
  const bool useless = exhausted && item.kind != ItemKind::preprocess;  // the same box would burst again
  if (!useless && item.attempt < settings_.retries && !(stopping_ && item.kind != ItemKind::accumulate)) {
    ++item.attempt;
    ++progress_.retries;
    again_.push_back(std::move(active));
    return;
  }
  if (is_chunk) return lose_chunk(item, std::move(reason));
  if (item.kind == ItemKind::accumulate) return give_up_merge(active, std::move(reason));
  --counting_;
  File& file = files_[item.file];
  file.state = FileState::bad;
  if (!settings_.skip_bad_files && !stopping_) failure_ = file.name + " cannot be counted: " + reason;
  losses_.push_back({ItemKind::preprocess, item.file, {}, std::move(reason)});
  check_complete(item.file);
  if (!failure_.empty()) stop_submitting();
}

// Two halves with exact ranges take the place of the chunk; both start with a clean record of attempts.
void Planner::split_chunk(const WorkItem& item) {
  ++progress_.splits;
  ++files_[item.file].open_chunks;
  const auto middle = item.range.first + item.range.count() / 2;
  for (const auto& range : {EventRange{item.range.first, middle}, EventRange{middle, item.range.last}}) {
    Active half;
    half.item = item;
    half.item.range = range;
    half.item.attempt = 0;
    again_.push_back(std::move(half));
  }
}

void Planner::lose_chunk(const WorkItem& item, std::string reason) {
  progress_.events_lost += item.range.count();
  losses_.push_back({ItemKind::process, item.file, item.range, std::move(reason)});
  close_chunk(item.file);
}

// A merge of many inputs that does not work is tried as two smaller ones; a pair stays apart, and nothing is lost.
void Planner::give_up_merge(const Active& active, std::string reason) {
  const auto& inputs = active.item.inputs;
  Group& group = groups_[active.item.group];
  if (!active.place) end_merge(active.item);
  if (!active.place && inputs.size() > 2) {
    const auto middle = inputs.begin() + static_cast<std::ptrdiff_t>(inputs.size() / 2);
    for (const auto& part :
         {std::vector<PartialId>(inputs.begin(), middle), std::vector<PartialId>(middle, inputs.end())}) {
      if (part.size() == 1) {
        partials_.at(part.front()).merging = false;
        offer(part.front());
        continue;
      }
      Active half;
      half.item = active.item;
      half.item.inputs = part;
      half.item.attempt = 0;
      begin_merge(half.item);
      again_.push_back(std::move(half));
    }
    return;
  }
  losses_.push_back({ItemKind::accumulate, 0, {}, std::move(reason)});
  for (const auto input : inputs) {
    partials_.at(input).merging = false;
    partials_.at(input).stuck = true;
    if (partials_.at(input).kept) group.stuck_kept.push_back(input);
  }
}

void Planner::on_partial_lost(PartialId id) {
  const auto found = partials_.find(id);
  if (found == partials_.end()) return;
  TASKMILL_ASSERT(!settings_.deterministic);  // ordered runs keep every partial result at the manager
  const Partial lost = std::move(found->second);
  partials_.erase(found);
  Group& group = groups_[lost.group];
  withdraw(id, lost);
  EventSet rest;
  for (const auto& [index, ranges] : processed_.files()) {
    for (const auto& range : ranges) {
      std::uint64_t position = range.first;
      const auto gone = lost.events.files().find(index);
      if (gone != lost.events.files().end()) {
        for (const auto& hole : gone->second) {
          if (hole.last <= range.first || hole.first >= range.last) continue;
          if (hole.first > position) (void)rest.add(index, {position, hole.first});
          position = hole.last;
        }
      }
      if (position < range.last) (void)rest.add(index, {position, range.last});
    }
  }
  processed_ = std::move(rest);
  progress_.events_processed -= lost.events.count();
  progress_.events_submitted -= lost.events.count();
  for (const auto& [index, ranges] : lost.events.files()) {
    File& file = files_[index];
    for (const auto& range : ranges) file.redo.push_back(range);
    if (file.complete) {
      file.complete = false;
      ++group.open_files;
    }
    if (file.state == FileState::exhausted && !stopping_) {
      file.state = FileState::ready;
      ready_files_.push_back(index);
    } else if (stopping_) {
      file.redo.clear();
      check_complete(index);
    }
  }
  if (lost.merging) cancel_merge_of(id, lost.group);
}

// A merge that was to read a lost partial result cannot succeed: its other inputs wait for another one.
void Planner::cancel_merge_of(PartialId id, std::uint32_t group) {
  const auto reads_it = [id](const Active& active) {
    const auto& inputs = active.item.inputs;
    return std::find(inputs.begin(), inputs.end(), id) != inputs.end();
  };
  WorkItem item;
  if (const auto running =
          std::find_if(active_.begin(), active_.end(), [&](const auto& entry) { return reads_it(entry.second); });
      running != active_.end()) {
    item = std::move(running->second.item);
    active_.erase(running);
    --progress_.in_flight;
  } else if (const auto queued = std::find_if(again_.begin(), again_.end(), reads_it); queued != again_.end()) {
    item = std::move(queued->item);
    again_.erase(queued);
  }
  for (const auto input : item.inputs) {
    if (input == id) continue;
    partials_.at(input).merging = false;
    offer(input);
  }
  item.group = group;
  end_merge(item);
}

}  // namespace taskmill::manager::analysis
