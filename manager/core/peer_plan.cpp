#include "manager/core/peer_plan.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "common/base/assert.hpp"

namespace taskmill::manager {
namespace {

// Bounds of one look: with thousands of holders and wishes a step must stay small; the next event goes on.
constexpr std::size_t holders_looked_at = 256;
constexpr std::size_t sources_compared = 16;
constexpr std::size_t wishes_put_off = 32;

}  // namespace

// --- facts ---

void PeerPlan::join(std::uint32_t worker, std::string host, bool local) {
  Worker& record = workers_[worker];
  record.host = std::move(host);
  record.local = local;
}

void PeerPlan::serves(std::uint32_t worker) {
  const auto at = workers_.find(worker);
  if (at == workers_.end() || std::exchange(at->second.serves, true)) return;
  freed_source(worker);
}

void PeerPlan::add_object(ObjectId object, std::uint64_t bytes) { objects_[object].bytes = bytes; }

void PeerPlan::make_passable(ObjectId object) {
  const auto at = objects_.find(object);
  if (at == objects_.end()) return;
  at->second.passable = true;
  mark(object);
}

void PeerPlan::make_hopeless(ObjectId object) {
  const auto at = objects_.find(object);
  if (at == objects_.end()) return;
  at->second.hopeless = true;
  mark(object);
}

bool PeerPlan::drop_if_unused(ObjectId object) {
  const auto at = objects_.find(object);
  if (at == objects_.end()) return true;
  const Object& record = at->second;
  if (!record.holders.empty() || record.wishes > 0) return false;
  objects_.erase(at);
  waited_for_.erase(object);
  return true;
}

void PeerPlan::has(std::uint32_t worker, ObjectId object) {
  const auto record = workers_.find(worker);
  const auto at = objects_.find(object);
  if (record == workers_.end() || at == objects_.end()) return;
  if (const auto wish = record->second.wishes.find(object); wish != record->second.wishes.end()) end_wish(wish->second);
  if (record->second.objects.insert(object).second) at->second.holders.push_back(worker);
  mark(object);
}

void PeerPlan::lost(std::uint32_t worker, ObjectId object) {
  const auto record = workers_.find(worker);
  if (record == workers_.end() || record->second.objects.erase(object) == 0) return;
  Object& held = objects_.at(object);
  std::erase(held.holders, worker);
  held.from_manager.erase(worker);
  mark(object);
}

void PeerPlan::want(std::uint32_t worker, ObjectId object, Time now) {
  const auto record = workers_.find(worker);
  const auto at = objects_.find(object);
  if (record == workers_.end() || at == objects_.end()) return;
  if (record->second.objects.contains(object) || record->second.wishes.contains(object)) return;
  const std::uint64_t id = next_id_++;
  Wish& wish = wishes_[id];
  wish.target = worker;
  wish.object = object;
  wish.since = now;
  record->second.wishes.emplace(object, id);
  ++at->second.wishes;
  reminders_.push({now + time_for(at->second), id});
  queue_wish(id);
}

void PeerPlan::unwant(std::uint32_t worker, ObjectId object) {
  const auto record = workers_.find(worker);
  if (record == workers_.end()) return;
  if (const auto wish = record->second.wishes.find(object); wish != record->second.wishes.end()) end_wish(wish->second);
}

bool PeerPlan::got(std::uint64_t order) {
  const auto at = orders_.find(order);
  if (at == orders_.end()) return false;
  const PeerOrder done = at->second.order;
  has(done.target, done.object);  // ends the wish, and the order with it
  if (done.source == no_index) objects_.at(done.object).from_manager.insert(done.target);
  return true;
}

bool PeerPlan::failed(std::uint64_t order, bool blame, Time now) {
  const auto at = orders_.find(order);
  if (at == orders_.end()) return false;
  const std::uint64_t id = at->second.wish;
  const std::uint32_t source = at->second.order.source;
  Wish& wish = wishes_.at(id);
  ++wish.failures;
  if (source != no_index) {
    wish.avoid.push_back(source);
    const auto record = workers_.find(source);
    if (blame && record != workers_.end()) record->second.suspect_until = now + config_.suspect_time;
  }
  end_order(order);
  queue_wish(id);
  return true;
}

void PeerPlan::leave(std::uint32_t worker) {
  const auto at = workers_.find(worker);
  if (at == workers_.end()) return;
  const auto own = at->second.wishes;
  for (const auto& [object, wish] : own) end_wish(wish);
  const auto sends = at->second.sends;
  for (const std::uint64_t order : sends) {
    const std::uint64_t wish = orders_.at(order).wish;
    end_order(order);
    queue_wish(wish);
  }
  const auto held = at->second.objects;
  for (const ObjectId object : held) lost(worker, object);
  workers_.erase(at);
}

// --- bookkeeping ---

Duration PeerPlan::time_for(const Object& object) const {
  const auto transfer = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(static_cast<double>(object.bytes) / config_.slowest_rate));
  return std::max(config_.least_time, transfer);
}

