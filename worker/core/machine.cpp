#include "worker/core/machine.hpp"

#include <algorithm>
#include <cmath>

#include "common/base/assert.hpp"
#include "protocol/format.hpp"

namespace taskmill::worker {
namespace {

/// A manager that is silent for so long while it owes us a question counts as lost, however short --idle-timeout is.
constexpr Duration least_silence = std::chrono::seconds(60);
constexpr std::int64_t megabyte = 1 << 20;
constexpr Duration running_interval = std::chrono::milliseconds(100);

std::optional<Time> earlier(std::optional<Time> a, std::optional<Time> b) {
  if (!a) return b;
  if (!b) return a;
  return std::min(*a, *b);
}

}  // namespace

void Effects::clear() {
  lines.clear();
  push.clear();
  reply.clear();
  start.clear();
  terminate.clear();
  kill.clear();
  discard.clear();
  fetch.clear();
  cancel_fetch.clear();
  remove.clear();
  leave.reset();
}

bool Effects::empty() const {
  return lines.empty() && push.empty() && reply.empty() && start.empty() && terminate.empty() && kill.empty() &&
         discard.empty() && fetch.empty() && cancel_fetch.empty() && remove.empty() && !leave;
}

const char* state_text(TaskState state) {
  switch (state) {
    case TaskState::awaiting_inputs:
      return "awaiting inputs";
    case TaskState::ready:
      return "ready";
    case TaskState::staging:
      return "staging";
    case TaskState::running:
      return "running";
    case TaskState::complete:
      return "complete";
    case TaskState::reported:
      return "reported";
    case TaskState::dying:
      return "dying";
  }
  return "?";
}

Machine::Machine(MachineConfig config, Time start) : config_(std::move(config)), life_(config_.life, start) {
  ledger_.offer(config_.offered);
}

TaskSlot* Machine::slot(TaskKey key) {
  const auto at = slots_.find(key);
  return at == slots_.end() ? nullptr : at->second.get();
}

// --- session ---

void Machine::on_session_started(const std::string& manager, int version, Now now, Effects& effects) {
  in_session_ = true;
  version_ = version;
  last_heard_ = now.time;
  last_task_ = 0;
  results_wanted_ = 0;
  notice_sent_ = false;
  life_.on_session_started(manager, now.time);
  if (const auto wall = life_.wall_deadline()) {
    const auto end = now.wall + (*wall - now.time);
    config_.identity.end_time_s = std::chrono::duration_cast<std::chrono::seconds>(end.time_since_epoch()).count();
  }
  append_hello(effects.lines, version_, config_.identity, ledger_.offered(), last_task_, running_);
}

void Machine::on_session_ended(SessionEnd end, Time now, Effects& effects) {
  in_session_ = false;
  std::vector<TaskKey> known;
  for (const auto& [id, key] : by_id_) known.push_back(key);
  std::sort(known.begin(), known.end());
  for (const auto key : known) drop(*slots_.at(key), effects);
  for (const auto& [id, fetch] : fetches_) effects.cancel_fetch.push_back(id);
  fetches_.clear();
  fetch_queue_.clear();
  cache_.clear();
  evicted_.clear();
  environments_.clear();
  finished_.clear();
  to_push_.clear();
  push_by_.reset();
  unacknowledged_.clear();
  unacknowledged_bytes_ = push_sequence_ = 0;
  watch_dirty_ = false;
  running_changed_ = false;
  offer_changed_ = false;
  effects.lines.clear();
  effects.push.clear();
  effects.reply.clear();
  life_.on_session_ended(end, now);
}

void Machine::leave(SessionEnd end, std::string reason, Effects& effects) {
  if (!effects.leave) effects.leave = Leave{end, std::move(reason)};
}

void Machine::on_check(Effects& effects) {
  protocol::alive(effects.lines);
  protocol::info(effects.lines, "tasks_running", static_cast<std::int64_t>(running_));
}

// --- results ---

void Machine::on_results_requested() { ++results_wanted_; }

void Machine::answer_results(Now now, Effects& effects) {
  TASKMILL_ASSERT(results_wanted_ > 0);
  std::string text;
  const auto flush = [&] {
    if (text.empty()) return;
    effects.reply.push_back({ReplyPart::Kind::text, std::move(text), 0, 0, 0});
    text.clear();
  };
  while (!finished_.empty()) {
    const TaskKey key = finished_.front();
    finished_.pop_front();
    TaskSlot* task = slot(key);
    if (task == nullptr || task->state != TaskState::complete) continue;
    const TaskResult& result = task->result;
    const auto length = result.has_output ? result.output_length : result.text.size();
    protocol::result(text, result.status, result.exit_code, length, result.execution_us, task->description.task_id,
                     result.extra);
    if (result.has_output && length > 0) {
      flush();
      effects.reply.push_back({ReplyPart::Kind::output, {}, key, 0, length});
    } else {
      text += result.text;
    }
    protocol::info(text, "tasks_running", static_cast<std::int64_t>(running_));
    task->state = TaskState::reported;
    // Managers send no `kill` for a refused task and may send the same id again at once (wire 10.4).
    if (result.status == 40) drop(*task, effects);
  }
  for (const auto key : watching_) {
    TaskSlot* task = slot(key);
    for (auto& watched : task->watched) {
      if (watched.given_up || watched.size <= watched.sent) continue;
      const auto& path = task->description.outputs[watched.output].sandbox_name;
      const auto length = watched.size - watched.sent;
      if (protocol::update(text, task->description.task_id, path, watched.sent, length)) {
        flush();
        effects.reply.push_back({ReplyPart::Kind::watched, path, key, watched.sent, length});
      }
      watched.sent = watched.size;
    }
  }
  watch_dirty_ = false;
  watch_not_before_ = now.time + config_.watch_interval;
  protocol::end(text);
  flush();
  --results_wanted_;
  if (results_wanted_ == 0) notice_sent_ = false;
}

bool Machine::watch_news() const { return watch_dirty_; }

void Machine::notify(Time now, Effects& effects) {
  if (offer_changed_) {
    append_resources(effects.lines, version_, config_.identity, ledger_.offered(), last_task_, running_);
    running_changed_ = false;
  }
  offer_changed_ = false;
  push_results(now, effects);
  tell_running(now, effects);
  if (notice_sent_ || results_wanted_ > 0) return;
  if (finished_.empty() && !(watch_news() && now >= watch_not_before_)) return;
  protocol::available_results(effects.lines);
  notice_sent_ = true;
}

// A number for statistics: it must not cost each task a message of its own.
void Machine::tell_running(Time now, Effects& effects) {
  if (!running_changed_ || now < running_told_ + running_interval) return;
  protocol::info(effects.lines, "tasks_running", static_cast<std::int64_t>(running_));
  running_changed_ = false;
  running_told_ = now;
}

void Machine::on_watch_size(TaskKey key, std::size_t watch, std::uint64_t size, Time now) {
  TaskSlot* task = slot(key);
  if (task == nullptr || task->state != TaskState::running || watch >= task->watched.size()) return;
  auto& watched = task->watched[watch];
  if (watched.given_up || size == watched.size) return;
  if (size < watched.size) {
    watched.given_up = true;
    return;
  }
  watched.size = size;
  if (!watch_dirty_ && watch_not_before_ < now) watch_not_before_ = now;
  watch_dirty_ = true;
}

// --- resources ---

void Machine::on_coprocesses(std::int64_t count, const std::string& name) {
  ledger_.offer_coprocesses(count);
  config_.identity.coprocess = name;
}

void Machine::on_disk_measured(std::int64_t free_mb, Time now, Effects& effects) {
  const auto measured = free_mb + used_disk();
  Resources offered = ledger_.offered();
  offered.disk = std::min(measured, disk_allowed().value_or(measured));
  if (config_.disk_promise > 0 && measured < config_.disk_promise) {
    const auto reason = "has less than the promised disk space (--disk > disk total) " +
                        std::to_string(config_.disk_promise) + " < " + std::to_string(measured) + " MB";
    if (in_session_) protocol::info(effects.lines, "disk_error", measured);
    life_.stop(reason);
    leave(SessionEnd::stopped, reason, effects);
    return;
  }
  if (const auto lacking = config_.disk_reserve - free_mb; lacking > 0) {
    make_room(static_cast<std::uint64_t>(lacking) * megabyte, effects);
  }
  check_cache_size(effects);
  if (effects.leave) return;
  const auto before = ledger_.offered().disk;
  const auto change = std::abs(offered.disk - before);
  if (change > 1024 || change * 20 > before) update_offer(offered, effects);
  (void)now;
}

// The cache may not become larger than the disk that was promised for everything. What nobody uses goes first.
void Machine::check_cache_size(Effects& effects) {
  const auto allowed = disk_allowed();
  if (!allowed || effects.leave) return;
  if (const auto excess = used_disk() - *allowed; excess > 0) {
    make_room(static_cast<std::uint64_t>(excess) * megabyte, effects);
  }
  const auto used = used_disk();
  if (config_.disk_promise <= 0 || used <= config_.disk_promise) return;
  protocol::info(effects.lines, "disk_exhausted", used);
  leave(SessionEnd::lost,
        config_.workspace + " used more than declared disk space (--disk - < disk used) " +
            std::to_string(config_.disk_promise) + " < " + std::to_string(used) + " MB",
        effects);
}

std::optional<std::int64_t> Machine::disk_allowed() const {
  if (config_.disk_promise > 0) return config_.disk_promise;
  if (config_.disk_granted > 0) return config_.disk_granted;
  return std::nullopt;
}

std::int64_t Machine::used_disk() const {
  return static_cast<std::int64_t>((cache_.bytes() + megabyte - 1) / megabyte);
}

void Machine::update_offer(Resources offered, Effects&) {
  ledger_.offer(offered);
  offer_changed_ = in_session_;
}

// --- time ---

void Machine::check_idle(Now now, Effects& effects) {
  if (!in_session_) return;
  if (by_id_.empty()) {
    if (now.time < life_.idle_deadline()) return;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(config_.idle_timeout).count();
    protocol::info(effects.lines, "idle-disconnecting", seconds);
    leave(SessionEnd::idle, "I did not receive any task in " + std::to_string(seconds) + " seconds (--idle-timeout).",
          effects);
    return;
  }
  const bool its_turn = running_ == 0 && ready_count_ == 0 && fetches_.empty() && !awaits_any_environment();
  if (its_turn && now.time >= last_heard_ + std::max(config_.idle_timeout, least_silence)) {
    leave(SessionEnd::lost, "the manager did not ask for the results that wait for it", effects);
  }
}

void Machine::run(Now now, Effects& effects) {
  life_.check(now.time);
  if (in_session_) {
    if (const auto wall = life_.wall_deadline(); wall && now.time >= *wall) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(config_.life.wall_time).count();
      protocol::info(effects.lines, "wall_time_exhausted", seconds);
      leave(SessionEnd::stopped, life_.stop_reason(), effects);
    }
    check_cache_size(effects);
    act_on_fetch_limits(now.time, effects);
    pump_fetches(now.time, effects);
    start_ready(now, effects);
  }
  act_on_limits(now, effects);
  check_idle(now, effects);
  if (in_session_ && !effects.leave) notify(now.time, effects);
}

