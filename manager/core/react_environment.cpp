// Software environments: how a task gets its own at each kind of worker, and what workers say of them.
#include <algorithm>

#include "common/base/text.hpp"
#include "manager/core/state.hpp"

namespace taskmill::manager {
namespace {

/// A task is given up when its environment failed at so many workers (or so often at the only one). A failure that the
/// content itself is to blame for counts twice: no other worker will do better, but one alone is not believed.
constexpr std::uint32_t tolerated_failures = 2;
constexpr std::uint32_t weight_of_refusal = 2;
/// Meanwhile others are asked first.
constexpr Duration failure_pause = std::chrono::seconds(2);

}  // namespace

void Machine::expect_environment(const std::string& name) {
  State& s = *state_;
  if (s.environment_names.contains(name)) return;
  const auto index = static_cast<std::uint32_t>(s.environments.size());
  EnvironmentPlan plan;
  plan.name = name;
  s.environments.push_back(std::move(plan));
  s.environment_names.insert_or_assign(name, index);
  s.expected_environments[index];
}

void Machine::fail_environment(const std::string& name, const std::string& error, Now now) {
  State& s = *state_;
  s.now = now;
  const auto named = s.environment_names.find(name);
  const auto expected =
      named == s.environment_names.end() ? s.expected_environments.end() : s.expected_environments.find(named->second);
  if (expected == s.expected_environments.end()) return;
  const auto waiters = std::move(expected->second);
  s.expected_environments.erase(expected);
  s.environment_names.erase(named);  // whoever names it again starts anew
  for (const TaskId id : waiters) {
    const std::uint32_t task = s.ids.find(id.value());
    if (task != no_index && s.tasks[task].where == Where::files)
      s.finish(task, protocol::ResultCode::input_missing, "environment " + name + ": " + error);
  }
}

bool State::await_environment(std::uint32_t task) {
  const std::uint32_t number = spec_of(tasks[task])->environment;
  const auto expected = number == 0 ? expected_environments.end() : expected_environments.find(number - 1);
  if (expected == expected_environments.end()) return false;
  expected->second.push_back(tasks[task].id);
  return true;
}

void Machine::declare_environment(const EnvironmentPlan& plan) {
  auto& plans = state_->environments;
  const auto named = state_->environment_names.find(plan.name);
  if (named != state_->environment_names.end()) {
    const auto expected = state_->expected_environments.find(named->second);
    if (expected != state_->expected_environments.end()) {
      const auto waiters = std::move(expected->second);
      plans[expected->first] = plan;
      state_->expected_environments.erase(expected);
      for (const TaskId id : waiters) state_->one_less_to_wait_for(id);
      return;
    }
  }
  for (std::uint32_t i = 0; i < plans.size(); ++i) {
    const EnvironmentPlan& old = plans[i];
    if (old.name != plan.name || old.digest != plan.digest || old.archive != plan.archive) continue;
    state_->environment_names.insert_or_assign(plan.name, i);
    return;
  }
  state_->environment_names.insert_or_assign(plan.name, static_cast<std::uint32_t>(plans.size()));
  plans.push_back(plan);
}

std::optional<std::uint32_t> State::environment_index(const TaskSpec& spec) const {
  if (spec.environment_archive.empty()) return 0;
  const auto at = environment_names.find(spec.environment_archive);
  if (at == environment_names.end()) return std::nullopt;
  return at->second + 1;
}

void State::use_environment(std::uint32_t index) {
  Attempt& a = attempts[index];
  const std::uint32_t number = spec_of(tasks[a.task])->environment;
  if (number == 0) return;
  const EnvironmentPlan& plan = environments[number - 1];
  const auto use = [&](const InputSpec& input) {
    a.names.push_back(use_input(a.worker, index, files.acquire(input), input.remote));
    ++a.environment_inputs;
  };
  if (!workers[a.worker].facts.environments || !plan.native) {
    use(plan.runner);
    return use(plan.archive);
  }
  InputSpec offered;
  offered.kind = FileKind::environment;
  offered.source = plan.digest;
  offered.remote = plan.name;
  use(offered);
  files[FileId(a.names.back().file)].size = plan.bytes;
  a.awaits_environment = !workers[a.worker].environments_here.contains(a.names.back().file);
}

// The part of the description behind the task's own inputs.
void State::describe_environment(const Attempt& a, std::size_t outputs, protocol::TaskDescription& d) {
  d.environment.clear();
  if (a.environment_inputs == 0) return;
  const SpecView spec = spec_of(tasks[a.task]);
  const EnvironmentPlan& plan = environments[spec->environment - 1];
  if (a.environment_inputs == 1) {
    d.environment = plan.digest;
    return;
  }
  std::size_t name = spec->inputs + outputs;
  for (const InputSpec* input : {&plan.runner, &plan.archive}) {
    d.inputs.push_back({std::string(name_text(a.names[name++], {})), input->remote, protocol::file_flag::cache, false});
  }
}

/// For workers that know nothing of environments.
void State::wrap_for_environment(const Attempt& a, std::string& command) const {
  command = environments[spec_of(tasks[a.task])->environment - 1].command_head + shell_quote(command);
}

void Machine::on_environment(ConnId conn, const EnvironmentFacts& facts, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  const FileId file = s.files.find(facts.digest, FileKind::environment);
  if (slot == no_index || !file.valid() || s.workers[slot].cache.find(file.value()) == nullptr) return;
  if (!facts.ok) return s.environment_failed(slot, file, facts);
  s.environment_came(slot, file);
  s.shared_environment_came(slot, file, facts.serves);
}

std::vector<std::uint32_t> State::users_of_environment(std::uint32_t slot, FileId file) const {
  std::vector<std::uint32_t> users;
  for (std::uint32_t a = workers[slot].head; a != no_index; a = attempts[a].next) {
    const Attempt& attempt = attempts[a];
    if (attempt.environment_inputs != 1 || attempt.state != AttemptState::running) continue;
    const SpecView spec = spec_of(tasks[attempt.task]);
    if (attempt.names[spec->inputs + spec->outputs].file == file.value()) users.push_back(a);
  }
  return users;
}

// The time that tasks have waited for it is not theirs.
void State::environment_came(std::uint32_t slot, FileId file) {
  workers[slot].environments_here.insert(file.value());
  for (const std::uint32_t index : users_of_environment(slot, file)) {
    Attempt& a = attempts[index];
    if (a.awaits_environment) a.started = now.time;
    a.awaits_environment = false;
    arm_slow_watch(spec_of(tasks[a.task])->category);
  }
}

// Evicted: tasks that crossed that on their way are given back by the worker, and it is offered again.
void State::environment_failed(std::uint32_t slot, FileId file, const EnvironmentFacts& facts) {
  drop_wish(wish_for(slot, file.value(), workers[slot].cache.find(file.value())->number));
  if (facts.evicted) return forget_copy(slot, file);
  const std::string& error = facts.error;
  const ConnId conn = workers[slot].conn;
  std::string name;
  for (const std::uint32_t index : users_of_environment(slot, file)) {
    const std::uint32_t task = attempts[index].task;
    name = environments[spec_of(tasks[task])->environment - 1].name;
    fill_outcome(index);
    abandon(index);
    auto& failures = history_of(task).environment_failures;
    failures += facts.retry ? 1 : weight_of_refusal;
    const bool enough = failures > tolerated_failures;
    if (tasks[task].attempt != no_index) {
      Report report;
      report.kind = ReportKind::copy_lost;
      report.why = RequeueReason::input_failed_at_worker;
      report.task = tasks[task].id;
      report.conn = conn;
      out.reports.push_back(report);
    } else if (enough) {
      tasks[task].state = TaskState::retrieved;
      finish(task, protocol::ResultCode::input_missing, "environment " + name + ": " + error);
    } else {
      requeue(task, RequeueReason::input_failed_at_worker);
    }
  }
  if (worker_slot(conn) != slot) return;  // it was told to leave meanwhile
  Worker& w = workers[slot];
  w.environments_here.erase(file.value());
  notice(NoticeLevel::warning, "environment " + name + " failed at " + w.hostname + " (" + w.address + "): " + error);
  forget_copy(slot, file);
  w.penalty_until = now.time + failure_pause;
  timers.add({w.penalty_until, TimerKind::penalty, slot, w.conn.value()});
}

}  // namespace taskmill::manager