void PeerPlan::mark(ObjectId object) {
  if (!waited_for_.contains(object)) return;
  if (Object& record = objects_.at(object); !std::exchange(record.dirty, true)) dirty_.push_back(object);
}

void PeerPlan::queue_wish(std::uint64_t id) {
  Wish& wish = wishes_.at(id);
  if (std::exchange(wish.queued, true)) return;
  objects_.at(wish.object).waiting.push_back(id);
  waited_for_.insert(wish.object);
  mark(wish.object);
}

// What the freed source could now send: the shorter of two lists is gone through.
void PeerPlan::freed_source(std::uint32_t worker) {
  const auto& held = workers_.at(worker).objects;
  if (held.size() < waited_for_.size()) {
    for (const ObjectId object : held) mark(object);
  } else {
    for (const ObjectId object : waited_for_) {
      if (held.contains(object)) mark(object);
    }
  }
}

void PeerPlan::end_order(std::uint64_t id) {
  const auto node = orders_.extract(id);
  const Running& running = node.mapped();
  const PeerOrder& order = running.order;
  Object& object = objects_.at(order.object);
  wishes_.at(running.wish).order = 0;
  if (!running.overdue) --object.spreading;
  if (order.source == no_index) {
    if (!running.overdue) --object.manager_sends;
    object.from_manager.erase(order.target);
    mark(order.object);
    return;
  }
  Worker& source = workers_.at(order.source);
  --source.sending;
  source.sends.erase(id);
  freed_source(order.source);
  Worker& target = workers_.at(order.target);
  --target.receiving;
  while (!target.held_back.empty()) {
    const std::uint64_t next = target.held_back.front();
    target.held_back.pop_front();
    if (!wishes_.contains(next) || wishes_.at(next).order != 0) continue;
    queue_wish(next);
    break;
  }
}

void PeerPlan::end_wish(std::uint64_t id) {
  const Wish& wish = wishes_.at(id);
  if (wish.order != 0) end_order(wish.order);
  workers_.at(wish.target).wishes.erase(wish.object);
  --objects_.at(wish.object).wishes;
  wishes_.erase(id);  // its place in a queue is found empty later
}

// --- the plan ---

bool PeerPlan::usable(const Wish& wish, std::uint32_t source, Time now) const {
  const Worker& worker = workers_.at(source);
  if (!worker.serves || (worker.suspect_until && *worker.suspect_until > now)) return false;
  if (worker.local && !workers_.at(wish.target).local) return false;
  return std::find(wish.avoid.begin(), wish.avoid.end(), source) == wish.avoid.end();
}

std::optional<std::uint32_t> PeerPlan::find_source(const Wish& wish, Object& object, Time now) const {
  const std::size_t count = object.holders.size();
  const std::string& near = workers_.at(wish.target).host;
  std::optional<std::tuple<bool, int, std::size_t>> best;  // far, sending, how far from the cursor
  std::size_t compared = 0;
  for (std::size_t i = 0; i < std::min(count, holders_looked_at) && compared < sources_compared; ++i) {
    const std::uint32_t candidate = object.holders[(object.cursor + i) % count];
    const Worker& worker = workers_.at(candidate);
    if (worker.sending >= config_.sends_per_source || !usable(wish, candidate, now)) continue;
    ++compared;
    const std::tuple rank(worker.host != near, worker.sending, i);
    if (!best || rank < *best) best = rank;
  }
  if (!best) return std::nullopt;
  const std::size_t at = (object.cursor + std::get<2>(*best)) % count;
  object.cursor = (at + 1) % count;
  return object.holders[at];
}

// Will some copy that exists or is under way be passed on to this one?
bool PeerPlan::can_spread(const Wish& wish, const Object& object, Time now) const {
  if (object.hopeless) return false;
  if (object.spreading > 0) return true;
  const auto end =
      object.holders.begin() + static_cast<std::ptrdiff_t>(std::min(object.holders.size(), holders_looked_at));
  return std::any_of(object.holders.begin(), end, [&](std::uint32_t holder) { return usable(wish, holder, now); });
}

void PeerPlan::give_order(std::uint64_t id, Object& object, std::uint32_t source, Time now,
                          std::vector<PeerOrder>& out) {
  Wish& wish = wishes_.at(id);
  Running running;
  running.wish = id;
  running.order = {next_id_++, wish.object, source, wish.target, now + time_for(object)};
  wish.order = running.order.id;
  ++object.spreading;
  if (source == no_index) {
    ++object.manager_sends;
    object.from_manager.insert(wish.target);
  } else {
    ++workers_.at(source).sending;
    workers_.at(source).sends.insert(running.order.id);
    ++workers_.at(wish.target).receiving;
  }
  reminders_.push({running.order.deadline, running.order.id});
  out.push_back(running.order);
  orders_.emplace(running.order.id, std::move(running));
}