std::optional<Time> Machine::next_deadline() const {
  std::optional<Time> next = life_.wall_deadline();
  if (life_.stopping()) next.reset();
  if (!limits_.empty()) next = earlier(next, limits_.begin()->first);
  if (!in_session_) return next;
  if (by_id_.empty()) {
    next = earlier(next, life_.idle_deadline());
  } else if (running_ == 0 && ready_count_ == 0 && fetches_.empty() && !awaits_any_environment()) {
    next = earlier(next, last_heard_ + std::max(config_.idle_timeout, least_silence));
  }
  for (const auto& [id, fetch] : fetches_) next = earlier(next, fetch.limit);
  if (watch_dirty_ && !notice_sent_ && results_wanted_ == 0) next = earlier(next, watch_not_before_);
  if (running_changed_) next = earlier(next, running_told_ + running_interval);
  if (!to_push_.empty() && unacknowledged_bytes_ <= push_limit_) next = earlier(next, push_by_);
  return next;
}

void Machine::check_invariants() const {
  Allocation sum;
  std::size_t processes = 0;
  std::size_t running = 0;
  std::size_t known = 0;
  for (const auto& [key, task] : slots_) {
    const bool holds =
        task->state == TaskState::staging || task->state == TaskState::running || task->state == TaskState::dying;
    TASKMILL_ASSERT(holds == task->claim.has_value());
    if (task->claim) {
      sum.cores_milli += task->claim->amount.cores_milli;
      sum.memory += task->claim->amount.memory;
      sum.disk += task->claim->amount.disk;
      sum.gpus += task->claim->amount.gpus;
      sum.coprocesses += task->claim->amount.coprocesses;
      ++processes;
    }
    if (task->state == TaskState::staging || task->state == TaskState::running) ++running;
    if (task->state != TaskState::dying) {
      ++known;
      TASKMILL_ASSERT(by_id_.at(task->description.task_id) == key);
    }
  }
  TASKMILL_ASSERT(sum == ledger_.taken());
  TASKMILL_ASSERT(processes == processes_ && running == running_ && known == by_id_.size());
  std::size_t ready = 0;
  for (const auto& [amount, keys] : ready_) ready += keys.size();
  TASKMILL_ASSERT(ready == ready_count_);
}

}  // namespace taskmill::worker
