// An attempt ended at its worker: the outputs are fetched, its use is learned, and the task is done or tries again.
#include <algorithm>

#include "manager/core/monitor_command.hpp"
#include "manager/core/state.hpp"
#include "manager/core/task_limits.hpp"

namespace taskmill::manager {

using protocol::ResultCode;

namespace {

constexpr std::uint32_t tolerated_refusals = 3;

Duration backoff(std::uint32_t refusals) {
  const std::uint32_t power = std::min<std::uint32_t>(refusals - tolerated_refusals, 6);
  return std::chrono::seconds(1U << power);
}

bool wanted(std::uint32_t flags, bool succeeded) {
  return protocol::output_is_wanted(static_cast<int>(flags), succeeded);
}

}  // namespace

// Copies what is known of the attempt into what the user gets.
void State::fill_outcome(std::uint32_t index) {
  const Attempt& a = attempts[index];
  const Worker& w = workers[a.worker];
  TaskOutcome& outcome = history_of(a.task).outcome;
  outcome.commit_start = a.commit_start;
  outcome.commit_end = a.sent ? a.commit_end : WallTime{};
  outcome.retrieval = a.retrieval;
  outcome.bytes_sent = a.bytes_sent;
  outcome.bytes_received = a.bytes_received;
  outcome.host = w.address;
  outcome.hostname = w.hostname;
  outcome.allocated = to_resources(a.box);
  outcome.return_status = a.exit_code;
  outcome.signal = a.signal;
  outcome.measured = a.measured;
  outcome.kept = a.kept;
  if (!a.message.empty()) outcome.message = a.message;
}

namespace {

void take_facts(Attempt& a, const ResultFacts& facts, Duration wall_limit, Now now) {
  // What came ahead of need may have run before its turn here.
  const Duration observed = std::max(now.time - a.started, now.wall - a.commit_start);
  const auto told = static_cast<std::int64_t>(std::min<std::uint64_t>(facts.execution_us, 1ULL << 50U));
  a.execution = std::min(Duration(told), observed);
  a.exit_code = facts.exit_code;
  a.signal = facts.signal;
  a.result = static_cast<ResultCode>(facts.status);
  a.retrieval = now.wall;
  a.result_at = now.time;
  if (facts.measured) {
    a.measured = *facts.measured;
    a.measured.cores = without_overshoot(a.measured.cores);
  }
  if (!facts.limit.empty()) a.message = facts.limit;
  if (!a.message.empty()) return;
  if (a.result == ResultCode::task_max_run_time) a.message = wall_limit_text(wall_limit);
  if (a.result == ResultCode::task_timeout) a.message = "its end time came while it ran";
}

}  // namespace

void State::on_result(std::uint32_t slot, const ResultFacts& facts) {
  const std::uint32_t index = expected_attempt(workers[slot].conn, facts);
  if (index == no_index) return;
  Worker& w = workers[slot];
  Attempt& a = attempts[index];
  const std::uint32_t task = a.task;
  take_facts(a, facts, Duration(spec_of(tasks[task])->max_running_us), now);
  counters.time_workers_execute += a.execution.count();
  const Duration around = std::max(now.time - a.started - a.execution, Duration(1));
  w.turnaround = w.turnaround.count() == 0 ? around : std::min(around, w.turnaround + w.turnaround / 16 + Duration(1));

  if (a.result == ResultCode::forsaken) {
    ++w.refusals;
    if (w.refusals > tolerated_refusals) {
      w.penalty_until = now.time + backoff(w.refusals);
      timers.add({w.penalty_until, TimerKind::penalty, slot, w.conn.value()});
    }
    done_with_inputs(index, true);
    end_attempt(index);
    if (tasks[task].attempt == no_index) {
      requeue(task, RequeueReason::forsaken);
    } else {
      Report report;
      report.kind = ReportKind::copy_lost;
      report.why = RequeueReason::forsaken;
      report.task = tasks[task].id;
      report.conn = w.conn;
      out.reports.push_back(report);
    }
    leave_if_idle(slot);
    return;
  }
  w.refusals = 0;
  // First result wins: what else runs of this task is stopped now.
  bool had_copy = false;
  while (tasks[task].attempt != index || attempts[index].sibling != no_index) {
    const std::uint32_t other = tasks[task].attempt != index ? tasks[task].attempt : attempts[index].sibling;
    had_copy = true;
    abandon(other);
  }
  if (had_copy && attempts[index].copied) ++counters.copies_won;
  if (a.result == ResultCode::input_missing && facts.exit_code != 0) a.exit_code = facts.exit_code;
  if (a.wrapped && a.result == ResultCode::success) {
    // The monitor tells by its exit status what it did (manager.md 11.3).
    if (facts.exit_code == 2) a.result = ResultCode::resource_exhaustion;
    if (facts.exit_code == 3) a.result = ResultCode::task_timeout;
  }
  begin_retrieval(index, facts.pushed);
}

// The attempt a result belongs to; none when it was given up meanwhile.
std::uint32_t State::expected_attempt(ConnId conn, const ResultFacts& facts) const {
  const std::uint32_t index =
      facts.attempt == 0 ? find_attempt(facts.task, conn) : find_attempt(facts.task, conn, facts.attempt);
  return index == no_index || attempts[index].state != AttemptState::running ? no_index : index;
}

std::string State::pushed_target(ConnId conn, const ResultFacts& facts, std::uint32_t output) const {
  const std::uint32_t index = expected_attempt(conn, facts);
  if (index == no_index) return {};
  const SpecView spec = spec_of(tasks[attempts[index].task]);
  const auto code = static_cast<ResultCode>(facts.status);
  const bool none = code == ResultCode::resource_exhaustion || code == ResultCode::input_missing ||
                    code == ResultCode::forsaken || attempts[index].wrapped;
  if (none || output >= spec->outputs) return {};
  if (!wanted(spec.output(output).flags, code == ResultCode::success && facts.exit_code == 0)) return {};
  return std::string(spec.text(spec.output(output).local));
}

namespace {

struct OutputRequest {
  std::uint32_t index = 0;
  RemoteName name;
  std::string_view named;  ///< what the name at the worker was made of when the task was described
  std::string path;
  std::string_view remote;
  bool cached = false;
};

void request_output(State& s, Attempt& a, const OutputRequest& request) {
  Worker& w = s.workers[a.worker];
  const TextRef name = s.out.add(s.name_text(request.name, request.named));
  const TextRef path = s.out.add(request.path);
  const TextRef remote = s.out.add(request.remote);
  Action& action = s.act(ActionKind::fetch, w);
  action.task = s.tasks[a.task].id;
  action.attempt = a.serial;
  action.index = request.index;
  action.cached = request.cached;
  action.name = name;
  action.path = path;
  action.remote = remote;
  ++a.fetches_left;
  s.expect_reply(w);
}

void leave_running(State& s, std::uint32_t index) {
  Attempt& a = s.attempts[index];
  s.stop_running(a);
  s.give_box(a);
  a.state = AttemptState::retrieving;
  s.tasks[a.task].state = TaskState::waiting_retrieval;
  --s.running;
  ++s.retrieving;
  ++s.categories[s.spec_of(s.tasks[a.task])->category].count.with_results;
  if (s.config.transactions) s.record_task(a.task, "WAITING_RETRIEVAL", index);
}

}  // namespace

// Requests every output, and the clean-up behind it, in one go: replies come in the same order.
void State::begin_retrieval(std::uint32_t index, const std::vector<Fetched>& pushed) {
  Attempt& a = attempts[index];
  const std::uint32_t slot = a.worker;
  Worker& w = workers[slot];
  const SpecView spec = spec_of(tasks[a.task]);
  leave_running(*this, index);
  const bool succeeded = a.result == ResultCode::success && a.exit_code == 0;
  const bool none = a.result == ResultCode::resource_exhaustion || a.result == ResultCode::input_missing;
  if (a.wrapped) {
    request_output(*this, a,
                   {summary_output, a.names.back(), monitor_summary_name,
                    monitor_summary_path(config.monitoring, tasks[a.task].id.value()), monitor_summary_name, false});
  }
  std::vector<bool> fetched(spec->outputs, false);
  std::vector<bool> came(spec->outputs, false);  // inside the result: never in the worker's cache
  for (std::uint32_t i = 0; i < spec->outputs && !none; ++i) {
    const PackedOutput& output = spec.output(i);
    if (!wanted(output.flags, succeeded)) continue;
    fetched[i] = true;
    came[i] = std::any_of(pushed.begin(), pushed.end(), [i](const Fetched& f) { return f.index == i; });
    const RemoteName& name = a.names[spec->inputs + i];
    const auto local = spec.text(output.local);
    if (came[i])
      ++a.fetches_left;
    else if (may_keep(a, output))
      keep_output(index, output, name.number);
    else
      request_output(*this, a, {i, name, local, std::string(local), spec.text(output.remote), output.file != no_index});
  }
  act(ActionKind::kill, w).task = tasks[a.task].id;
  done_with_inputs(index, true);
  for (std::uint32_t i = 0; i < spec->outputs; ++i) {
    // A cached output that was fetched stays at the worker, whatever comes of it is decided when it is here.
    if (came[i] || (spec.output(i).file != no_index && fetched[i])) continue;
    unlink_name(slot, a.names[spec->inputs + i], spec.text(spec.output(i).local));
  }
  if (a.wrapped) unlink_name(slot, a.names.back(), monitor_summary_name);
  promote_prefetched(slot);
  freed(slot);
  arm_worker(slot);
  if (a.fetches_left == 0) return complete(index);
  for (const Fetched& output : pushed) {
    if (output.index >= came.size() || !came[output.index]) continue;
    came[output.index] = false;  // once, whatever a worker says
    take_fetched(index, output);
  }
}

// What a monitor says about limits: why it stopped the task, or, when it only measures, a warning about one whose
// measurement is as good as any.
void State::note_limit(Attempt& a, const std::string& text) {
  if (a.result != ResultCode::success) {
    if (a.message.empty()) a.message = text;
    return;
  }
  a.measured.warning = text;
  if (a.measured.exit_type == "limits") a.measured.exit_type = "normal";
}

void State::on_fetched(std::uint32_t slot, const Fetched& fetched) {
  Worker& w = workers[slot];
  if (w.replies > 0) reply_came(w, true);
  if (fetched.index == kept_output) return on_kept_fetched(slot, fetched);
  const std::uint32_t index = find_attempt(fetched.task, w.conn, fetched.attempt);
  if (index == no_index || attempts[index].state != AttemptState::retrieving || attempts[index].fetches_left == 0)
    return;
  take_fetched(index, fetched);
}

// One more output is here; the last one completes the attempt.
void State::take_fetched(std::uint32_t index, const Fetched& fetched) {
  Attempt& a = attempts[index];
  const std::uint32_t slot = a.worker;
  Worker& w = workers[slot];
  const SpecView spec = spec_of(tasks[a.task]);
  const Duration took = now.time - a.result_at;
  a.result_at = now.time;
  a.transfer += took;
  w.transfer_time += took;
  w.bytes += fetched.bytes;
  a.bytes_received += fetched.bytes;
  counters.bytes_received += static_cast<std::int64_t>(fetched.bytes);
  counters.time_receive += took.count();
  transfer_bytes += static_cast<std::int64_t>(fetched.bytes);
  transfer_us += took.count();

  if (fetched.index == summary_output) {
    if (fetched.measured) {
      a.measured = *fetched.measured;
      a.measured.cores = without_overshoot(a.measured.cores);
      note_limit(a, fetched.limit);
    } else if (a.result == ResultCode::success) {
      a.result = ResultCode::rmonitor_error;
      a.message = "the resource monitor left no readable summary";
    }
    if (fetched.exit_status) a.exit_code = *fetched.exit_status;
  } else if (fetched.index < spec->outputs) {
    const PackedOutput& output = spec.output(fetched.index);
    const std::uint32_t number = a.names[spec->inputs + fetched.index].number;
    if (config.transactions)
      record_transfer(false, tasks[a.task].id, output.file != no_index, fetched.bytes, took, spec.text(output.remote));
    if (fetched.status == FetchStatus::missing)
      a.result = protocol::combine_results(a.result, ResultCode::output_missing);
    if (fetched.status == FetchStatus::local_error)
      a.result = protocol::combine_results(a.result, ResultCode::output_transfer_error);
    if (fetched.status != FetchStatus::ok && a.message.empty()) a.message = fetched.error;
    if (output.file != no_index) {
      const FileId file(output.file);
      if (fetched.status == FetchStatus::ok) {
        if (w.cache.find(output.file) != nullptr) retire_copy(slot, file);
        FileRecord& record = files[file];
        if (!record.holders.empty() || record.known == FileKnown::found) ++record.version;
        record.size = fetched.size != 0 ? fetched.size : fetched.bytes;
        record.mtime_ns = fetched.mtime_ns;
        if (record.known != FileKnown::pending) record.known = FileKnown::found;
        record.checked = now.time;
        hold(slot, file, number, record.version, false);
      } else {
        unlink_name(slot, {output.file, number});
      }
    }
  }
  if (--a.fetches_left == 0) complete(index);
}

void State::learn(Category& category, const Measurement& measured, ResultCode code) {
  if (!measured.known() || !Category::teaches(code)) return;
  const std::uint32_t before = category.epoch();
  if (category.learn(measured, code == ResultCode::success, config.category_steady_n_tasks, largest) &&
      config.transactions)
    record_category(category);
  if (measured.limits_exceeded != Resources{}) category.limits_broken = true;
  if (category.epoch() == before) return;
  for (const auto& active : ready.active()) {
    if (&categories[ready[active.shape].key.category] == &category && !ready[active.shape].capped)
      ready.unpark(active.shape);
  }
}

void State::complete(std::uint32_t index) {
  Attempt& a = attempts[index];
  const std::uint32_t slot = a.worker;
  const std::uint32_t task = a.task;
  Worker& w = workers[slot];
  Category& category = category_of(tasks[task]);
  fill_outcome(index);
  const ResultCode result = a.result;
  const bool exhausted = result == ResultCode::resource_exhaustion;
  TaskOutcome& outcome = history_of(task).outcome;
  outcome.result = result;
  outcome.done = now.wall;
  outcome.execute_last = a.execution;
  outcome.execute_all += a.execution;
  outcome.disk_allocation_exhausted = outcome.disk_allocation_exhausted || result == ResultCode::disk_alloc_full;
  outcome.replicated = outcome.replicated || a.copied;
  w.task_time += a.execution;
  ++w.tasks_complete;
  w.mean_us =
      std::max<std::int64_t>(1, (w.task_time + w.transfer_time).count() / static_cast<std::int64_t>(w.tasks_complete));
  w.slow_alarm = false;
  ++counters.tasks_done;
  if (result == ResultCode::success) {
    counters.time_workers_execute_good += a.execution.count();
    counters.time_receive_good += a.transfer.count();
    category.count.execute_us += a.execution.count();
    category.count.transfer_us += a.transfer.count();
    ++category.count.successes;
    category.durations.add(a.execution);
    arm_slow_watch(spec_of(tasks[task])->category);
  }
  if (exhausted) {
    outcome.execute_exhaustion += a.execution;
    counters.time_workers_execute_exhaustion += a.execution.count();
  }
  const Measurement measured = a.measured;
  const Box box = a.box;
  CapacityReport report;
  report.transfer_us = a.transfer.count();
  report.execute_us = a.execution.count();
  report.manager_us =
      std::max<std::int64_t>(0, (now.time - a.started).count() - report.transfer_us - report.execute_us);
  report.allocated = box;
  std::string message = a.message;
  learn(category, measured, result);
  end_attempt(index);
  leave_if_idle(slot);
  tasks[task].state = TaskState::retrieved;
  if (exhausted) {
    after_exhaustion(task, measured, to_resources(box), std::move(message));
    return;
  }
  capacity.add(report);
  finish(task, result, std::move(message));
}

// manager.md 10.6: a larger box if one is allowed and there is one, else the task is returned.
void State::after_exhaustion(std::uint32_t task, const Measurement& measured, const Resources& allocated,
                             std::string message) {
  TaskRecord& record = tasks[task];
  History& history = history_of(task);
  Category& category = category_of(record);
  ++history.outcome.exhausted_attempts;
  ++counters.tasks_exhausted_attempts;
  ++category.count.exhausted;
  const Resources used = {measured.cores, measured.memory, measured.disk, measured.gpus};
  history.shown = raised(history.shown, used);
  const Four given = to_four(allocated);
  const Four most = to_four(largest);
  const Four broken = to_four(measured.limits_exceeded);
  // Nothing larger exists if the resource that ran out was already all of the largest worker.
  bool at_end = false;
  for (std::size_t i = 0; i < 4; ++i) at_end = at_end || (broken[i] > -1 && most[i] > 0 && given[i] >= most[i]);
  if (!measured.known() && record.label == Label::max) at_end = true;
  if (!category.may_grow(measured, spec_of(record)->resources()) || at_end) {
    if (message.empty()) message = "it used more than the resources it was given";
    finish(task, ResultCode::resource_exhaustion, std::move(message));
    return;
  }
  if (config.transactions) record_task_end(task, "RETRIEVED", history.outcome);
  Resources prediction;
  if (category.bucketing()) {
    prediction = category.predict_retry(measured, history.shown, random);
  } else if (record.label == Label::max) {
    prediction = largest;  // the second time: all of the largest worker
  }
  set_shape(task, Label::max, prediction);
  requeue(task, RequeueReason::exhausted);
}

std::string Machine::pushed_target(ConnId conn, const ResultFacts& result, std::uint32_t index) const {
  return state_->pushed_target(conn, result, index);
}

bool Machine::expects_result(ConnId conn, const ResultFacts& result) const {
  return state_->expected_attempt(conn, result) != no_index;
}

}  // namespace taskmill::manager
