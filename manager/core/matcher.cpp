// Which task goes to which worker.
//
// Invariant at the end of every matching: each active shape is parked (no settled worker can take its head) or capped
// (its category runs as many as it may). So in the next matching a parked shape only has to be offered to the workers
// that were freed meanwhile, and a shape that is not parked only to the settled ones. Shapes are met in the order of
// their heads, so priority holds across shapes; one comparison of a remembered box decides for thousands of equal
// tasks, and tasks that fit nowhere cost nothing until a worker grows.
#include <algorithm>
#include <limits>

#include "manager/core/state.hpp"

namespace taskmill::manager {
namespace {
constexpr std::size_t few_workers = 64;  // up to so many freed workers are compared one by one
constexpr std::size_t holders_looked_at = 64;
constexpr int random_probes = 24;
}  // namespace

bool State::ramping_down() const {
  return config.ramp_down && config.monitoring.enabled && config.monitoring.watchdog && connected_workers > waiting;
}

BoxRules State::rules(const Worker&) const {
  return {config.proportional_resources, config.proportional_whole_tasks, config.resource_submit_multiplier,
          ramping_down()};
}

Algorithm State::algorithm_of(const Shape& shape) const {
  return shape.key.algorithm == Algorithm::unset ? config.algorithm : shape.key.algorithm;
}

Box State::compute_box(const Shape& shape, const Box& largest_box, const BoxRules& r, const Box& in_use) {
  const Category& category = categories[shape.key.category];
  const Resources& prediction = shape.drawn ? shape.drawn_prediction : shape.key.prediction;
  const Resources a = category.max_label(shape.key.label, shape.key.request, prediction, largest);
  const Resources b = category.min_label(shape.key.label, shape.key.request, prediction, largest);
  return box_for(largest_box, a, b, r, in_use);
}

// The box of this shape at a worker of this size, remembered until a label changes.
const Box& State::box_at(std::uint32_t index, const Worker& worker) {
  Shape& shape = ready[index];
  Category& category = categories[shape.key.category];
  if (category.bucketing() && shape.key.label == Label::first &&
      (!shape.drawn || shape.draw_epoch != category.epoch())) {
    // Drawn once for the head, so that the box tested is the box sent.
    shape.drawn_prediction = category.predict_first(random);
    shape.drawn = true;
    shape.draw_epoch = category.epoch();
    shape.boxes.clear();
  }
  if (shape.boxes.size() <= worker.type) shape.boxes.resize(types.size());
  BoxMemo& memo = shape.boxes[worker.type];
  const BoxRules r = rules(worker);
  if (r.ramp_down) {
    memo.epoch = 0;
    memo.box = compute_box(shape, worker.largest, r, worker.in_use);
    return memo.box;
  }
  const std::uint64_t epoch = label_epoch(category);
  if (memo.epoch != epoch) {
    memo.epoch = epoch;
    memo.box = compute_box(shape, worker.largest, r, {});
  }
  return memo.box;
}

// Tasks that fit nowhere are recognised once and cost nothing until sizes of workers or labels change.
bool State::hopeless(std::uint32_t index) {
  Shape& shape = ready[index];
  const Category& category = categories[shape.key.category];
  if (category.bucketing() || shape.key.coprocess || ramping_down()) return false;
  const std::uint64_t epoch = label_epoch(category);
  if (shape.judged_epoch != epoch) {
    shape.judged_epoch = epoch;
    shape.hopeless = !fits_some_type(index);
  }
  return shape.hopeless;
}

bool State::accepts(const Worker& w) const {
  if (!w.introduced() || w.draining || w.congested || w.leaving) return false;
  if (w.penalty_until > now.time) return false;
  if (w.factory != no_index && factories[w.factory].max >= 0 &&
      factories[w.factory].connected > static_cast<std::uint64_t>(factories[w.factory].max))
    return false;
  return !is_blocked(w);
}

bool State::has_room(const Worker& w) const {
  if (!accepts(w)) return false;
  if (w.coprocess_total.cores > w.coprocess_in_use.cores) return true;
  const double m = config.resource_submit_multiplier;
  const auto free_part = [m](std::int64_t total, std::int64_t used) {
    return static_cast<double>(total) * m - static_cast<double>(used);
  };
  const bool compute = free_part(w.total.cores, w.in_use.cores) > 0 || free_part(w.total.gpus, w.in_use.gpus) > 0;
  const bool memory = w.total.memory == 0 || free_part(w.total.memory, w.in_use.memory) > 0;
  return compute && memory && (w.total.disk == 0 || w.total.disk > w.in_use.disk);
}

bool State::shape_fits(std::uint32_t index, std::uint32_t slot, Box& box) {
  Worker& w = workers[slot];
  const Shape& shape = ready[index];
  if (w.reserved_for != no_index && reserved_against(w, index)) return false;
  if (!has_features(w, shape.key.features)) return false;
  box = box_at(index, w);
  const Box& total = shape.key.coprocess ? w.coprocess_total : w.total;
  const Box& used = shape.key.coprocess ? w.coprocess_in_use : w.in_use;
  return fits(box, total, used, config.resource_submit_multiplier);
}

bool State::suits(const TaskRecord& task, const Worker& worker) const {
  if (worker.end_time_s == 0) return true;
  const SpecView spec = spec_of(task);
  const std::int64_t worker_end = worker.end_time_s * 1000000;
  if (spec->end_time_us != 0 && worker_end < spec->end_time_us) return false;
  const std::int64_t left = worker_end - now.wall.time_since_epoch().count();
  return spec->min_running_us == 0 || spec->min_running_us <= left;
}

std::uint64_t State::bytes_held(const TaskRecord& task, const Worker& worker, std::uint64_t* total) const {
  const SpecView spec = spec_of(task);
  std::uint64_t held = 0;
  std::uint64_t all = 0;
  for (std::uint32_t i = 0; i < spec->inputs; ++i) {
    const FileId id(spec.input(i).file);
    const FileRecord& file = files[id];
    if (!file.cached || !FileTable::is_local(file.kind)) continue;
    const std::uint64_t size = file.kind == FileKind::piece ? file.length : file.size;
    all += size;
    const CacheEntry* entry = worker.cache.find(id.value());
    if (entry != nullptr && entry->version == file.version) held += size;
  }
  if (total != nullptr) *total = all;
  return held;
}

// Which of the shape's tasks this worker gets: the head, unless a near one of the same priority has its data there.
std::uint32_t State::pick_task(std::uint32_t index, std::uint32_t slot) {
  Shape& shape = ready[index];
  const Worker& w = workers[slot];
  const std::uint32_t head = ready.head(index);
  std::uint32_t first = head;
  if (!suits(tasks[head], w)) {
    int looked = 0;
    for (first = shape.head; first != no_index && ++looked <= config.attempt_schedule_depth;
         first = ready.after(first)) {
      if (suits(tasks[first], w)) break;
    }
    if (first == no_index || looked > config.attempt_schedule_depth) return no_index;
  }
  const Algorithm algorithm = algorithm_of(shape);
  const bool by_data = algorithm == Algorithm::files || algorithm == Algorithm::time;
  if (!by_data || spec_of(tasks[first])->cached_files == 0) return first;
  if (shape.head_passed_over >= 4 * static_cast<std::uint32_t>(config.affinity_lookahead)) return first;
  std::uint64_t total = 0;
  std::uint64_t best_held = bytes_held(tasks[first], w, &total);
  if (best_held == total || total < config.affinity_min_bytes) return first;
  std::uint32_t best = first;
  std::uint32_t at = tasks[first].where == Where::fifo ? ready.after(first) : shape.head;
  for (int i = 1; i < config.affinity_lookahead && at != no_index; ++i, at = ready.after(at)) {
    if (tasks[at].priority != tasks[first].priority) break;
    const std::uint64_t held = bytes_held(tasks[at], w, &total);
    if (held <= best_held || !suits(tasks[at], w)) continue;
    best = at;
    best_held = held;
    if (held == total) break;
  }
  if (best != head) ++shape.head_passed_over;
  return best;
}

bool State::category_full(std::uint32_t index) const {
  const Category& category = categories[ready[index].key.category];
  const std::int64_t limit = category.settings().max_concurrent;
  return limit >= 0 && category.count.running >= static_cast<std::uint64_t>(limit);
}

// --- settled workers: the index of those with room ---

void State::settle(std::uint32_t slot) {
  Worker& w = workers[slot];
  if (w.available_at != no_index) {
    resettle(slot);
    return;
  }
  w.available_at = static_cast<std::uint32_t>(match.available.size());
  match.available.push_back(slot);
  w.speed_key = w.mean_us;
  match.by_speed.emplace(w.speed_key, slot);
  if (match.use_room) add_room(slot);
}

void State::add_room(std::uint32_t slot) {
  Worker& w = workers[slot];
  w.room_key = {w.in_use.cores - w.total.cores, w.in_use.memory - w.total.memory, w.in_use.disk - w.total.disk, slot};
  match.by_room.insert(w.room_key);
}

void State::unsettle(std::uint32_t slot) {
  Worker& w = workers[slot];
  if (w.available_at == no_index) return;
  const std::uint32_t moved = match.available.back();
  match.available[w.available_at] = moved;
  workers[moved].available_at = w.available_at;
  match.available.pop_back();
  w.available_at = no_index;
  match.by_speed.erase({w.speed_key, slot});
  if (match.use_room) match.by_room.erase(w.room_key);
}

// After its room or speed changed.
void State::resettle(std::uint32_t slot) {
  Worker& w = workers[slot];
  if (w.available_at == no_index) return;
  if (w.speed_key != w.mean_us) {
    match.by_speed.erase({w.speed_key, slot});
    w.speed_key = w.mean_us;
    match.by_speed.emplace(w.speed_key, slot);
  }
  if (match.use_room) {
    match.by_room.erase(w.room_key);
    add_room(slot);
  }
}

// A worker that holds much of the task's cached input, if one has room. Files that most workers have do not tell them
// apart.
std::uint32_t State::choose_holder(std::uint32_t index, std::uint32_t task) {
  const SpecView spec = spec_of(tasks[task]);
  const Shape& shape = ready[index];
  const std::uint64_t least = algorithm_of(shape) == Algorithm::files ? 1 : config.affinity_min_bytes;
  std::uint32_t best = no_index;
  std::uint64_t best_held = least - 1;
  for (std::uint32_t i = 0; i < spec->inputs; ++i) {
    const FileRecord& file = files[FileId(spec.input(i).file)];
    if (!file.cached || file.holders.empty() || !FileTable::is_local(file.kind)) continue;
    if (std::max(file.size, file.length) < least && spec->inputs < 8) continue;
    const std::size_t count = std::min(holders_looked_at, file.holders.size());
    for (std::size_t k = 0; k < count; ++k) {
      const std::uint32_t slot = file.holders[file.holders.size() - 1 - k];
      if (workers[slot].available_at == no_index) continue;
      const std::uint64_t held = bytes_held(tasks[task], workers[slot], nullptr);
      if (held < best_held || (held == best_held && (best == no_index || slot > best))) continue;
      Box box;
      if (!accepts(workers[slot]) || !shape_fits(index, slot, box) || !suits(tasks[task], workers[slot])) continue;
      best = slot;
      best_held = held;
    }
  }
  return best;
}

std::uint32_t State::choose_settled(std::uint32_t index, std::uint32_t avoid) {
  const std::uint32_t head = ready.head(index);
  const Algorithm algorithm = algorithm_of(ready[index]);
  const auto takes = [&](std::uint32_t slot) {
    Box box;
    return slot != avoid && accepts(workers[slot]) && shape_fits(index, slot, box) &&
           (workers[slot].end_time_s == 0 || pick_task(index, slot) != no_index);
  };
  if (match.available.empty()) return no_index;
  if ((algorithm == Algorithm::files || algorithm == Algorithm::time) && head != no_index &&
      spec_of(tasks[head])->cached_files != 0) {
    const std::uint32_t holder = choose_holder(index, head);
    if (holder != no_index && holder != avoid) return holder;
  }
  if (algorithm == Algorithm::time) {
    for (const auto& [mean, slot] : match.by_speed)
      if (takes(slot)) return slot;
    return no_index;
  }
  if (algorithm == Algorithm::worst) {
    if (!match.use_room) {
      match.use_room = true;
      for (const std::uint32_t slot : match.available) add_room(slot);
    }
    for (const auto& entry : match.by_room)
      if (takes(std::get<3>(entry))) return std::get<3>(entry);
    return no_index;
  }
  const std::size_t count = match.available.size();
  std::size_t start = match.hint < count ? match.hint : 0;
  if (algorithm == Algorithm::rand) {
    for (int i = 0; i < random_probes; ++i) {
      const std::uint32_t slot = match.available[random.below(count)];
      if (takes(slot)) return slot;
    }
    start = random.below(count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = start + i < count ? start + i : start + i - count;
    if (!takes(match.available[at])) continue;
    match.hint = at;
    return match.available[at];
  }
  return no_index;
}

// Among the few that were freed: the same preferences, by comparison.
std::uint32_t State::choose_freed(std::uint32_t index) {
  const Algorithm algorithm = algorithm_of(ready[index]);
  const std::uint32_t head = ready.head(index);
  std::uint32_t best = no_index;
  std::uint64_t best_held = 0;
  std::uint64_t found = 0;
  for (const std::uint32_t slot : match.freed) {
    const Worker& w = workers[slot];
    Box box;
    if (!has_room(w) || !shape_fits(index, slot, box)) continue;
    if (w.end_time_s != 0 && pick_task(index, slot) == no_index) continue;
    ++found;
    bool better = best == no_index;
    if (!better) {
      const Worker& b = workers[best];
      switch (algorithm) {
        case Algorithm::rand:
          better = random.below(found) == 0;
          break;
        case Algorithm::worst: {
          const auto room = [](const Worker& x) {
            return std::tuple(x.total.cores - x.in_use.cores, x.total.memory - x.in_use.memory,
                              x.total.disk - x.in_use.disk);
          };
          better = room(w) > room(b);
          break;
        }
        case Algorithm::files:
          better = bytes_held(tasks[head], w, nullptr) > best_held;
          break;
        case Algorithm::time:
          better = w.mean_us < b.mean_us;
          break;
        default:
          return best;
      }
    }
    if (!better) continue;
    best = slot;
    if (algorithm == Algorithm::files) best_held = bytes_held(tasks[head], w, nullptr);
  }
  return best;
}

// Gives the shape's tasks away, one. False: nothing can be done for it now.
bool State::offer_shape(std::uint32_t index) {
  if (category_full(index)) {
    ready.park(index);
    ready[index].capped = true;
    return false;
  }
  std::uint32_t slot = ready[index].parked ? no_index : choose_settled(index);
  if (slot == no_index) slot = choose_freed(index);
  if (slot == no_index) {
    ready.park(index);
    if (config.reserve_after && !ready[index].reserved) reserve(index);
    return false;
  }
  const std::uint32_t task = pick_task(index, slot);
  if (task == no_index) {
    ready.park(index);
    return false;
  }
  const Box box = box_at(index, workers[slot]);
  if (ready[index].reserved) end_reservation(index);
  const bool was_drawn = ready[index].drawn;
  dispatch(task, slot, box, false);
  if (was_drawn) {
    // The next task draws its own box, which other workers may have room for.
    ready[index].drawn = false;
    ready.unpark(index);
  }
  if (!has_room(workers[slot])) {
    unsettle(slot);
  } else {
    resettle(slot);
  }
  return true;
}

void State::run_matching() {
  if (config.wait_for_workers > 0) {
    if (connected_workers < static_cast<std::uint64_t>(config.wait_for_workers)) return;
    config.wait_for_workers = 0;
  }
  if (!match.reservations.empty()) review_reservations();
  auto& freed_list = match.freed;
  for (const std::uint32_t slot : freed_list) {
    if (!has_room(workers[slot])) unsettle(slot);
  }
  const bool many = freed_list.size() > few_workers;
  if (many) unpark_all();
  if (many || ready.unparked() > 0) {
    for (const std::uint32_t slot : freed_list) {
      if (has_room(workers[slot])) settle(slot);
    }
  }
  const auto some_freed_has_room = [&] {
    return !many && std::any_of(freed_list.begin(), freed_list.end(),
                                [this](std::uint32_t slot) { return has_room(workers[slot]); });
  };
  bool some = some_freed_has_room();
  std::size_t i = 0;
  while (i < ready.active().size() && (some || ready.unparked() > 0)) {
    const std::uint32_t shape = ready.active()[i].shape;
    if (ready[shape].parked && (!some || hopeless(shape))) {
      ++i;
    } else if (offer_shape(shape)) {
      some = some && some_freed_has_room();
    } else {
      ++i;
    }
  }
  if (config.prefetch_tasks > 0) prefetch();
  for (const std::uint32_t slot : freed_list) {
    workers[slot].freed = false;
    if (has_room(workers[slot])) settle(slot);
  }
  freed_list.clear();
}

// Could an idle worker of some connected size run it? `short_of`: which resources were too small somewhere.
bool State::fits_some_type(std::uint32_t index, std::array<bool, 4>* short_of) {
  const Shape& shape = ready[index];
  for (std::size_t t = 0; t < types.size(); ++t) {
    if (types[t].live == 0) continue;
    const Box box = compute_box(shape, types[t].largest, rules(Worker{}), {});
    if (fits_idle(box, types[t].total)) return true;
    if (short_of == nullptr) continue;
    const Box& total = types[t].total;
    (*short_of)[at_cores] = (*short_of)[at_cores] || box.cores > total.cores;
    (*short_of)[at_memory] = (*short_of)[at_memory] || box.memory > total.memory;
    (*short_of)[at_disk] = (*short_of)[at_disk] || box.disk > total.disk;
    (*short_of)[at_gpus] = (*short_of)[at_gpus] || box.gpus > total.gpus;
  }
  return false;
}

}  // namespace taskmill::manager
