// Workers that are emptied for a large task.
#include <algorithm>

#include "manager/core/state.hpp"

namespace taskmill::manager {

// A worker that is being emptied takes only what comes before the task it is emptied for.
bool State::reserved_against(const Worker& w, std::uint32_t index) const {
  if (w.reserved_for == index) return false;
  const Shape& shape = ready[index];
  return !shape.active || !shape.active_key.before(ready[w.reserved_for].active_key);
}

// Smaller tasks that fit into every gap would keep a larger one waiting for ever. When its head has waited long enough,
// a worker that just got some room, and is large enough when idle, takes nothing behind it any more.
void State::reserve(std::uint32_t index) {
  const std::uint32_t head = ready.head(index);
  if (now.time.time_since_epoch().count() - tasks[head].since_us < config.reserve_after->count()) return;
  const auto most =
      std::max<std::size_t>(1, static_cast<std::size_t>(config.reserve_share * static_cast<double>(connected_workers)));
  if (match.reservations.size() >= most || ready[index].key.coprocess || hopeless(index)) return;
  for (const std::uint32_t slot : match.freed) {
    Worker& w = workers[slot];
    if (w.reserved_for != no_index || !accepts(w) || !has_features(w, ready[index].key.features)) continue;
    if (!suits(tasks[head], w) || !fits_idle(box_at(index, w), w.total)) continue;
    w.reserved_for = index;
    ready[index].reserved = true;
    match.reservations.emplace_back(w.conn, index);
    return;
  }
}

void State::end_reservation(std::uint32_t index) {
  for (std::size_t i = 0; i < match.reservations.size(); ++i) {
    if (match.reservations[i].second != index) continue;
    const std::uint32_t slot = worker_slot(match.reservations[i].first);
    if (slot != no_index) {
      workers[slot].reserved_for = no_index;
      freed(slot);
    }
    match.reservations.erase(match.reservations.begin() + static_cast<std::ptrdiff_t>(i));
    break;
  }
  ready[index].reserved = false;
  ready.drop_unused(index);
}

// Ends those whose worker or waiting task is gone.
void State::review_reservations() {
  const auto all = match.reservations;
  for (const auto& [conn, index] : all) {
    const std::uint32_t slot = worker_slot(conn);
    const bool useful = slot != no_index && accepts(workers[slot]) && ready[index].active && !ready[index].capped &&
                        suits(tasks[ready.head(index)], workers[slot]) &&
                        fits_idle(box_at(index, workers[slot]), workers[slot].total);
    if (!useful) end_reservation(index);
  }
}

}  // namespace taskmill::manager
