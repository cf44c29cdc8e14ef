// Workers connected, introduced, resized, blocked, drained, lost.
#include <algorithm>
#include <cmath>

#include "manager/core/state.hpp"

namespace taskmill::manager {

Worker* State::worker_of(ConnId conn) {
  const std::uint32_t slot = worker_slot(conn);
  return slot == no_index ? nullptr : &workers[slot];
}

std::uint32_t State::type_of(const Box& largest_box, const Box& total) {
  std::uint32_t spare = no_index;
  for (std::uint32_t i = 0; i < types.size(); ++i) {
    if (types[i].live == 0) {
      if (spare == no_index) spare = i;
    } else if (types[i].largest == largest_box && types[i].total == total) {
      return i;
    }
  }
  if (spare == no_index) {
    spare = static_cast<std::uint32_t>(types.size());
    types.emplace_back();
  }
  types[spare] = {largest_box, total, 0};
  ++box_epoch;  // a size that was not there before: what fitted nowhere may fit now
  return spare;
}

void State::commit_resources(std::uint32_t slot) {
  Worker& w = workers[slot];
  const bool was = w.type != no_index;
  if (was) {
    --types[w.type].live;
    sum_total -= w.total;
  }
  w.total = w.reported_total;
  w.largest = w.reported_largest;
  w.smallest = w.reported_smallest;
  w.type = type_of(w.largest, w.total);
  ++types[w.type].live;
  sum_total += w.total;
  refresh_largest();
  freed(slot);
}

Resources State::largest_type() const {
  Resources most;
  for (const WorkerType& type : types) {
    if (type.live > 0) most = raised(most, to_resources(type.largest));
  }
  return most;
}

void State::refresh_largest() {
  const Resources most = largest_type();
  if (most == largest) return;
  largest = most;
  ++box_epoch;
  unpark_all();
}

void State::unpark_all() {
  for (const auto& active : ready.active()) ready.unpark(active.shape);
}

bool State::is_blocked(const Worker& worker) const {
  if (blocked.empty() || worker.foreman) return false;
  return blocked.find(worker.hostname) != blocked.end();
}

void State::block(std::string_view host, std::optional<Duration> timeout) {
  ++counters.workers_blocked;
  std::optional<Time> until;
  if (timeout) until = now.time + *timeout;
  blocked.insert_or_assign(std::string(host), until);
  if (until) timers.add({*until, TimerKind::blocks, 0, 0});
}

void State::add_feature(std::uint32_t slot, std::string_view feature) {
  Worker& w = workers[slot];
  constexpr std::size_t most = 1000;
  const auto at = std::lower_bound(w.features.begin(), w.features.end(), feature);
  if ((at != w.features.end() && *at == feature) || w.features.size() >= most) return;
  w.features.insert(at, std::string(feature));
  w.features_memo.clear();
  freed(slot);
}

bool State::has_features(Worker& worker, std::uint32_t set) {
  if (set == 0) return true;
  if (worker.features_memo.size() <= set) worker.features_memo.resize(feature_sets.size(), -1);
  std::int8_t& memo = worker.features_memo[set];
  if (memo < 0) {
    memo = std::includes(worker.features.begin(), worker.features.end(), feature_sets[set].begin(),
                         feature_sets[set].end())
               ? 1
               : 0;
  }
  return memo == 1;
}

// Called when the worker may take more than before: room, features, an end of a block.
void State::freed(std::uint32_t slot) {
  Worker& w = workers[slot];
  if (w.freed || !w.introduced()) return;
  w.freed = true;
  match.freed.push_back(slot);
}

void State::take_box(Attempt& a) {
  Worker& w = workers[a.worker];
  TASKMILL_ASSERT(!a.counted);
  a.counted = true;
  (a.coprocess ? w.coprocess_in_use : w.in_use) += a.box;
  if (!a.coprocess) sum_in_use += a.box;
}

void State::give_box(Attempt& a) {
  Worker& w = workers[a.worker];
  if (!a.counted) {
    if (a.state == AttemptState::running && w.prefetched > 0) --w.prefetched;
    return;
  }
  a.counted = false;
  (a.coprocess ? w.coprocess_in_use : w.in_use) -= a.box;
  if (!a.coprocess) sum_in_use -= a.box;
}

// Tasks sent ahead move up in the order in which they were sent, as they do at the worker.
void State::promote_prefetched(std::uint32_t slot) {
  Worker& w = workers[slot];
  for (std::uint32_t a = w.head; a != no_index && w.prefetched > 0; a = attempts[a].next) {
    Attempt& attempt = attempts[a];
    if (attempt.counted || attempt.state != AttemptState::running) continue;
    const Box& total = attempt.coprocess ? w.coprocess_total : w.total;
    const Box& used = attempt.coprocess ? w.coprocess_in_use : w.in_use;
    if (!fits(attempt.box, total, used, config.resource_submit_multiplier)) return;
    --w.prefetched;
    attempt.started = now.time;
    take_box(attempt);
  }
}

void State::join_factory(std::uint32_t slot, std::string_view name) {
  Worker& w = workers[slot];
  if (const auto at = factory_names.find(name); at != factory_names.end()) {
    w.factory = at->second;
  } else {
    // Names are a worker's to choose: those that nobody has any more make room, so that the table stays bounded.
    auto place = factories.size();
    if (place >= most_idle_factories) {
      for (std::size_t i = 0; i < factories.size() && place == factories.size(); ++i)
        if (factories[i].connected == 0) place = i;
    }
    if (place == factories.size()) {
      factories.emplace_back();
    } else {
      factory_names.erase(factories[place].name);
    }
    factories[place] = {std::string(name), -1, 0};
    w.factory = factory_names[std::string(name)] = static_cast<std::uint32_t>(place);
  }
  ++factories[w.factory].connected;
  introduce(slot);
}

void State::introduce(std::uint32_t slot) {
  Worker& w = workers[slot];
  if (w.factory == no_index) return;
  const Factory& factory = factories[w.factory];
  if (factory.max >= 0 && factory.connected > static_cast<std::uint64_t>(factory.max)) leave_if_idle(slot);
}

void State::tell_exit(std::uint32_t slot, bool release) {
  Worker& w = workers[slot];
  if (w.leaving) return;
  w.leaving = true;
  ++counters.workers_released;
  act(release ? ActionKind::release : ActionKind::exit, w);
  unsettle(slot);
}

void State::leave_if_idle(std::uint32_t slot) {
  Worker& w = workers[slot];
  if (w.attempts > 0 || w.leaving) return;
  const bool surplus = w.factory != no_index && factories[w.factory].max >= 0 &&
                       factories[w.factory].connected > static_cast<std::uint64_t>(factories[w.factory].max);
  if (!w.draining && !surplus) return;
  if (surplus) --factories[w.factory].connected;
  if (surplus) w.factory = no_index;  // it counts no longer: its successor must not be sent away for it
  tell_exit(slot, false);
}

void State::close_worker(std::uint32_t slot, CloseReason reason) {
  act(ActionKind::close, workers[slot]).reason = reason;
  remove_worker(slot, reason);
}

namespace {
bool counts_as_lost(CloseReason reason) {
  switch (reason) {
    case CloseReason::disconnected:
    case CloseReason::keepalive:
    case CloseReason::transfer_timeout:
    case CloseReason::protocol_error:
    case CloseReason::bad_version:
      return true;
    default:
      return false;
  }
}
std::vector<std::uint32_t> files_held_by(const Worker& worker) {
  std::vector<std::uint32_t> held;
  worker.cache.each([&held](std::uint32_t file, const CacheEntry&) { held.push_back(file); });
  return held;
}

}  // namespace

void State::remove_worker(std::uint32_t slot, CloseReason reason) {
  Worker& w = workers[slot];
  if (w.leaving && reason == CloseReason::disconnected) reason = CloseReason::released;
  unsettle(slot);
  if (w.freed) match.freed.erase(std::find(match.freed.begin(), match.freed.end(), slot));
  if (w.greeted) {
    record_worker(w, std::string("DISCONNECTION ") + (reason == CloseReason::idle_out ? "IDLE_OUT"
                                                      : reason == CloseReason::slow   ? "FAST_ABORT"
                                                      : counts_as_lost(reason)        ? "FAILURE"
                                                                                      : "EXPLICIT"));
    --connected_workers;
    ++counters.workers_removed;
    if (reason == CloseReason::idle_out) ++counters.workers_idled_out;
    if (reason == CloseReason::slow) ++counters.workers_fast_aborted;
    Report report;
    report.kind = ReportKind::worker_left;
    report.left = reason;
    report.conn = w.conn;
    out.reports.push_back(report);
  }
  if (counts_as_lost(reason)) ++counters.workers_lost;

  std::vector<std::uint32_t> affected;
  while (w.head != no_index) {
    Attempt& a = attempts[w.head];
    affected.push_back(a.task);
    fill_outcome(w.head);
    if (a.state == AttemptState::running && a.counted) {
      TaskOutcome& outcome = history_of(a.task).outcome;
      outcome.execute_failure += now.time - a.started;
      outcome.execute_all += now.time - a.started;
    }
    done_with_inputs(w.head, false);
    end_attempt(w.head);
  }
  for (const std::uint32_t file : files_held_by(w)) forget_copy(slot, FileId(file));
  leave_shared(slot);
  release_records(w);
  const bool had_type = w.type != no_index;
  if (had_type) {
    --types[w.type].live;
    sum_total -= w.total;
  }
  if (w.factory != no_index) --factories[w.factory].connected;
  const ConnId conn = w.conn;
  conns.erase(conn.value());
  w = Worker{};
  workers.drop(slot);
  if (had_type) refresh_largest();
  for (const std::uint32_t task : affected) {
    if (tasks[task].attempt == no_index) {
      requeue(task, reason == CloseReason::drained ? RequeueReason::worker_drained : RequeueReason::worker_lost);
      continue;
    }
    Report report;
    report.kind = ReportKind::copy_lost;
    report.why = RequeueReason::worker_lost;
    report.task = tasks[task].id;
    report.conn = conn;
    out.reports.push_back(report);
  }
}

}  // namespace taskmill::manager
