// A task goes to a worker: inputs are staged, the attempt is recorded, and later the block is described.
#include <algorithm>
#include <utility>

#include "manager/core/monitor_command.hpp"
#include "manager/core/state.hpp"
#include "manager/core/task_limits.hpp"
#include "protocol/extension_flags.hpp"

namespace taskmill::manager {

Action& State::act(ActionKind kind, const Worker& worker) {
  Action& action = out.actions.emplace_back();
  action.kind = kind;
  action.conn = worker.conn;
  return action;
}

bool State::wraps(const Worker& worker, const SpecView& spec) const {
  return config.monitoring.enabled && !config.monitoring.program.empty() && !worker.facts.measures &&
         spec->coprocess.length == 0;
}

void State::use_monitor(std::uint32_t index) {
  Attempt& a = attempts[index];
  a.wrapped = wraps(workers[a.worker], spec_of(tasks[a.task]));
  if (!a.wrapped) return;
  InputSpec program;
  program.source = config.monitoring.program;
  program.remote = monitor_remote_name;
  a.names.push_back(use_input(a.worker, index, files.acquire(program), monitor_remote_name));
  a.names.push_back({no_index, next_number++});
}

void State::dispatch(std::uint32_t task, std::uint32_t slot, const Box& box, bool prefetch, bool copy) {
  TaskRecord& record = tasks[task];
  Worker& w = workers[slot];
  const SpecView spec = spec_of(record);
  if (!copy) leave_ready(task);
  const std::uint32_t index = attempts.make();
  Attempt& a = attempts[index];
  a = Attempt{};
  a.task = task;
  a.worker = slot;
  a.serial = next_serial++;
  a.box = box;
  a.coprocess = spec->coprocess.length > 0;
  a.started = now.time;
  a.commit_start = now.wall;
  a.copied = copy;
  a.sibling = record.attempt;
  record.attempt = index;
  record.state = TaskState::running;
  a.prev = w.tail;
  (w.tail == no_index ? w.head : attempts[w.tail].next) = index;
  w.tail = index;
  ++w.attempts;
  ++w.running;
  if (prefetch) {
    ++w.prefetched;
  } else {
    take_box(a);
  }
  Category& category = categories[spec->category];
  a.older = category.running_tail;
  (category.running_tail == no_index ? category.running_head : attempts[category.running_tail].newer) = index;
  category.running_tail = index;
  ++category.count.running;
  ++category.count.dispatched;
  record.label == Label::max ? ++category.count.max_count : ++category.count.first_count;
  a.sibling == no_index ? ++running : ++running_copies;
  ++counters.tasks_dispatched;
  History& history = history_of(task);
  if (!copy) ++history.outcome.try_count;
  history.outcome.allocated = to_resources(box);

  a.names.reserve(spec->inputs + spec->outputs);
  for (std::uint32_t i = 0; i < spec->inputs; ++i) {
    const PackedInput& input = spec.input(i);
    a.names.push_back(use_input(slot, index, resolve(FileId(input.file), w), spec.text(input.remote)));
  }
  for (std::uint32_t i = 0; i < spec->outputs; ++i) a.names.push_back({spec.output(i).file, next_number++});
  use_environment(index);
  use_monitor(index);
  Action& action = act(ActionKind::send_task, w);
  action.task = record.id;
  action.attempt = a.serial;
  if (config.transactions) record_task(task, "RUNNING", index);
  Report report;
  report.kind = copy ? ReportKind::running_elsewhere : ReportKind::dispatched;
  report.task = record.id;
  report.conn = w.conn;
  out.reports.push_back(report);
  arm_slow_watch(spec->category);
}

std::uint32_t State::find_attempt(TaskId id, ConnId conn, std::uint32_t serial) const {
  const std::uint32_t task = ids.find(id.value());
  if (task == no_index) return no_index;
  for (std::uint32_t a = tasks[task].attempt; a != no_index; a = attempts[a].sibling) {
    if (attempts[a].serial == serial && workers[attempts[a].worker].conn == conn) return a;
  }
  return no_index;
}

std::uint32_t State::find_attempt(TaskId id, ConnId conn) const {
  const std::uint32_t task = id.valid() ? ids.find(id.value()) : no_index;
  if (task == no_index) return no_index;
  for (std::uint32_t a = tasks[task].attempt; a != no_index; a = attempts[a].sibling) {
    if (workers[attempts[a].worker].conn == conn) return a;
  }
  return no_index;
}

void State::stop_running(Attempt& a) {
  TASKMILL_ASSERT(a.state == AttemptState::running);
  Category& category = categories[spec_of(tasks[a.task])->category];
  (a.older == no_index ? category.running_head : attempts[a.older].newer) = a.newer;
  (a.newer == no_index ? category.running_tail : attempts[a.newer].older) = a.older;
  a.older = a.newer = no_index;
  const std::int64_t limit = category.settings().max_concurrent;
  const bool was_full = limit >= 0 && category.count.running >= static_cast<std::uint64_t>(limit);
  --category.count.running;
  --workers[a.worker].running;
  if (!was_full) return;
  for (const auto& active : ready.active()) {
    if (ready[active.shape].capped && &categories[ready[active.shape].key.category] == &category)
      ready.unpark(active.shape);
  }
}

void State::end_attempt(std::uint32_t index) {
  Attempt& a = attempts[index];
  Worker& w = workers[a.worker];
  TaskRecord& record = tasks[a.task];
  if (a.sibling != no_index || record.attempt != index) {
    --running_copies;
  } else if (record.state == TaskState::running) {
    --running;
  } else if (record.state == TaskState::waiting_retrieval) {
    --retrieving;
    --categories[spec_of(record)->category].count.with_results;
  }
  give_box(a);
  if (a.state == AttemptState::running) stop_running(a);
  (a.prev == no_index ? w.head : attempts[a.prev].next) = a.next;
  (a.next == no_index ? w.tail : attempts[a.next].prev) = a.prev;
  --w.attempts;
  std::uint32_t* link = &record.attempt;
  while (*link != index) link = &attempts[*link].sibling;
  *link = a.sibling;
  promote_prefetched(a.worker);
  freed(a.worker);
  attempts.drop(index);
}

// Takes the task away from the worker, whatever it is doing with it there.
void State::abandon(std::uint32_t index) {
  Attempt& a = attempts[index];
  const std::uint32_t slot = a.worker;
  act(ActionKind::kill, workers[slot]).task = tasks[a.task].id;
  done_with_inputs(index, true);
  const SpecView spec = spec_of(tasks[a.task]);
  for (std::uint32_t i = 0; i < spec->outputs; ++i) {
    unlink_name(slot, a.names[spec->inputs + i], spec.text(spec.output(i).local));
  }
  if (a.wrapped) unlink_name(slot, a.names.back(), monitor_summary_name);
  end_attempt(index);
  leave_if_idle(slot);
}

namespace {

/// Whole seconds, rounded up; 0: none.
struct Times {
  double wall_s = 0, end_s = 0;
};
Times times_of(const SpecView& spec) {
  const auto seconds_up = [](std::int64_t us) { return static_cast<double>((us + 999999) / 1000000); };
  return {seconds_up(spec->max_running_us), seconds_up(spec->end_time_us)};
}

void set_amounts(protocol::TaskDescription& d, const Resources& box) {
  d.cores = box.cores;
  d.memory = static_cast<double>(box.memory);
  d.disk = static_cast<double>(box.disk);
  d.gpus = static_cast<double>(box.gpus);
}

}  // namespace

namespace {

void describe_files(State& s, const Attempt& a, const SpecView& spec, protocol::TaskDescription& d) {
  d.inputs.resize(spec->inputs);
  d.outputs.resize(spec->outputs + (a.wrapped ? 1 : 0));
  for (std::uint32_t i = 0; i < spec->inputs; ++i) {
    const FileRecord& file = s.files[FileId(a.names[i].file)];
    protocol::InputFile& input = d.inputs[i];
    input.empty_directory = file.kind == FileKind::empty_directory;
    input.cache_name = s.name_text(a.names[i], {});
    input.sandbox_name = spec.text(spec.input(i).remote);
    input.flags = file.cached ? protocol::file_flag::cache : 0;
    input.content.reset();
  }
  for (std::uint32_t i = 0; i < spec->outputs; ++i) {
    const PackedOutput& packed = spec.output(i);
    d.outputs[i].cache_name = s.name_text(a.names[spec->inputs + i], spec.text(packed.local));
    d.outputs[i].sandbox_name = spec.text(packed.remote);
    d.outputs[i].flags = static_cast<int>(packed.flags & ~keep_output_flag);
    if (s.may_keep(a, packed)) d.outputs[i].flags |= protocol::file_flag::stays;
  }
}

}  // namespace

bool State::describe(ConnId conn, TaskId id, std::uint32_t serial, protocol::TaskDescription& d) {
  const std::uint32_t index = find_attempt(id, conn, serial);
  if (index == no_index || attempts[index].state != AttemptState::running) return false;
  const Attempt& a = attempts[index];
  const TaskRecord& record = tasks[a.task];
  const SpecView spec = spec_of(record);
  d.task_id = id.value();
  if (!d.command) d.command.emplace();
  d.command->clear();
  d.category = categories[spec->category].name();
  d.coprocess.clear();
  if (spec->coprocess.length > 0) {
    d.coprocess = "wq_worker_coprocess:";
    d.coprocess += spec.text(spec->coprocess);
  }
  set_amounts(d, to_resources(a.box));
  const Times times = times_of(spec);
  const bool told = workers[a.worker].facts.enforces;
  // Legacy workers take wall_time for microseconds (wire-protocol.md 8.3), ours for the seconds that it says.
  const double wall_unit = workers[a.worker].native ? 1 : 1e6;
  d.end_time_s = a.wrapped ? 0 : times.end_s;
  d.wall_time = a.wrapped || told ? 0 : times.wall_s * wall_unit;
  d.limits = {};
  if (told) d.limits = limits_of(config, categories[spec->category], *spec, a.box);
  *d.command = spec.text(spec->command);
  if (a.environment_inputs > 1) wrap_for_environment(a, *d.command);
  if (a.wrapped) {
    const std::string command = std::exchange(*d.command, {});
    MonitoredTask task{id.value(), command, d.category, a.box, times.wall_s, times.end_s};
    monitor_command(config.monitoring, task, *d.command);
  }
  // Batches have room for more than lines.
  d.attempt = serial;
  d.end_time_us = a.wrapped ? 0 : static_cast<std::uint64_t>(std::max<std::int64_t>(0, spec->end_time_us));
  d.env.resize(spec->variables);
  for (std::uint32_t i = 0; i < spec->variables; ++i) d.env[i] = spec.variable(i);
  describe_files(*this, a, spec, d);
  describe_environment(a, spec->outputs, d);
  if (a.wrapped) {
    const std::size_t program = a.names.size() - 2;
    d.inputs.push_back(
        {std::string(name_text(a.names[program], {})), monitor_remote_name, protocol::file_flag::cache, false});
    d.outputs.back() = {std::string(name_text(a.names[program + 1], monitor_summary_name)), monitor_summary_name, 0};
  }
  return true;
}

}  // namespace taskmill::manager
