// Tasks of the machine: admission, waiting, starting, limits, ends.
#include <sys/wait.h>

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/text.hpp"
#include "protocol/format.hpp"
#include "protocol/result_code.hpp"
#include "worker/core/machine.hpp"
#include "worker/core/paths.hpp"

namespace taskmill::worker {
namespace {

constexpr int input_missing = static_cast<int>(protocol::ResultCode::input_missing);
constexpr int forsaken = static_cast<int>(protocol::ResultCode::forsaken);
constexpr int over_end_time = static_cast<int>(protocol::ResultCode::task_timeout);
constexpr int over_run_time = static_cast<int>(protocol::ResultCode::task_max_run_time);
constexpr int killed = 9;

/// No limit acts earlier than this after the start: managers that put microseconds where seconds belong, and the
/// reverse, are known, and the old workers looked only every 5 s (worker.md 9.2).
constexpr double least_wall_s = 5;
constexpr double most_wall_s = 1e9;

Duration seconds(double value) {
  return Duration(static_cast<Duration::rep>(std::clamp(value, -most_wall_s, most_wall_s) * 1e6));
}

std::string message(const std::string& text) { return "work_queue_worker: " + text + "\n"; }

// Puts names into their plain form; returns what is wrong with the first bad one.
std::string check_names(protocol::TaskDescription& task) {
  const auto check = [](const std::string& cache_name, std::string& name, const char* kind) -> std::string {
    const auto path = sandbox_path(name);
    if (!path) return std::string(kind) + " name '" + name + "' leaves the sandbox of the task";
    name = *path;
    if (!is_safe_name(cache_name))
      return std::string(kind) + " '" + name + "' has the bad cache name '" + cache_name + "'";
    return {};
  };
  for (auto& input : task.inputs) {
    static const std::string none = "-";
    if (auto bad = check(input.empty_directory ? none : input.cache_name, input.sandbox_name, "input"); !bad.empty())
      return bad;
  }
  for (auto& output : task.outputs) {
    if (auto bad = check(output.cache_name, output.sandbox_name, "output"); !bad.empty()) return bad;
  }
  return {};
}

Resources request_of(const protocol::TaskDescription& task) {
  const auto whole = [](const std::optional<double>& value) {
    return value ? static_cast<std::int64_t>(std::clamp(*value, -1.0, 9e15)) : -1;
  };
  Resources request;
  request.cores = task.cores ? *task.cores : -1;
  request.memory = whole(task.memory);
  request.disk = whole(task.disk);
  request.gpus = whole(task.gpus);
  return request;
}

}  // namespace

void Machine::on_task(protocol::TaskDescription task, Now now, Effects& effects) {
  take(std::move(task), false, now, effects);
}

void Machine::take(protocol::TaskDescription task, bool pushed, Now now, Effects& effects) {
  life_.on_work(now.time);
  last_task_ = task.task_id;
  // The manager thinks of one task with this number; the old one is of no use to anybody.
  if (const auto at = by_id_.find(task.task_id); at != by_id_.end()) drop(*slots_.at(at->second), effects);
  const TaskKey key = next_key_++;
  auto& task_slot = *slots_.try_emplace(key, std::make_unique<TaskSlot>()).first->second;
  task_slot.key = key;
  task_slot.pushed = pushed;
  task_slot.description = std::move(task);
  by_id_[task_slot.description.task_id] = key;
  if (!admit(task_slot)) return;
  if (needs_evicted(task_slot)) return refuse(task_slot);  // sent before the manager knew
  await_inputs(task_slot, now.time, effects);
}

// False when the task got its result at once.
bool Machine::admit(TaskSlot& task) {
  if (const auto bad = check_names(task.description); !bad.empty()) {
    complete(task, no_run(input_missing, 1, message(bad)));
    return false;
  }
  if (!task.description.command && task.description.argv.empty()) {
    complete(task, no_run(0, 127, message("the task has no command")));
    return false;
  }
  task.amount = allocation_of(request_of(task.description), ledger_.offered());
  if (task.is_function()) task.amount.coprocesses = 1;
  if (!ledger_.fits_empty(task.amount)) {
    refuse(task);  // it does not fit this worker
    return false;
  }
  return true;
}

void Machine::await_inputs(TaskSlot& task, Time now, Effects& effects) {
  if (!await_environment(task)) return;
  for (const auto& input : task.description.inputs) {
    if (input.empty_directory || input.content) continue;
    CacheEntry* entry = cache_.find(input.cache_name);
    if (entry != nullptr) cache_.touch(*entry);
    if (entry == nullptr || entry->state == CacheState::present || entry->state == CacheState::failed) continue;
    if (entry->state == CacheState::recipe) start_fetch(input.cache_name, *entry, now, effects);
    if (std::find(entry->waiting.begin(), entry->waiting.end(), task.key) == entry->waiting.end()) {
      entry->waiting.push_back(task.key);
      ++task.fetches_left;
    }
  }
  if (task.fetches_left > 0) {
    task.state = TaskState::awaiting_inputs;
  } else {
    make_ready(task);
  }
}

void Machine::make_ready(TaskSlot& task) {
  task.state = TaskState::ready;
  ready_[task.amount].insert(task.key);
  ++ready_count_;
}

void Machine::withdraw(TaskSlot& task) {
  if (task.state == TaskState::awaiting_inputs) {
    for (const auto& input : task.description.inputs) {
      if (CacheEntry* entry = cache_.find(input.cache_name)) std::erase(entry->waiting, task.key);
    }
    if (const auto at = environments_.find(task.description.environment); at != environments_.end())
      std::erase(at->second.waiting, task.key);
  }
  if (task.state != TaskState::ready) return;
  const auto group = ready_.find(task.amount);
  group->second.erase(task.key);
  if (group->second.empty()) ready_.erase(group);
  --ready_count_;
}

TaskKey Machine::first_that_fits() const {
  TaskKey first = 0;
  for (const auto& [amount, keys] : ready_) {
    const TaskKey candidate = *keys.begin();
    if ((first == 0 || candidate < first) && ledger_.fits_now(amount)) first = candidate;
  }
  return first;
}

bool Machine::inputs_present(const TaskSlot& task, std::string& missing) const {
  for (const auto& input : task.description.inputs) {
    if (input.empty_directory || input.content) continue;
    const CacheEntry* entry = cache_.find(input.cache_name);
    if (entry != nullptr && entry->state == CacheState::present) continue;
    missing = entry != nullptr && entry->state == CacheState::failed ? message(entry->text) : std::string();
    return false;
  }
  return true;
}

void Machine::start_ready(Now now, Effects& effects) {
  if (effects.leave || life_.stopping()) return;
  while (ready_count_ > 0) {
    const TaskKey key = first_that_fits();
    if (key == 0) break;
    TaskSlot& task = *slots_.at(key);
    withdraw(task);
    std::string why;
    if (!inputs_present(task, why)) {
      complete(task, no_run(input_missing, 1, std::move(why)));
      continue;
    }
    task.claim = ledger_.take(task.amount);
    task.state = TaskState::staging;
    task.started = now.time;
    ++running_;
    ++processes_;
    running_changed_ = true;
    effects.start.push_back(key);
  }
}

void Machine::on_started(TaskKey key, Now now, Effects& effects) {
  TaskSlot* task = slot(key);
  TASKMILL_ASSERT(task != nullptr && (task->state == TaskState::staging || task->state == TaskState::dying));
  task->started = now.time;
  if (task->state == TaskState::dying) {  // killed while its sandbox was prepared
    effects.kill.push_back(key);
    return;
  }
  task->state = TaskState::running;
  set_limit(*task, now);
  for (std::size_t i = 0; i < task->description.outputs.size(); ++i) {
    if ((task->description.outputs[i].flags & protocol::file_flag::watch) != 0)
      task->watched.push_back({i, 0, 0, false});
  }
  if (!task->watched.empty()) watching_.insert(key);
}

void Machine::on_start_failed(TaskKey key, int status, int exit_code, const std::string& text, Time now,
                              Effects& effects) {
  TaskSlot* task = slot(key);
  TASKMILL_ASSERT(task != nullptr && task->claim);
  (void)now;
  // Running: a program that could not be executed is found out when its process has ended.
  const bool known = task->state == TaskState::staging || task->state == TaskState::running;
  release(*task);
  if (!known) {
    effects.discard.push_back(key);
    slots_.erase(key);
    return;
  }
  --running_;
  running_changed_ = true;
  complete(*task, no_run(status, exit_code, text.empty() ? text : message(text)));
}

void Machine::set_limit(TaskSlot& task, Now now) {
  const auto& description = task.description;
  std::optional<Time> limit;
  if (description.limits.wall_time) {
    limit = task.started + seconds(*description.limits.wall_time);
    task.limit_status = over_run_time;
  } else if (description.wall_time > 0) {
    limit = task.started + seconds(std::max(description.wall_time, least_wall_s));
    task.limit_status = over_run_time;
  }
  const double end_us =
      description.end_time_us > 0 ? static_cast<double>(description.end_time_us) : description.end_time_s * 1e6;
  if (end_us > 0) {
    const double left = (end_us - static_cast<double>(now.wall.time_since_epoch().count())) / 1e6;
    const Time end = now.time + seconds(std::max(left, 0.0));
    if (!limit || end < *limit) {
      limit = end;
      task.limit_status = over_end_time;
    }
  }
  task.limit = limit;
  if (limit) limits_.insert({*limit, task.key});
}

// A limit is passed twice: first SIGTERM, then, after a short grace, SIGKILL.
void Machine::act_on_limits(Now now, Effects& effects) {
  while (!limits_.empty() && limits_.begin()->first <= now.time) {
    const TaskKey key = limits_.begin()->second;
    limits_.erase(limits_.begin());
    TaskSlot& task = *slots_.at(key);
    if (task.result.status == 0) {
      task.result.status = task.limit_status;
      effects.terminate.push_back(key);
      task.limit = now.time + config_.term_grace;
      limits_.insert({*task.limit, key});
    } else {
      effects.kill.push_back(key);
      task.limit.reset();
    }
  }
}

void Machine::on_limit_passed(TaskKey key, Effects& effects) {
  TaskSlot* task = slot(key);
  if (task == nullptr || task->state != TaskState::running || task->result.status != 0) return;
  task->result.status = static_cast<int>(protocol::ResultCode::resource_exhaustion);
  if (task->limit) limits_.erase({*task->limit, key});
  task->limit.reset();
  effects.kill.push_back(key);
}

void Machine::on_exited(TaskKey key, TaskExit exit, Now now, Effects& effects) {
  TaskSlot* task = slot(key);
  TASKMILL_ASSERT(task != nullptr && task->claim);
  const bool known = task->state == TaskState::running;
  const auto elapsed = now.time - task->started;
  release(*task);
  if (!known) {
    slots_.erase(key);
    return;
  }
  --running_;
  running_changed_ = true;
  for (const auto& moved : exit.outputs) {
    keep(task->description.outputs[moved.index].cache_name, CacheSource::output, moved.directory, moved.mode,
         moved.size, moved.entries);
  }
  TaskResult result;
  result.status = task->result.status;
  result.exit_code = WIFSIGNALED(exit.wait_status) ? WTERMSIG(exit.wait_status) : WEXITSTATUS(exit.wait_status);
  if (result.status != 0) result.exit_code = killed;
  result.execution_us = static_cast<std::uint64_t>(std::max<Duration::rep>(elapsed.count(), 0));
  result.has_output = exit.has_output;
  result.output_length = exit.output_length;
  result.extra = std::move(exit.extra);
  result.signal = WIFSIGNALED(exit.wait_status) ? WTERMSIG(exit.wait_status) : 0;
  result.output_name = std::move(exit.output_name);
  result.push_bytes = exit.push_bytes;
  if (!result.output_name.empty())
    cache_.put(result.output_name, CacheSource::output, false, 0600, result.output_length, 1);
  complete(*task, std::move(result));
  for (const auto& name : exit.spoiled) refuse_users_of(name, effects);
}

// A task has changed a cached input that it shared. The copy is dropped, the manager is told, and tasks that wait
// here with it go back: they are sent again together with a fresh copy.
void Machine::refuse_users_of(const std::string& name, Effects& effects) {
  if (!cache_.erase(name)) return;
  effects.remove.push_back({name, true});
  if (version_ < 10) {
    leave(SessionEnd::lost,
          "a task has changed the cached file '" + name + "', and a manager of version 9 cannot be told", effects);
    return;
  }
  protocol::cache_invalid(effects.lines, name, "a task has changed this file");
  std::vector<TaskKey> users;
  for (const auto& [id, key] : by_id_) {
    const TaskSlot& task = *slots_.at(key);
    if (task.state != TaskState::ready && task.state != TaskState::awaiting_inputs) continue;
    for (const auto& input : task.description.inputs) {
      if (input.cache_name == name) {
        users.push_back(key);
        break;
      }
    }
  }
  for (const auto key : users) {
    TaskSlot& task = *slots_.at(key);
    withdraw(task);
    refuse(task);  // its input was changed by another task
  }
}

void Machine::complete(TaskSlot& task, TaskResult result) {
  task.state = TaskState::complete;
  task.result = std::move(result);
  if (!task.pushed) return finished_.push_back(task.key);
  to_push_.push_back(task.key);
}

void Machine::refuse(TaskSlot& task) {
  offer_changed_ = true;
  complete(task, no_run(forsaken, 0));
}

void Machine::release(TaskSlot& task) {
  ledger_.give_back(*task.claim);
  task.claim.reset();
  if (task.limit) limits_.erase({*task.limit, task.key});
  task.limit.reset();
  watching_.erase(task.key);
  --processes_;
}

void Machine::forget_id(const TaskSlot& task) {
  const auto at = by_id_.find(task.description.task_id);
  if (at != by_id_.end() && at->second == task.key) by_id_.erase(at);
}

// The manager is done with this task, whatever its state.
void Machine::drop(TaskSlot& task, Effects& effects) {
  forget_id(task);
  withdraw(task);
  const TaskKey key = task.key;
  switch (task.state) {
    case TaskState::running:
      effects.kill.push_back(key);
      [[fallthrough]];
    case TaskState::staging:
      if (task.limit) limits_.erase({*task.limit, key});
      task.limit.reset();
      watching_.erase(key);
      task.state = TaskState::dying;
      --running_;
      running_changed_ = true;
      effects.discard.push_back(key);
      return;
    case TaskState::dying:
      return;
    default:
      break;
  }
  if (const auto& name = task.result.output_name; !name.empty() && cache_.erase(name))
    effects.remove.push_back({name, true});
  effects.discard.push_back(key);
  slots_.erase(key);
}

void Machine::on_kill(std::int64_t task_id, Time now, Effects& effects) {
  if (task_id >= 0) {
    if (const auto at = by_id_.find(task_id); at != by_id_.end()) drop(*slots_.at(at->second), effects);
  } else {
    std::vector<TaskKey> all;
    for (const auto& [id, key] : by_id_) all.push_back(key);
    for (const auto key : all) drop(*slots_.at(key), effects);
  }
  if (by_id_.empty()) life_.on_work(now);
}

}  // namespace taskmill::worker
