// Tasks submitted, cancelled, returned to the queue, finished.
#include <algorithm>

#include "manager/core/state.hpp"

namespace taskmill::manager {

std::uint32_t State::category_index(std::string_view name) {
  if (const auto at = category_names.find(name); at != category_names.end()) return at->second;
  const auto index = static_cast<std::uint32_t>(categories.size());
  categories.emplace_back(std::string(name), config.default_category);
  category_names.emplace(std::string(name), index);
  return index;
}

std::uint32_t State::feature_set(const TaskSpec& spec) {
  if (spec.features.empty() && spec.coprocess.empty()) return 0;
  std::vector<std::string> set = spec.features;
  if (!spec.coprocess.empty()) set.push_back("wq_worker_coprocess:" + spec.coprocess);
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  const auto [at, fresh] = feature_set_ids.try_emplace(set, static_cast<std::uint32_t>(feature_sets.size()));
  if (fresh) feature_sets.push_back(set);
  return at->second;
}

void State::set_shape(std::uint32_t task, Label label, const Resources& prediction) {
  TaskRecord& record = tasks[task];
  const SpecView spec = spec_of(record);
  ShapeKey key;
  key.category = spec->category;
  key.features = spec->features;
  key.request = spec->resources();
  key.prediction = prediction;
  key.algorithm = static_cast<Algorithm>(spec->algorithm);
  key.label = label;
  key.coprocess = spec->coprocess.length > 0;
  const std::uint32_t old = record.shape;
  record.label = label;
  record.shape = ready.acquire(key);
  if (old != no_index) ready.release(old);
}

Expected<TaskId> State::submit(const TaskSpec& spec, std::size_t count) {
  const auto environment = environment_index(spec);
  if (!environment) return make_error("the environment " + spec.environment_archive + " was not declared");
  const std::uint32_t category = category_index(spec.category);
  const SpecId id = specs.acquire(spec, category, feature_set(spec), *environment, static_cast<std::uint32_t>(count));
  largest_request = raised(largest_request, spec.resources);
  const TaskId first(next_task_id);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t slot = tasks.make();
    TaskRecord& record = tasks[slot];
    record = TaskRecord{};
    record.id = TaskId(next_task_id++);
    record.spec = id;
    record.priority = spec.priority;
    record.submitted_us = now.wall.time_since_epoch().count();
    ids.set(record.id.value(), slot);
    set_shape(slot, Label::first, {});
    ++counters.tasks_submitted;
    ++categories[category].count.submitted;
    if (const std::int64_t end = specs[id]->end_time_us; end != 0) {
      const Duration left(end - now.wall.time_since_epoch().count());
      timers.add({now.time + std::max(left, Duration(0)), TimerKind::task_end, record.id.value(), 0});
    }
    enter_ready(slot);
  }
  return first;
}

bool State::expired(const TaskRecord& task) const {
  const std::int64_t end = spec_of(task)->end_time_us;
  return end != 0 && now.wall.time_since_epoch().count() >= end;
}

void State::count_waiting(const TaskRecord& task, bool enters) {
  const SpecView spec = spec_of(task);
  const double sign = enters ? 1 : -1;
  enters ? ++waiting : --waiting;
  auto& in_category = categories[spec->category].count.waiting;
  enters ? ++in_category : --in_category;
  waiting_sum[at_cores] += sign * std::max(1.0, spec->cores);
  waiting_sum[at_memory] += sign * static_cast<double>(std::max<std::int64_t>(0, spec->memory));
  waiting_sum[at_disk] += sign * static_cast<double>(std::max<std::int64_t>(0, spec->disk));
  waiting_sum[at_gpus] += sign * static_cast<double>(std::max<std::int64_t>(0, spec->gpus));
}

void State::enter_ready(std::uint32_t task) {
  TaskRecord& record = tasks[task];
  record.state = TaskState::ready;
  record.where = Where::nowhere;
  record.since_us = now.time.time_since_epoch().count();
  count_waiting(record, true);
  if (config.transactions) record_waiting(task);
  if (expired(record)) {
    finish(task, protocol::ResultCode::task_timeout, "its end time passed before it could run");
    return;
  }
  const SpecView spec = spec_of(record);
  if (const std::int64_t start = spec->start_min_us; start > now.wall.time_since_epoch().count()) {
    record.where = Where::delayed;
    const Duration left(start - now.wall.time_since_epoch().count());
    timers.add({now.time + left, TimerKind::task_start, record.id.value(), 0});
    return;
  }
  std::uint32_t pending = await_environment(task) ? 1 : 0;
  for (std::uint32_t i = 0; i < spec->inputs && spec->local_files > 0; ++i) {
    const FileId file(spec.input(i).file);
    if (!FileTable::is_local(files[file].kind) || files[file].variable) continue;
    want_stat(file, record.id, pending);
    if (files[file].known == FileKnown::missing) {
      record.where = pending > 0 ? Where::files : Where::nowhere;
      finish(task, protocol::ResultCode::input_missing, files[file].error);
      return;
    }
  }
  if (pending == 0) {
    enqueue(task);
    return;
  }
  record.where = Where::files;
  record.next = pending;
}

void State::one_less_to_wait_for(TaskId id) {
  const std::uint32_t task = ids.find(id.value());
  if (task == no_index || tasks[task].state != TaskState::ready || tasks[task].where != Where::files) return;
  if (--tasks[task].next == 0) enqueue(task);
}

