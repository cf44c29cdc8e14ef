#include "manager/analysis/core/planner.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/base/assert.hpp"

namespace taskmill::manager::analysis {
namespace {

constexpr std::uint64_t counting_ahead = 64;  // files being counted at once while chunks are at hand
constexpr double tail_tolerance = 1.25;       // a rest of up to this many chunks is taken as one
constexpr std::uint64_t end_shares = 2;       // what is left is cut into this many chunks per place at least

}  // namespace

Planner::Planner(PlannerSettings settings)
    : settings_(settings), sizer_(settings.chunksize, settings.dynamic_chunksize) {
  settings_.treereduction = std::max<std::uint32_t>(settings_.treereduction, 2);
}

// --- what there is to do ---

std::uint32_t Planner::add_dataset(std::string name) {
  datasets_.push_back({std::move(name), 0});
  if (groups_.empty() || settings_.result_per_dataset) groups_.emplace_back();
  return static_cast<std::uint32_t>(datasets_.size() - 1);
}

std::uint32_t Planner::group_of_file(std::uint32_t file) const {
  return settings_.result_per_dataset ? files_[file].dataset : 0;
}

std::uint32_t Planner::add_file(std::uint32_t dataset, std::string name, std::optional<std::uint64_t> events) {
  const auto index = static_cast<std::uint32_t>(files_.size());
  File file;
  file.name = std::move(name);
  file.dataset = dataset;
  files_.push_back(std::move(file));
  Group& group = groups_[group_of_file(index)];
  files_[index].slot = group.slots++;
  ++group.open_files;
  ++progress_.files_total;
  if (events) set_events(index, *events);
  return index;
}

bool Planner::restore(std::uint32_t group, EventSet events, PartialId& id) {
  const bool is_chunk = events.files().size() == 1 && events.files().begin()->second.size() == 1;
  if (begun_ || group >= groups_.size() || (settings_.deterministic && !is_chunk)) return false;
  for (const auto& [index, ranges] : events.files()) {
    const auto& known = files_[index].events;
    if (group_of_file(index) != group || (known && ranges.back().last > *known)) return false;
  }
  if (!processed_.merge(events)) return false;
  for (const auto& [index, ranges] : events.files()) {
    File& file = files_[index];
    if (!file.events) continue;
    file.todo.clear();
    for (const auto& gap : processed_.missing(index, *file.events)) file.todo.push_back(gap);
  }
  progress_.events_processed += events.count();
  progress_.events_submitted += events.count();
  const auto [index, ranges] = *events.files().begin();
  datasets_[files_[index].dataset].chunks_made += (events.count() + settings_.chunksize - 1) / settings_.chunksize;
  id = store(std::move(events), group, 0, false);
  if (settings_.deterministic) files_[index].leaves.emplace(ranges.front().first, id);
  return true;
}

void Planner::set_events(std::uint32_t index, std::uint64_t events) {
  File& file = files_[index];
  file.events = events;
  file.state = FileState::ready;
  ++progress_.files_counted;
  progress_.events_known += events;
  for (const auto& gap : processed_.missing(index, events)) file.todo.push_back(gap);
  const auto size = std::max<std::uint64_t>(sizer_.current(), 1);
  const auto chunks = std::max<std::uint64_t>((events + size - 1) / size, 1);
  file.even_chunk = std::max<std::uint64_t>((events + chunks - 1) / chunks, 1);
  ready_files_.push_back(index);
}

// First call of next(): trees of the deterministic mode need the final number of files.
void Planner::begin() {
  if (begun_) return;
  begun_ = true;
  for (auto& group : groups_) {
    if (settings_.deterministic) group.tree = Tree(group.slots, settings_.treereduction);
  }
}

// --- choosing ---

std::optional<WorkItem> Planner::next() {
  begin();
  if (auto item = next_waiting()) return item;
  if (stopping_) return std::nullopt;
  // Counting runs ahead of cutting, but not so far that no chunk is processed before all files are counted.
  if (ready_files_.size() + counting_ < counting_ahead || ready_files_.empty()) {
    if (auto item = next_count()) return item;
  }
  if (auto item = next_chunk()) return item;
  return next_waiting();  // the last file may just have turned out to be complete
}

std::optional<WorkItem> Planner::next_waiting() {
  if (again_.empty()) return next_accumulation();
  Active active = std::move(again_.front());
  again_.pop_front();
  return start(std::move(active));
}

WorkItem Planner::start(Active active) {
  active.item.id = ItemId(next_item_++);
  ++progress_.in_flight;
  const WorkItem item = active.item;
  active_.emplace(item.id.value(), std::move(active));
  return item;
}

std::optional<WorkItem> Planner::next_accumulation() {
  if (settings_.deterministic) return std::nullopt;  // ordered merges are planned as their inputs settle
  for (std::uint32_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    const bool over = group.open_files == 0;
    const bool full = group.waiting_count >= settings_.treereduction;
    if (auto item = next_merge_in_place(g)) return item;
    const bool settled = group.merges_in_flight == 0 && group.kept.empty() && group.fetching == 0;
    const bool last = over && group.waiting_count >= 2 && settled;
    if (!full && !last) continue;
    Active active;
    active.item.kind = ItemKind::accumulate;
    active.item.group = g;
    active.item.inputs = take_inputs(group);
    begin_merge(active.item);
    return start(std::move(active));
  }
  return std::nullopt;
}

// Partial results that lie at the same place go first, so that what is merged next need not travel.
std::vector<PartialId> Planner::take_inputs(Group& group) {
  std::vector<PartialId> inputs;
  while (inputs.size() < settings_.treereduction && group.waiting_count > 0) {
    const auto fullest = std::max_element(group.waiting.begin(), group.waiting.end(), [](const auto& a, const auto& b) {
      return a.second.size() < b.second.size();
    });
    auto& queue = fullest->second;
    while (!queue.empty() && inputs.size() < settings_.treereduction) {
      inputs.push_back(queue.front());
      partials_.at(queue.front()).merging = true;
      queue.pop_front();
      --group.waiting_count;
    }
    if (queue.empty()) group.waiting.erase(fullest);
  }
  return inputs;
}

std::optional<WorkItem> Planner::next_chunk() {
  while (!ready_files_.empty()) {
    const auto file = ready_files_.front();
    if (const auto range = cut(file)) {
      Active active;
      active.item.kind = ItemKind::process;
      active.item.file = file;
      active.item.range = *range;
      active.item.group = group_of_file(file);
      progress_.events_submitted += range->count();
      return start(std::move(active));
    }
    files_[file].state = FileState::exhausted;
    ready_files_.pop_front();
    check_complete(file);
  }
  return std::nullopt;
}

std::optional<EventRange> Planner::cut(std::uint32_t index) {
  File& file = files_[index];
  Dataset& dataset = datasets_[file.dataset];
  if (file.redo.empty() && settings_.maxchunks && dataset.chunks_made >= *settings_.maxchunks) {
    file.todo.clear();
    return std::nullopt;
  }
  auto& ranges = file.redo.empty() ? file.todo : file.redo;
  if (ranges.empty()) return std::nullopt;
  EventRange& front = ranges.front();
  std::uint64_t size = file.even_chunk;
  if (sizer_.is_dynamic()) {
    size = dynamic_size();
    if (static_cast<double>(front.count()) <= static_cast<double>(size) * tail_tolerance) size = front.count();
  }
  const EventRange range{front.first, front.first + std::min(size, front.count())};
  front.first = range.last;
  ++file.open_chunks;
  if (&ranges == &file.todo) ++dataset.chunks_made;
  if (front.first == front.last) ranges.pop_front();
  return range;
}

// Towards the end a chunk is no more than a share of what is left, but not so small that its fixed cost dominates.
// Files that are not counted yet are taken to be like the others.
std::uint64_t Planner::dynamic_size() {
  const auto size = std::max<std::uint64_t>(sizer_.next(), 1);
  if (capacity_ == 0 || progress_.files_counted == 0) return size;
  const auto known = progress_.events_known;
  const auto uncounted = known / progress_.files_counted * (progress_.files_total - progress_.files_counted);
  const auto left = known - std::min(known, progress_.events_submitted) + uncounted;
  const auto share = std::bit_floor(std::max<std::uint64_t>(left / (end_shares * capacity_), 1));
  return std::min(size, std::max(share, sizer_.least_useful()));
}

std::optional<WorkItem> Planner::next_count() {
  while (next_uncounted_ < files_.size()) {
    const auto index = next_uncounted_++;
    File& file = files_[index];
    if (file.state != FileState::uncounted) continue;
    if (settings_.maxchunks && datasets_[file.dataset].chunks_made >= *settings_.maxchunks) {
      file.state = FileState::exhausted;
      check_complete(index);
      continue;
    }
    file.state = FileState::counting;
    ++counting_;
    Active active;
    active.item.kind = ItemKind::preprocess;
    active.item.file = index;
    return start(std::move(active));
  }
  return std::nullopt;
}

// --- what happened ---

// Forgets the item; nullopt when it ended before (a late or second report).
std::optional<Planner::Active> Planner::take(ItemId id, ItemKind kind) {
  const auto found = active_.find(id.value());
  if (found == active_.end() || found->second.item.kind != kind) return std::nullopt;
  Active active = std::move(found->second);
  active_.erase(found);
  --progress_.in_flight;
  return active;
}

void Planner::on_counted(ItemId id, std::uint64_t events) {
  const auto active = take(id, ItemKind::preprocess);
  if (!active) return;
  --counting_;
  if (stopping_) {
    files_[active->item.file].events = events;
    files_[active->item.file].state = FileState::exhausted;
    ++progress_.files_counted;
    progress_.events_known += events;
    return check_complete(active->item.file);
  }
  set_events(active->item.file, events);
}

std::optional<PartialId> Planner::on_processed(ItemId id, double wall_time_s, double memory_mb, std::uint32_t location,
                                               bool kept) {
  const auto active = take(id, ItemKind::process);
  if (!active) return std::nullopt;
  const auto& item = active->item;
  EventSet events;
  const bool fresh = processed_.add(item.file, item.range) && events.add(item.file, item.range);
  TASKMILL_ASSERT(fresh);  // chunks are cut disjoint by construction
  sizer_.on_done(item.range.count(), wall_time_s, memory_mb);
  progress_.events_processed += item.range.count();
  const auto partial = store(std::move(events), item.group, location, kept);
  if (settings_.deterministic) files_[item.file].leaves.emplace(item.range.first, partial);
  close_chunk(item.file);
  return partial;
}

std::optional<PartialId> Planner::on_accumulated(ItemId id, std::uint32_t location, bool kept) {
  const auto active = take(id, ItemKind::accumulate);
  if (!active) return std::nullopt;
  EventSet events;
  for (const auto input : active->item.inputs) {
    const auto found = partials_.find(input);
    TASKMILL_ASSERT(found != partials_.end());
    const bool disjoint = events.merge(found->second.events);
    TASKMILL_ASSERT(disjoint);
    partials_.erase(found);
  }
  ++progress_.accumulations_done;
  if (!active->place) end_merge(active->item);
  const auto partial = store(std::move(events), active->item.group, location, kept);
  if (active->place) {
    std::vector<Tree::Merge> merges;
    const auto& place = *active->place;
    if (place.in_file) {
      files_[place.owner].tree.merged(place.node, partial, merges);
      plan_merges(merges, true, place.owner);
      settle_file(place.owner);
    } else {
      groups_[place.owner].tree.merged(place.node, partial, merges);
      plan_merges(merges, false, place.owner);
    }
  }
  return partial;
}

// --- partial results ---

PartialId Planner::store(EventSet events, std::uint32_t group, std::uint32_t location, bool kept) {
  const PartialId id(next_partial_++);
  Partial partial;
  partial.events = std::move(events);
  partial.group = group;
  partial.location = location;
  partial.kept = kept && !settings_.deterministic;
  partials_.emplace(id, std::move(partial));
  if (!settings_.deterministic) offer(id);
  return id;
}

void Planner::offer(PartialId id) {
  const Partial& partial = partials_.at(id);
  Group& group = groups_[partial.group];
  if (partial.kept) {
    auto& queue = group.kept[partial.location];
    queue.push_back(id);
    if (queue.size() >= settings_.treereduction) group.ripe.push_back(partial.location);
    return;
  }
  group.waiting[partial.location].push_back(id);
  ++group.waiting_count;
}

void Planner::close_chunk(std::uint32_t file) {
  --files_[file].open_chunks;
  check_complete(file);
}

void Planner::check_complete(std::uint32_t index) {
  File& file = files_[index];
  const bool over = file.state == FileState::bad || (file.state == FileState::exhausted && file.open_chunks == 0);
  if (!over || file.complete) return;
  file.complete = true;
  --groups_[group_of_file(index)].open_files;
  if (!settings_.deterministic) return;
  begin();
  std::vector<Tree::Merge> merges;
  file.tree = Tree(file.leaves.size(), settings_.treereduction);
  std::size_t slot = 0;
  for (const auto& [first, leaf] : file.leaves) file.tree.resolve(slot++, leaf, merges);
  file.leaves.clear();
  plan_merges(merges, true, index);
  settle_file(index);
}

// The file's one result, once it is there, takes its slot among the files.
void Planner::settle_file(std::uint32_t index) {
  File& file = files_[index];
  if (!file.tree.done()) return;
  std::vector<Tree::Merge> merges;
  const auto group = group_of_file(index);
  groups_[group].tree.resolve(file.slot, file.tree.root(), merges);
  plan_merges(merges, false, group);
}

void Planner::plan_merges(const std::vector<Tree::Merge>& merges, bool in_file, std::uint32_t owner) {
  for (const auto& merge : merges) {
    Active active;
    active.item.kind = ItemKind::accumulate;
    active.item.inputs = merge.inputs;
    active.item.group = in_file ? group_of_file(owner) : owner;
    active.place = OrderedPlace{in_file, owner, merge.node};
    for (const auto input : merge.inputs) partials_.at(input).merging = true;
    again_.push_back(std::move(active));
  }
}

// --- the end ---

void Planner::stop_submitting() {
  if (stopping_) return;
  begin();
  stopping_ = true;
  std::deque<Active> kept;
  std::deque<Active> dropped;
  for (auto& active : again_) (active.item.kind == ItemKind::accumulate ? kept : dropped).push_back(std::move(active));
  again_ = std::move(kept);
  for (const auto& active : dropped) {
    if (active.item.kind == ItemKind::preprocess) --counting_;
    if (active.item.kind == ItemKind::process) progress_.events_submitted -= active.item.range.count();
    if (active.item.kind == ItemKind::process) --files_[active.item.file].open_chunks;
    if (active.item.kind == ItemKind::preprocess) files_[active.item.file].state = FileState::exhausted;
  }
  ready_files_.clear();
  for (std::uint32_t i = 0; i < files_.size(); ++i) {
    File& file = files_[i];
    file.todo.clear();
    file.redo.clear();
    if (file.state == FileState::uncounted || file.state == FileState::ready) file.state = FileState::exhausted;
    check_complete(i);
  }
}

bool Planner::finished() const {
  if (!active_.empty() || !again_.empty()) return false;
  for (const auto& group : groups_) {
    if (group.open_files > 0) return false;
    if (!settings_.deterministic && group.waiting_count > 1) return false;
    if (!group.kept.empty() || group.fetching > 0 || !group.stuck_kept.empty()) return false;
  }
  return true;
}

std::vector<PartialId> Planner::results() const {
  std::vector<PartialId> ids;
  for (const auto& [id, partial] : partials_) ids.push_back(id);
  return ids;
}

Progress Planner::progress() const {
  Progress progress = progress_;
  progress.partials_accumulated = progress_.accumulations_done;
  std::uint64_t leaves = 0;
  for (const auto& dataset : datasets_) leaves += dataset.chunks_made;
  leaves += progress_.splits;
  const std::uint64_t merges = leaves > 1 ? (leaves - 2) / (settings_.treereduction - 1) + 1 : leaves;
  progress.accumulations_expected = std::max(merges, progress_.accumulations_done);
  return progress;
}

const EventSet& Planner::events_of(PartialId id) const { return partials_.at(id).events; }
std::uint32_t Planner::group_of(PartialId id) const { return partials_.at(id).group; }

std::string Planner::check() const {
  EventSet all;
  for (const auto& [id, partial] : partials_) {
    if (!all.merge(partial.events)) return "two partial results hold the same event";
  }
  if (!(all == processed_)) return "the partial results do not hold exactly what was processed";
  if (all.count() != progress_.events_processed) return "the number of processed events is wrong";
  std::uint64_t waiting = 0;
  for (const auto& group : groups_) {
    waiting += group.waiting_count + group.fetching;
    for (const auto& [location, queue] : group.kept) waiting += queue.size();
  }
  std::uint64_t free = 0;
  for (const auto& [id, partial] : partials_) free += !partial.merging && (!partial.stuck || partial.fetching) ? 1 : 0;
  if (!settings_.deterministic && waiting != free) return "a partial result is neither waiting nor being merged";
  if (progress_.in_flight != active_.size()) return "the number of items in flight is wrong";
  return {};
}

}  // namespace taskmill::manager::analysis
