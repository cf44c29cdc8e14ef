// Which large cached input goes from whom to whom: the plan's orders become actions, their outcome becomes facts.
#include "manager/core/shared_inputs.hpp"

#include <algorithm>

#include "manager/core/state.hpp"

namespace taskmill::manager {
namespace {

bool is_loopback(std::string_view address) {
  return address.starts_with("127.") || address.starts_with("[::1]") || address.starts_with("[::ffff:127.");
}

}  // namespace

// 0: it goes the plain way.
ObjectId State::shared_object(std::uint32_t slot, FileId file) {
  if (config.peer_transfers <= 0 || !shared.plan.knows(slot)) return 0;
  const FileRecord& record = files[file];
  std::uint64_t bytes = 0;
  if (record.kind == FileKind::file && record.known == FileKnown::found && !record.directory) bytes = record.size;
  if (record.kind == FileKind::piece) bytes = record.length;
  if (record.kind == FileKind::buffer && record.data) bytes = record.data->size();
  if (record.kind == FileKind::environment) bytes = record.size;
  if (!record.cached || bytes < config.peer_min_bytes || bytes == 0) return 0;
  const auto [at, fresh] = shared.ids.try_emplace({file.value(), record.version}, shared.next);
  if (fresh) {
    SharedInput& object = shared.objects[shared.next++];
    object.file = file.value();
    object.version = record.version;
    object.bytes = bytes;
    shared.plan.add_object(at->second, bytes);
    if (record.kind == FileKind::environment) share_environment(at->second, object);
  }
  return at->second;
}

void State::stage_copy(std::uint32_t slot, std::uint32_t attempt, FileId file, std::uint32_t number,
                       std::string_view remote) {
  const Attempt& a = attempts[attempt];
  // Environments are always offered at once; the worker itself asks where to get what it lacks.
  const bool offered = files[file].kind == FileKind::environment;
  const ObjectId object = offered ? 0 : shared_object(slot, file);
  if (object == 0 || shared.wishes.contains({slot, object}))
    return stage(slot, file, number, remote, {a.serial, tasks[a.task].id});
  SharedWish& wish = shared.wishes[{slot, object}];
  wish.number = number;
  wish.serial = a.serial;
  wish.task = tasks[a.task].id;
  wish.remote = remote;
  wish.since = now.time;
  shared.plan.want(slot, object, now.time);
  run_shared();
  SharedInput& input = shared.objects.at(object);
  if (shared.plan.needs_digest(object) && !std::exchange(input.digest_asked, true)) ask_digest(object, input);
  const auto at = shared.wishes.find({slot, object});
  if (at == shared.wishes.end() || at->second.order != 0) return;
  at->second.announced = true;
  const TextRef name = out.add(name_text({file.value(), number}, {}));
  act(ActionKind::peer_await, workers[slot]).name = name;
}

void State::ask_digest(ObjectId object, const SharedInput& input) {
  const FileRecord& record = files[FileId(input.file)];
  DigestRequest request;
  request.object = object;
  request.file = FileId(input.file);
  request.kind = record.kind;
  request.path = out.add(record.source);
  request.offset = record.offset;
  request.length = record.length;
  out.digests.push_back(request);
}

// The digest counts only for the content that the workers were given.
void State::on_digest(ObjectId object, const DigestResult& result) {
  const auto at = shared.objects.find(object);
  if (at == shared.objects.end()) return;
  SharedInput& input = at->second;
  const FileRecord& record = files[FileId(input.file)];
  const bool is_file = record.kind != FileKind::buffer;
  const bool whole = record.kind != FileKind::file || result.size == input.bytes;
  if (!result.error.empty() || record.version != input.version || !whole ||
      (is_file && result.mtime_ns != record.mtime_ns)) {
    notice(NoticeLevel::debug, "input " + record.source + " is not passed on by workers: " +
                                   (result.error.empty() ? "it has changed" : result.error));
    shared.plan.make_hopeless(object);
  } else {
    input.digest = result.digest;
    input.mode = result.mode;
    shared.plan.make_passable(object);
  }
  run_shared();
}

void State::run_shared() {
  if (shared.objects.empty()) return;
  shared.plan.plan(now.time, shared.orders);
  std::vector<PeerOrder> orders;
  orders.swap(shared.orders);
  for (const PeerOrder& order : orders) give_order(order);
  orders.clear();
  orders.swap(shared.orders);
  const auto next = shared.plan.next_deadline();
  if (!next || *next >= shared.armed) return;
  shared.armed = *next;
  timers.add({*next, TimerKind::peers, 0, 0});
}

void State::give_order(const PeerOrder& order) {
  SharedWish& wish = shared.wishes.at({order.target, order.object});
  wish.order = order.id;
  const SharedInput& input = shared.objects.at(order.object);
  if (input.environment) return order_environment(order, input);
  const FileId file(input.file);
  if (order.source == no_index)
    return stage(order.target, file, wish.number, std::string(wish.remote), {wish.serial, wish.task});
  const CacheEntry* copy = workers[order.source].cache.find(input.file);
  TASKMILL_ASSERT(copy != nullptr && copy->version == input.version);
  PeerTransfer transfer;
  transfer.order = order.id;
  transfer.source = workers[order.source].conn;
  transfer.source_name = out.add(name_text({input.file, copy->number}, {}));
  transfer.digest = input.digest;
  transfer.size = input.bytes;
  transfer.mode = input.mode;
  transfer.limit = order.deadline - now.time;
  out.transfers.push_back(transfer);
  wish.announced = true;
  const TextRef name = out.add(name_text({input.file, wish.number}, {}));
  Action& action = act(ActionKind::peer_transfer, workers[order.target]);
  action.name = name;
  action.index = static_cast<std::uint32_t>(out.transfers.size() - 1);
}

// --- what became of it ---

State::WishAt State::wish_for(std::uint32_t slot, std::uint32_t file, std::uint32_t number) {
  auto id = shared.ids.lower_bound({file, 0});
  for (; id != shared.ids.end() && id->first.first == file; ++id) {
    const auto at = shared.wishes.find({slot, id->second});
    if (at != shared.wishes.end() && at->second.number == number) return at;
  }
  return shared.wishes.end();
}

void State::drop_wish(WishAt wish) {
  if (wish == shared.wishes.end()) return;
  const auto [slot, object] = wish->first;
  shared.plan.unwant(slot, object);
  shared.wishes.erase(wish);
  drop_object_if_unused(object);
}

void State::drop_object_if_unused(ObjectId object) {
  if (!shared.plan.drop_if_unused(object)) return;
  const auto at = shared.objects.find(object);
  if (at == shared.objects.end()) return;
  shared.ids.erase({at->second.file, at->second.version});
  shared.objects.erase(at);
}

// The manager has sent it. Only content that is what the digest is made of may be passed on.
void State::shared_copy_sent(std::uint32_t slot, const Staging& staging, const StageDone& done) {
  const auto wish = wish_for(slot, staging.file, staging.number);
  if (wish == shared.wishes.end() || shared.objects.at(wish->first.second).environment) return;
  const ObjectId object = wish->first.second;
  const SharedInput& input = shared.objects.at(object);
  const CacheEntry* entry = workers[slot].cache.find(staging.file);
  const FileRecord& record = files[FileId(staging.file)];
  const bool same = record.kind == FileKind::buffer ||
                    (done.mtime_ns == record.mtime_ns && (record.kind != FileKind::file || done.size == input.bytes));
  if (same && entry != nullptr && entry->number == staging.number && entry->version == input.version &&
      record.version == input.version) {
    shared.plan.got(wish->second.order);
    shared.wishes.erase(wish);
  } else {
    drop_wish(wish);
  }
  run_shared();
}

void State::shared_copy_failed(std::uint32_t slot, const Staging& staging) {
  const auto wish = wish_for(slot, staging.file, staging.number);
  if (wish == shared.wishes.end()) return;
  if (wish->second.announced) {
    unlink_name(slot, {staging.file, staging.number});  // the worker need not wait; ends the wish as well
  } else {
    drop_wish(wish);
  }
}

void State::on_peer_done(std::uint32_t slot, const PeerOutcome& outcome) {
  const PeerOrder* known = shared.plan.order(outcome.order);
  if (known == nullptr || known->target != slot || known->source == no_index) return;  // it has ended before
  const PeerOrder order = *known;
  const auto wish = shared.wishes.find({slot, order.object});
  if (!outcome.ok) {
    ++counters.peer_failures;
    if (shared.objects.at(order.object).environment)
      counters.bytes_by_peers += static_cast<std::int64_t>(outcome.bytes);
    notice(NoticeLevel::debug, "worker " + workers[slot].hostname + " did not get " +
                                   files[FileId(shared.objects.at(order.object).file)].source + " from worker " +
                                   workers[order.source].hostname + " (" + workers[order.source].address +
                                   "): " + outcome.error);
    wish->second.order = 0;
    shared.plan.failed(order.id, outcome.blame, now.time);
    return run_shared();
  }
  const SharedInput& input = shared.objects.at(order.object);
  ++counters.peer_transfers;
  counters.bytes_by_peers += static_cast<std::int64_t>(input.environment ? outcome.bytes : input.bytes);
  if (input.environment) return;  // it has arrived when the worker says that it is ready
  CacheEntry* entry = workers[slot].cache.find(input.file);
  const bool current = entry != nullptr && entry->number == wish->second.number && entry->version == input.version;
  if (current) {
    entry->in_flight = false;
    begin_waiting_attempts(slot, {input.file, wish->second.number});
    shared.plan.got(order.id);
    shared.wishes.erase(wish);
  } else {
    drop_wish(wish);  // an old version, which only those that have waited for it still use
  }
  run_shared();
}

// Tasks that waited for it at the worker start only now: their time must not count as running.
void State::begin_waiting_attempts(std::uint32_t slot, RemoteName name) {
  for (std::uint32_t a = workers[slot].head; a != no_index; a = attempts[a].next) {
    Attempt& attempt = attempts[a];
    if (attempt.state != AttemptState::running) continue;
    const bool uses = std::any_of(attempt.names.begin(), attempt.names.end(), [&](const RemoteName& used) {
      return used.file == name.file && used.number == name.number;
    });
    if (uses) attempt.started = now.time;
  }
}

void State::share_lost(std::uint32_t slot, std::uint32_t file, std::uint32_t version) {
  const auto id = shared.ids.find({file, version});
  if (id == shared.ids.end()) return;
  const ObjectId object = id->second;
  shared.plan.lost(slot, object);
  drop_object_if_unused(object);
}

void State::leave_shared(std::uint32_t slot) {
  if (!shared.plan.knows(slot)) return;
  std::vector<ObjectId> wished;
  for (auto at = shared.wishes.lower_bound({slot, 0}); at != shared.wishes.end() && at->first.first == slot;) {
    wished.push_back(at->first.second);
    at = shared.wishes.erase(at);
  }
  shared.plan.leave(slot);
  for (const ObjectId object : wished) drop_object_if_unused(object);
}

void State::join_shared(std::uint32_t slot) {
  const Worker& w = workers[slot];
  if (!w.facts.peers || config.peer_transfers <= 0) return;
  PeerPlanConfig plan;
  plan.sends_per_source = config.peer_transfers;
  shared.plan.configure(plan);
  shared.plan.join(slot, w.hostname, is_loopback(w.address));
}

// --- the machine's side ---

void Machine::on_peer_listening(ConnId conn, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot != no_index) s.shared.plan.serves(slot);
}

void Machine::on_digest(std::uint64_t object, const DigestResult& result, Now now) {
  state_->now = now;
  state_->on_digest(object, result);
}

void Machine::on_peer_done(ConnId conn, const PeerOutcome& outcome, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot != no_index) s.on_peer_done(slot, outcome);
}

}  // namespace taskmill::manager
