// Tasks sent to a worker beyond what it can run now, so that the next one is already there when one ends.
#include <algorithm>

#include "manager/core/state.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t shapes_to_prefetch = 16;  // so many are looked at, in their order

}  // namespace

// As small as what runs there: it starts where one of those has ended. A larger one would wait for several to end,
// while others overtake it.
bool State::is_no_larger(const Box& box, const Worker& w) {
  const std::int64_t slots = std::max<std::int64_t>(1, std::int64_t{w.running} - w.prefetched);
  const auto fits = [slots](std::int64_t amount, std::int64_t total) { return amount * slots <= total; };
  return fits(box.cores, w.total.cores) && fits(box.memory, w.total.memory) && fits(box.disk, w.total.disk) &&
         fits(box.gpus, w.total.gpus) && fits_idle(box, w.total);
}

// As many as the worker ends while the news of an end travels here and the next task there. Nothing for tasks so long
// that the gain would not be seen.
std::uint32_t State::prefetch_depth(const Worker& w, const Category& category) const {
  constexpr std::int64_t slack_us = 3000;    // results are gathered that long, and our turn takes its time
  constexpr std::int64_t shortest_us = 200;  // starting a process takes longer
  constexpr std::int64_t least_gain = 20;    // one part in twenty of a task's time
  const CategoryCounters& count = category.count;
  if (count.successes < 10) return 0;
  const std::int64_t mean = count.execute_us / static_cast<std::int64_t>(count.successes);
  const std::int64_t window = w.turnaround.count() + slack_us;
  if (mean >= config.prefetch_below.count() || window * least_gain < mean) return 0;
  const std::int64_t slots = std::max<std::int64_t>(1, std::int64_t{w.running} - w.prefetched);
  const std::int64_t depth = slots * window / std::max(mean, shortest_us) + 1;
  return static_cast<std::uint32_t>(std::min<std::int64_t>(depth, config.prefetch_tasks));
}

// What is next in line and could run on this worker if it were idle, but has no room; no_index: nothing.
std::uint32_t State::next_in_line(Worker& w) {
  const std::size_t count = std::min(ready.active().size(), shapes_to_prefetch);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t index = ready.active()[i].shape;
    const Shape& shape = ready[index];
    if (!shape.parked || shape.capped || shape.key.coprocess || category_full(index)) continue;
    if (!has_features(w, shape.key.features)) continue;
    if (categories[shape.key.category].bucketing() || fits_idle(box_at(index, w), w.total)) return index;
  }
  return no_index;
}

// Freed workers that are full again get a little more of what is short and waits, so that the next task is already
// there when one ends. Only of the shape that is next in line: what comes behind it would take the place that it waits
// for, again and again.
void State::prefetch() {
  match.scratch = match.freed;
  for (const std::uint32_t slot : match.scratch) {
    Worker& w = workers[slot];
    while (accepts(w) && w.reserved_for == no_index && waiting > running) {
      const std::uint32_t index = next_in_line(w);
      if (index == no_index) break;
      const Category& category = categories[ready[index].key.category];
      if (category.bucketing() || w.prefetched >= prefetch_depth(w, category)) break;
      if (!is_no_larger(box_at(index, w), w)) break;
      const std::uint32_t task = pick_task(index, slot);
      if (task == no_index) break;
      const Box box = box_at(index, w);
      dispatch(task, slot, box, true);
    }
  }
}

}  // namespace taskmill::manager
