#include "common/archive/peer_plan.hpp"

#include <algorithm>
#include <tuple>

#include "common/base/assert.hpp"

namespace taskmill::archive {

void PeerPlan::add_worker(WorkerId worker, bool serves, std::string host) {
  Worker& record = workers_[worker];
  record.serves = serves;
  record.host = std::move(host);
}

void PeerPlan::has(WorkerId worker, const Digest& object) {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) return;
  it->second.objects.insert(object);
  holders_[object].insert(worker);
}

void PeerPlan::lost(WorkerId worker, const Digest& object) {
  const auto it = workers_.find(worker);
  if (it != workers_.end()) it->second.objects.erase(object);
  const auto holders = holders_.find(object);
  if (holders == holders_.end()) return;
  holders->second.erase(worker);
  if (holders->second.empty()) holders_.erase(holders);
}

void PeerPlan::want(WorkerId worker, const Digest& object, std::uint64_t bytes) {
  const auto it = workers_.find(worker);
  if (it == workers_.end() || it->second.objects.contains(object)) return;
  const bool known = std::any_of(wishes_.begin(), wishes_.end(),
                                 [&](const Wish& wish) { return wish.target == worker && wish.object == object; });
  if (!known) wishes_.push_back({worker, object, bytes, 0, {}, 0});
}

PeerPlan::Wish* PeerPlan::wish_of(std::uint64_t order) {
  const auto it = std::find_if(wishes_.begin(), wishes_.end(), [&](const Wish& wish) { return wish.order == order; });
  return it == wishes_.end() ? nullptr : &*it;
}

/// Frees the source; the wish, if it still lives, is open again.
void PeerPlan::end_order(std::uint64_t order) {
  const auto it = orders_.find(order);
  if (it == orders_.end()) return;
  if (!it->second.source.valid()) {
    --manager_sending_;
  } else if (const auto source = workers_.find(it->second.source); source != workers_.end()) {
    --source->second.sending;
  }
  orders_.erase(it);
  if (Wish* wish = wish_of(order)) wish->order = 0;
}

void PeerPlan::got(std::uint64_t order) {
  const auto it = orders_.find(order);
  if (it == orders_.end()) return;  // ended meanwhile; has() may still be told
  const PeerOrder done = it->second;
  end_order(order);
  has(done.target, done.object);
  std::erase_if(wishes_, [&](const Wish& wish) { return wish.target == done.target && wish.object == done.object; });
}

void PeerPlan::failed(std::uint64_t order, Time now) {
  const auto it = orders_.find(order);
  if (it == orders_.end()) return;
  const WorkerId source = it->second.source;
  if (Wish* wish = wish_of(order)) {
    ++wish->failures;
    if (source.valid()) wish->avoid.insert(source);
  }
  end_order(order);
  if (const auto record = workers_.find(source); record != workers_.end()) {
    record->second.suspect_until = now + config_.suspect_time;
  }
}

void PeerPlan::forget_worker(WorkerId worker) {
  std::vector<std::uint64_t> ended;
  for (const auto& [id, order] : orders_) {
    if (order.source == worker || order.target == worker) ended.push_back(id);
  }
  for (const std::uint64_t id : ended) end_order(id);
  std::erase_if(wishes_, [&](const Wish& wish) { return wish.target == worker; });
  if (const auto it = workers_.find(worker); it != workers_.end()) {
    const std::set<Digest> objects = it->second.objects;
    for (const Digest& object : objects) lost(worker, object);
  }
  workers_.erase(worker);
  for (Wish& wish : wishes_) wish.avoid.erase(worker);
}

std::optional<WorkerId> PeerPlan::best_source(const Wish& wish, Time now) const {
  const auto holders = holders_.find(wish.object);
  if (holders == holders_.end()) return std::nullopt;
  const std::string& near = workers_.at(wish.target).host;
  std::optional<std::tuple<bool, int, WorkerId>> best;
  for (const WorkerId id : holders->second) {
    const Worker& worker = workers_.at(id);
    const bool suspect = worker.suspect_until && *worker.suspect_until > now;
    if (!worker.serves || suspect || worker.sending >= config_.sends_per_source || wish.avoid.contains(id)) continue;
    const std::tuple candidate(worker.host != near, worker.sending, id);
    if (!best || candidate < *best) best = candidate;
  }
  if (!best) return std::nullopt;
  return std::get<2>(*best);
}

void PeerPlan::give_order(Wish& wish, WorkerId source, Time now, std::vector<PeerOrder>& out) {
  PeerOrder order;
  order.id = next_order_++;
  order.object = wish.object;
  order.source = source;
  order.target = wish.target;
  const auto transfer = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(static_cast<double>(wish.bytes) / config_.slowest_rate));
  order.deadline = now + std::max(config_.least_time, transfer);
  wish.order = order.id;
  if (source.valid()) {
    ++workers_.at(source).sending;
  } else {
    ++manager_sending_;
  }
  orders_.emplace(order.id, order);
  out.push_back(order);
}

std::vector<PeerOrder> PeerPlan::plan(Time now, std::vector<std::uint64_t>* cancelled) {
  std::vector<std::uint64_t> late;
  for (const auto& [id, order] : orders_) {
    if (order.deadline <= now) late.push_back(id);
  }
  for (const std::uint64_t id : late) {
    failed(id, now);
    if (cancelled != nullptr) cancelled->push_back(id);
  }
  std::erase_if(wishes_, [&](const Wish& wish) {
    return wish.order == 0 && workers_.at(wish.target).objects.contains(wish.object);
  });
  std::vector<PeerOrder> orders;
  for (Wish& wish : wishes_) {
    if (wish.order != 0) continue;
    const bool only_manager = wish.failures >= config_.most_failures;
    const auto source = only_manager ? std::nullopt : best_source(wish, now);
    if (source) {
      give_order(wish, *source, now, orders);
    } else if (only_manager || manager_sending_ < config_.sends_by_manager) {
      give_order(wish, WorkerId{}, now, orders);
    }
  }
  return orders;
}

std::optional<Time> PeerPlan::next_deadline() const {
  std::optional<Time> next;
  for (const auto& [id, order] : orders_) {
    if (!next || order.deadline < *next) next = order.deadline;
  }
  return next;
}

void PeerPlan::check_invariants() const {
  std::map<WorkerId, int> sending;
  int by_manager = 0;
  for (const auto& [id, order] : orders_) {
    ++(order.source.valid() ? sending[order.source] : by_manager);
    TASKMILL_ASSERT(workers_.contains(order.target));
    TASKMILL_ASSERT(order.source != order.target);
  }
  TASKMILL_ASSERT(by_manager == manager_sending_);
  for (const auto& [id, worker] : workers_) {
    TASKMILL_ASSERT(worker.sending == sending[id]);
    TASKMILL_ASSERT(worker.sending <= config_.sends_per_source);
    for (const Digest& object : worker.objects) TASKMILL_ASSERT(holders_.at(object).contains(id));
  }
  for (const Wish& wish : wishes_) TASKMILL_ASSERT(wish.order == 0 || orders_.contains(wish.order));
}

}  // namespace taskmill::archive