void State::enqueue(std::uint32_t task) {
  TaskRecord& record = tasks[task];
  record.prev = record.next = no_index;
  record.where = Where::arriving;
  arrivals.push_back({{record.priority, record.id.value()}, task});
}

// In the order of the queue, so that nearly all of them can be linked at the end of their lists.
void State::admit_arrivals() {
  if (arrivals.empty()) return;
  const auto order = [](const Shape::HeapEntry& a, const Shape::HeapEntry& b) { return a.key.before(b.key); };
  if (!std::is_sorted(arrivals.begin(), arrivals.end(), order)) std::sort(arrivals.begin(), arrivals.end(), order);
  for (const auto& entry : arrivals) {
    const bool current = tasks.alive(entry.task) && tasks[entry.task].id.value() == entry.key.id &&
                         tasks[entry.task].where == Where::arriving;
    if (current) ready.push(entry.task);
  }
  arrivals.clear();
  arm_large_tasks();
}

void State::leave_ready(std::uint32_t task) {
  TaskRecord& record = tasks[task];
  TASKMILL_ASSERT(record.state == TaskState::ready);
  if (record.where == Where::fifo || record.where == Where::heap) ready.remove(task);
  record.where = Where::nowhere;
  record.prev = record.next = no_index;
  count_waiting(record, false);
}

History& State::history_of(std::uint32_t task) {
  TaskRecord& record = tasks[task];
  if (record.history == no_index) {
    record.history = histories.make();
    histories[record.history] = History{};
  }
  return histories[record.history];
}

void State::requeue(std::uint32_t task, RequeueReason why) {
  TaskRecord& record = tasks[task];
  TASKMILL_ASSERT(record.attempt == no_index);
  TaskOutcome& outcome = history_of(task).outcome;
  const int limit = spec_of(record)->max_retries;
  if (limit > 0 && outcome.try_count > static_cast<std::uint32_t>(limit)) {
    record.state = TaskState::retrieved;
    finish(task, protocol::ResultCode::max_retries,
           "given up after " + std::to_string(outcome.try_count) +
               " tries; the last one ended with: " + requeue_reason_text(why));
    return;
  }
  Report report;
  report.kind = ReportKind::requeued;
  report.why = why;
  report.task = record.id;
  out.reports.push_back(report);
  outcome.commit_start = outcome.commit_end = outcome.retrieval = outcome.done = {};
  outcome.bytes_sent = outcome.bytes_received = 0;
  outcome.host.clear();
  outcome.hostname.clear();
  outcome.return_status = -1;
  outcome.result = protocol::ResultCode::unknown;
  enter_ready(task);
}

void State::finish(std::uint32_t task, protocol::ResultCode result, std::string message) {
  TaskRecord& record = tasks[task];
  TASKMILL_ASSERT(record.attempt == no_index);
  if (record.state == TaskState::ready) leave_ready(task);
  TaskOutcome& outcome = history_of(task).outcome;
  outcome.result = result;
  // What went wrong in an earlier attempt is no message of a task that has done its work.
  if (!message.empty() || result == protocol::ResultCode::success) outcome.message = std::move(message);
  if (config.transactions) {
    record_task_end(task, "RETRIEVED", outcome);
    record_task_end(task, "DONE", outcome);
  }
  if (result != protocol::ResultCode::success) ++counters.tasks_failed;
  CategoryCounters& count = category_of(record).count;
  result == protocol::ResultCode::success ? ++count.done : ++count.failed;
  bury(task, ReportKind::finished);
}

// The record stays readable until the next run; everything else is released.
void State::bury(std::uint32_t task, ReportKind kind) {
  TaskRecord& record = tasks[task];
  History& history = history_of(task);
  history.outcome.submitted = WallTime(Duration(record.submitted_us));
  history.outcome.requested = spec_of(record)->resources();
  history.outcome.allocation_label = record.label == Label::max ? 1 : 0;
  record.state = kind == ReportKind::finished ? TaskState::done : TaskState::cancelled;
  Report report;
  report.kind = kind;
  report.task = record.id;
  report.outcome = static_cast<std::uint32_t>(out.outcomes.size());
  out.outcomes.push_back(std::move(history.outcome));
  out.reports.push_back(report);
  histories.drop(record.history);
  record.history = no_index;
  ready.release(record.shape);
  record.shape = no_index;
  zombies.push_back(task);
}

// What was reported by the last run is released, what ended since is kept until its report was seen.
void State::drop_zombies() {
  for (const std::uint32_t task : reported) {
    ids.erase(tasks[task].id.value());
    specs.release(tasks[task].spec);
    tasks.drop(task);
  }
  reported.clear();
}

bool State::cancel(std::uint32_t task) {
  TaskRecord& record = tasks[task];
  if (record.state == TaskState::done || record.state == TaskState::cancelled) return false;
  if (record.state == TaskState::ready) {
    leave_ready(task);
  } else {
    while (record.attempt != no_index) {
      fill_outcome(record.attempt);
      abandon(record.attempt);
    }
  }
  TaskOutcome& outcome = history_of(task).outcome;
  outcome.result = protocol::ResultCode::unknown;
  ++counters.tasks_cancelled;
  ++category_of(record).count.cancelled;
  if (config.transactions) record_task(task, "CANCELED");
  bury(task, ReportKind::cancelled);
  return true;
}

}  // namespace taskmill::manager