// False: it goes on waiting here.
bool PeerPlan::try_wish(std::uint64_t id, Object& object, Time now, std::vector<PeerOrder>& out) {
  const Wish& wish = wishes_.at(id);
  const bool given_up =
      object.hopeless || wish.failures >= config_.most_failures || now >= wish.since + time_for(object);
  Worker& target = workers_.at(wish.target);
  const bool room = target.receiving < config_.receives_per_target;
  if (!given_up && object.passable && room) {
    if (const auto source = find_source(wish, object, now)) {
      give_order(id, object, *source, now, out);
      return true;
    }
  }
  const auto most = static_cast<std::size_t>(config_.sends_per_source);
  const bool early = static_cast<std::size_t>(object.manager_sends) < most &&
                     (object.from_manager.size() < most || !can_spread(wish, object, now));
  if (given_up || early) {
    give_order(id, object, no_index, now, out);
    return true;
  }
  if (room) return false;
  target.held_back.push_back(id);
  return true;
}

void PeerPlan::serve(ObjectId id, Object& object, Time now, std::vector<PeerOrder>& out) {
  std::vector<std::uint64_t> put_off;
  while (!object.waiting.empty() && put_off.size() < wishes_put_off) {
    const std::uint64_t next = object.waiting.front();
    object.waiting.pop_front();
    const auto wish = wishes_.find(next);
    if (wish == wishes_.end()) continue;
    if (wish->second.order == 0 && !try_wish(next, object, now, out)) {
      put_off.push_back(next);
    } else {
      wish->second.queued = false;
    }
  }
  object.waiting.insert(object.waiting.begin(), put_off.begin(), put_off.end());
  if (object.waiting.empty()) waited_for_.erase(id);
}

void PeerPlan::run_reminders(Time now) {
  while (!reminders_.empty() && reminders_.top().due <= now) {
    const std::uint64_t id = reminders_.top().id;
    reminders_.pop();
    if (const auto at = orders_.find(id); at != orders_.end()) {
      if (at->second.order.source != no_index) {
        failed(id, true, now);
        continue;
      }
      // It may still arrive; the others do not wait for it any longer.
      at->second.overdue = true;
      Object& object = objects_.at(at->second.order.object);
      --object.manager_sends;
      --object.spreading;
      mark(at->second.order.object);
    } else if (const auto wish = wishes_.find(id); wish != wishes_.end() && wish->second.order == 0) {
      queue_wish(id);
      mark(wish->second.object);
    }
  }
}

void PeerPlan::plan(Time now, std::vector<PeerOrder>& out) {
  run_reminders(now);
  while (!dirty_.empty()) {
    std::vector<ObjectId> objects;
    objects.swap(dirty_);
    for (const ObjectId id : objects) {
      const auto at = objects_.find(id);
      if (at == objects_.end()) continue;
      at->second.dirty = false;
      serve(id, at->second, now, out);
    }
  }
}

// --- questions ---

std::optional<Time> PeerPlan::next_deadline() const {
  if (reminders_.empty()) return std::nullopt;
  return reminders_.top().due;
}

const PeerOrder* PeerPlan::order(std::uint64_t id) const {
  const auto at = orders_.find(id);
  return at == orders_.end() ? nullptr : &at->second.order;
}

bool PeerPlan::needs_digest(ObjectId object) const {
  const auto at = objects_.find(object);
  return at != objects_.end() && !at->second.passable && !at->second.hopeless && !at->second.waiting.empty();
}

void PeerPlan::check_invariants() const {
  std::map<std::uint32_t, int> sending;
  std::map<std::uint32_t, int> receiving;
  std::map<ObjectId, int> by_manager;
  std::map<ObjectId, std::size_t> wishes;
  for (const auto& [id, running] : orders_) {
    const PeerOrder& order = running.order;
    TASKMILL_ASSERT(wishes_.at(running.wish).order == id && order.source != order.target);
    if (order.source == no_index) {
      by_manager[order.object] += running.overdue ? 0 : 1;
    } else {
      ++sending[order.source];
      ++receiving[order.target];
    }
  }
  for (const auto& [id, wish] : wishes_) {
    ++wishes[wish.object];
    TASKMILL_ASSERT(wish.order == 0 || orders_.contains(wish.order));
    TASKMILL_ASSERT(workers_.at(wish.target).wishes.at(wish.object) == id);
    TASKMILL_ASSERT(!workers_.at(wish.target).objects.contains(wish.object));
  }
  for (const auto& [id, worker] : workers_) {
    TASKMILL_ASSERT(worker.sending == sending[id] && worker.sending <= config_.sends_per_source);
    TASKMILL_ASSERT(worker.receiving == receiving[id] && worker.receiving <= config_.receives_per_target);
    TASKMILL_ASSERT(worker.sends.size() == static_cast<std::size_t>(worker.sending));
  }
  for (const auto& [id, object] : objects_) {
    TASKMILL_ASSERT(object.manager_sends == by_manager[id] && object.wishes == wishes[id]);
    for (const std::uint32_t holder : object.holders) TASKMILL_ASSERT(workers_.at(holder).objects.contains(id));
    TASKMILL_ASSERT(object.waiting.empty() || waited_for_.contains(id));
  }
}

}  // namespace taskmill::manager
