#include "manager/core/machine.hpp"

#include <algorithm>
#include <cmath>

#include "common/base/text.hpp"
#include "manager/core/state.hpp"

namespace taskmill::manager {

State::State(const Config& c, std::uint64_t seed, Now start) : config(c), random(seed), now(start) {
  counters.time_when_started = start.wall.time_since_epoch().count();
}

Machine::Machine(const Config& config, std::uint64_t seed, Now now)
    : state_(std::make_unique<State>(config, seed, now)) {}
Machine::~Machine() = default;

// ---- users ----

namespace {
bool ids_left(const State& s, std::size_t count) { return count < 0x7fffffffU - s.next_task_id; }
const char* const too_many = "task ids are used up: start a new manager";
}  // namespace

Expected<TaskId> Machine::submit(const TaskSpec& spec, Now now) { return submit_many(spec, 1, now); }

Expected<TaskId> Machine::submit_many(const TaskSpec& spec, std::size_t count, Now now) {
  if (auto error = check_spec(spec)) return *error;
  if (!ids_left(*state_, count)) return make_error(too_many);
  state_->now = now;
  if (count == 0) return TaskId(state_->next_task_id);
  return state_->submit(spec, count);
}

Expected<TaskId> Machine::submit_batch(std::span<const TaskSpec> specs, Now now) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (auto error = check_spec(specs[i]))
      return make_error("task " + std::to_string(i + 1) + " of " + std::to_string(specs.size()) + ": " + error->text);
  }
  if (!ids_left(*state_, specs.size())) return make_error(too_many);
  state_->now = now;
  const TaskId first(state_->next_task_id);
  for (const TaskSpec& spec : specs) {
    const auto id = state_->submit(spec, 1);
    if (!id) return id.error();
  }
  return first;
}

bool Machine::cancel(TaskId id, Now now) {
  state_->now = now;
  const std::uint32_t task = id.valid() ? state_->ids.find(id.value()) : no_index;
  return task != no_index && state_->cancel(task);
}

bool Machine::cancel_by_tag(std::string_view tag, Now now) {
  State& s = *state_;
  s.now = now;
  for (std::uint32_t id = 1; id < s.next_task_id; ++id) {
    if (!s.ids.has_page(id)) {
      id |= IdMap::page_size - 1;
      continue;
    }
    const std::uint32_t task = s.ids.find(id);
    if (task == no_index) continue;
    const SpecView spec = s.spec_of(s.tasks[task]);
    if (spec.text(spec->tag) == tag && s.cancel(task)) return true;
  }
  return false;
}

std::size_t Machine::cancel_all(Now now) {
  State& s = *state_;
  s.now = now;
  std::size_t count = 0;
  for (std::uint32_t id = 1; id < s.next_task_id; ++id) {
    const std::uint32_t task = s.ids.find(id);
    if (task != no_index && s.cancel(task)) ++count;
  }
  return count;
}

std::size_t Machine::invalidate_cached_file(std::string_view source, FileKind kind, Now now) {
  State& s = *state_;
  s.now = now;
  const FileId file = s.files.find(source, kind);
  return file.valid() ? s.invalidate(file) : 0;
}

void Machine::block_host(std::string_view host, std::optional<Duration> timeout, Now now) {
  state_->now = now;
  state_->block(host, timeout);
}

void Machine::unblock_host(std::string_view host, Now now) {
  State& s = *state_;
  s.now = now;
  const auto at = s.blocked.find(host);
  if (at == s.blocked.end()) return;
  s.blocked.erase(at);
  for (std::uint32_t i = 0; i < s.workers.end(); ++i)
    if (s.workers.alive(i) && s.workers[i].hostname == host) s.freed(i);
}

void Machine::unblock_all(Now now) {
  State& s = *state_;
  s.now = now;
  s.blocked.clear();
  for (std::uint32_t i = 0; i < s.workers.end(); ++i)
    if (s.workers.alive(i)) s.freed(i);
}

std::size_t Machine::drain_host(std::string_view host, bool drain, Now now) {
  State& s = *state_;
  s.now = now;
  std::size_t count = 0;
  for (std::uint32_t i = 0; i < s.workers.end(); ++i) {
    if (!s.workers.alive(i) || s.workers[i].hostname != host || s.workers[i].draining == drain) continue;
    s.workers[i].draining = drain;
    ++count;
    if (drain) {
      s.unsettle(i);
      s.leave_if_idle(i);
    } else {
      s.freed(i);
    }
  }
  return count;
}

std::size_t Machine::shut_down_workers(std::size_t count, Now now) {
  State& s = *state_;
  s.now = now;
  std::size_t told = 0;
  for (std::uint32_t i = 0; i < s.workers.end() && (count == 0 || told < count); ++i) {
    if (!s.workers.alive(i) || !s.workers[i].greeted || s.workers[i].attempts > 0 || s.workers[i].leaving) continue;
    s.tell_exit(i, false);
    ++told;
  }
  return told;
}

void Machine::release_all(Now now) {
  State& s = *state_;
  s.now = now;
  for (std::uint32_t i = 0; i < s.workers.end(); ++i)
    if (s.workers.alive(i)) s.tell_exit(i, true);
}

void Machine::set_category(std::string_view name, const CategorySettings& settings, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t index = s.category_index(name);
  s.categories[index].configure(settings);
  s.largest_request = raised(s.largest_request, settings.max);
  s.unpark_all();
  s.arm_slow_watch(index);
  if (s.config.transactions) s.record_category(s.categories[index]);
}

CategorySettings Machine::category_settings(std::string_view name) const {
  const auto at = state_->category_names.find(name);
  return at == state_->category_names.end() ? state_->config.default_category
                                            : state_->categories[at->second].settings();
}

void Machine::teach_category(std::string_view name, const Measurement& measured, Now now) {
  State& s = *state_;
  s.now = now;
  s.learn(s.categories[s.category_index(name)], measured, protocol::ResultCode::success);
}

bool Machine::tune(const std::string& name, double value, std::string* problem) {
  if (!manager::tune(state_->config, name, value, problem)) return false;
  ++state_->box_epoch;
  state_->unpark_all();
  for (std::uint32_t i = 0; i < state_->workers.end(); ++i) {
    if (!state_->workers.alive(i)) continue;
    state_->freed(i);
    state_->arm_worker(i);
  }
  return true;
}

void Machine::set_algorithm(Algorithm algorithm) {
  state_->config.algorithm = algorithm == Algorithm::unset ? Algorithm::time : algorithm;
}
void Machine::set_stragglers(Stragglers policy) {
  state_->config.stragglers = policy;
  for (std::uint32_t i = 0; i < state_->categories.size(); ++i) state_->arm_slow_watch(i);
}

void Machine::set_factory_max(std::string_view name, std::int64_t max_workers, Now now) {
  State& s = *state_;
  s.now = now;
  const auto at = s.factory_names.find(name);
  if (at == s.factory_names.end()) return;
  s.factories[at->second].max = max_workers;
  for (std::uint32_t i = 0; i < s.workers.end(); ++i) {
    if (!s.workers.alive(i) || s.workers[i].factory != at->second) continue;
    s.leave_if_idle(i);
    s.freed(i);
  }
}

std::uint32_t Machine::set_min_task_id(std::uint32_t n) {
  state_->next_task_id = std::max(state_->next_task_id, std::min(n, 0x7fffffffU));
  return state_->next_task_id;
}

// ---- connections ----

void Machine::on_connected(ConnId conn, std::string_view address, Now now) {
  State& s = *state_;
  s.now = now;
  if (!conn.valid() || s.worker_slot(conn) != no_index) return;
  const std::uint32_t slot = s.workers.make();
  Worker& w = s.workers[slot];
  w = Worker{};
  w.conn = conn;
  w.address = address;
  w.hostname = "unknown";
  w.connected = w.last_heard = w.last_check = now.time;
  w.connected_wall = now.wall;
  s.conns.set(conn.value(), slot);
  s.arm_worker(slot);
}

void Machine::on_heard(ConnId conn, Now now) {
  Worker* w = state_->worker_of(conn);
  if (w != nullptr) w->last_heard = now.time;
}

void Machine::on_greeting(ConnId conn, const protocol::Greeting& greeting, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  Worker& w = s.workers[slot];
  if (w.greeted) return;
  w.version = greeting.version;
  w.last_heard = now.time;
  if (greeting.version < 9 || greeting.version > 11) {
    s.notice(NoticeLevel::notice, "rejecting worker (" + w.address + ") as it uses protocol " +
                                      std::to_string(greeting.version) + ". The manager is using protocol 11.");
    s.close_worker(slot, CloseReason::bad_version);
    return;
  }
  w.greeted = true;
  w.hostname = greeting.hostname;
  w.os = greeting.os;
  w.arch = greeting.arch;
  w.software = greeting.software;
  w.foreman = greeting.os == "foreman";
  ++s.connected_workers;
  ++s.counters.workers_joined;
  Report report;
  report.kind = ReportKind::worker_joined;
  report.conn = conn;
  s.out.reports.push_back(report);
}

void Machine::on_info(ConnId conn, std::string_view field, std::string_view value, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  Worker& w = s.workers[slot];
  const auto is = [field](std::string_view name) { return field.starts_with(name); };
  if (is("worker-id")) {
    w.worker_id = value.substr(0, 200);
    s.record_worker(w, "CONNECTION");
  } else if (is("worker-end-time")) {
    w.end_time_known = true;
    w.end_time_s = static_cast<std::int64_t>(std::max(0.0, parse_number(value).value_or(0)));
    if (w.end_time_s > 4102444800000) w.end_time_s = 0;
    s.freed(slot);
  } else if (is("end_of_resource_update")) {
    s.commit_resources(slot);
    if (s.config.transactions) s.record_resources(w);
  } else if (is("tasks_running")) {
    w.tasks_running_said =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(parse_int(value).value_or(0), 0, 1 << 30));
  } else if (is("from-factory")) {
    if (w.factory != no_index) return;
    s.join_factory(slot, value.substr(0, 200));
  } else if (is("idle-disconnecting")) {
    s.close_worker(slot, CloseReason::idle_out);
  } else if (is("vacating") || is("wall_time_exhausted") || is("disk_exhausted") || is("memory_exhausted") ||
             is("disk_error")) {
    s.notice(NoticeLevel::notice, "worker " + w.hostname + " (" + w.address + ") leaves: " + std::string(field) + " " +
                                      std::string(value.substr(0, 200)));
  }
}

void Machine::on_feature(ConnId conn, std::string_view feature, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index || feature.starts_with(feature_of_place(""))) return;
  s.add_feature(slot, feature);
}

void Machine::on_resource(ConnId conn, const protocol::ResourceReport& report, Now now) {
  State& s = *state_;
  s.now = now;
  Worker* w = s.worker_of(conn);
  if (w == nullptr) return;
  const auto whole = [](double value) {
    return std::isfinite(value) ? static_cast<std::int64_t>(std::clamp(value, 0.0, 1e12)) : 0;
  };
  const std::int64_t total = whole(report.total);
  const std::int64_t smallest = whole(report.smallest);
  const std::int64_t largest = whole(report.largest);
  const auto set = [&](std::int64_t Box::*field, std::int64_t unit) {
    w->reported_total.*field = total * unit;
    w->reported_smallest.*field = smallest * unit;
    w->reported_largest.*field = largest * unit;
  };
  if (report.name == "cores") set(&Box::cores, milli);
  if (report.name == "memory") set(&Box::memory, 1);
  if (report.name == "disk") set(&Box::disk, 1);
  if (report.name == "gpus") set(&Box::gpus, 1);
  if (report.name == "coprocess_cores") w->coprocess_total.cores = total * milli;
  if (report.name == "coprocess_memory") w->coprocess_total.memory = total;
  if (report.name == "coprocess_disk") w->coprocess_total.disk = total;
  if (report.name == "coprocess_gpus") w->coprocess_total.gpus = total;
  if (report.name == "workers") {
    w->workers_total = total;
    w->workers_smallest = smallest;
    w->workers_largest = largest;
  }
}

void Machine::on_resource_tag(ConnId conn, std::int64_t tag, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  s.workers[slot].tag = tag;
  s.commit_resources(slot);
}

void Machine::on_native(ConnId conn, const WorkerFacts& facts, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  s.workers[slot].native = true;
  s.workers[slot].facts = facts;
  s.join_shared(slot);
  if (facts.peers) s.add_feature(slot, feature_of_place(s.workers[slot].address));
}

void Machine::on_available_results(ConnId conn, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  Worker& w = s.workers[slot];
  if (w.results_requested) {
    w.results_noted = true;  // asked again when this exchange ends
    return;
  }
  w.results_requested = true;
  s.act(ActionKind::request_results, w);
  s.expect_reply(w);
  s.arm_worker(slot);
}

void Machine::on_results_end(ConnId conn, Now now) {
  State& s = *state_;
  s.now = now;
  Worker* w = s.worker_of(conn);
  if (w == nullptr || !w->results_requested) return;
  w->results_requested = false;
  s.reply_came(*w, true);
  if (!w->results_noted) return;
  w->results_noted = false;
  on_available_results(conn, now);
}

void Machine::on_result(ConnId conn, const ResultFacts& result, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  s.reply_came(s.workers[slot], false);
  s.on_result(slot, result);
}

std::string Machine::watch_target(ConnId conn, TaskId task, std::string_view remote) const {
  const State& s = *state_;
  const std::uint32_t index = s.find_attempt(task, conn);
  if (index == no_index) return {};
  const SpecView spec = s.spec_of(s.tasks[s.attempts[index].task]);
  for (std::uint32_t i = 0; i < spec->outputs; ++i) {
    const PackedOutput& output = spec.output(i);
    if ((output.flags & static_cast<std::uint32_t>(protocol::file_flag::watch)) != 0 &&
        spec.text(output.remote) == remote)
      return std::string(spec.text(output.local));
  }
  return {};
}

void Machine::on_body(ConnId conn, std::uint64_t length, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  Worker& w = s.workers[slot];
  w.reply_deadline = now.time + std::max(config().reply_timeout, s.transfer_limit(w, length));
  s.arm_worker(slot);
}

void Machine::on_fetched(ConnId conn, const Fetched& fetched, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot != no_index) s.on_fetched(slot, fetched);
}

void Machine::on_staged(ConnId conn, const StageDone& done, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot != no_index) s.on_staged(slot, done);
}

void Machine::on_stage_failed(ConnId conn, const StageError& error, Now now) {
  State& s = *state_;
  s.now = now;
  if (const auto slot = s.worker_slot(conn); slot != no_index) s.on_stage_failed(slot, error);
}

void Machine::on_task_sent(ConnId conn, TaskId task, std::uint32_t attempt, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t index = s.find_attempt(task, conn, attempt);
  if (index == no_index) return;
  s.attempts[index].sent = true;
  s.attempts[index].commit_end = now.wall;
}

void Machine::on_stat(FileId file, const StatResult& result, Now now) {
  state_->now = now;
  state_->on_stat(file, result);
}

namespace {
/// The cached copy of this worker that has the name.
std::uint32_t copy_named(State& s, const Worker& w, std::string_view name) {
  std::uint32_t found = no_index;
  w.cache.each([&](std::uint32_t file, const CacheEntry& entry) {
    if (!s.files.alive(FileId(file))) return;
    const FileKind kind = s.files[FileId(file)].kind;
    if (kind != FileKind::url && kind != FileKind::command) return;
    if (s.name_text({file, entry.number}, {}) == name) found = file;
  });
  return found;
}
}  // namespace

void Machine::on_cache_update(ConnId conn, std::string_view name, std::uint64_t size, std::uint64_t, Now now) {
  State& s = *state_;
  s.now = now;
  Worker* w = s.worker_of(conn);
  if (w == nullptr) return;
  const std::uint32_t file = copy_named(s, *w, name);
  if (file != no_index) s.files[FileId(file)].size = size;
}

void Machine::on_cache_invalid(ConnId conn, std::string_view name, std::string_view message, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  Worker& w = s.workers[slot];
  const std::uint32_t file = copy_named(s, w, name);
  if (file == no_index) return;
  s.notice(NoticeLevel::notice, "worker " + w.hostname + " cannot provide " + s.files[FileId(file)].source + ": " +
                                    std::string(trim(message.substr(0, 500))));
  for (std::uint32_t a = w.head; a != no_index; a = s.attempts[a].next) {
    for (const RemoteName& used : s.attempts[a].names) {
      if (used.file == file && s.attempts[a].message.empty())
        s.attempts[a].message = s.files[FileId(file)].source + ": " + std::string(trim(message.substr(0, 500)));
    }
  }
  // Unlinked as well: an old worker keeps the recipe under this name and would ignore a new one.
  s.retire_copy(slot, FileId(file));
}

void Machine::on_congested(ConnId conn, bool congested, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index || s.workers[slot].congested == congested) return;
  s.workers[slot].congested = congested;
  if (!congested) s.freed(slot);
}

void Machine::on_closed(ConnId conn, CloseReason reason, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot != no_index) s.remove_worker(slot, reason);
}

// ---- the step ----

void Machine::run(Now now, Effects& effects) {
  State& s = *state_;
  s.now = now;
  s.drop_zombies();
  s.run_timers();
  s.admit_arrivals();
  s.run_matching();
  std::swap(s.reported, s.zombies);
  effects.clear();
  std::swap(effects, s.out);
}

std::optional<Time> Machine::next_deadline() const { return state_->timers.next(); }

// ---- performing ----

bool Machine::describe(ConnId conn, TaskId task, std::uint32_t attempt, protocol::TaskDescription& description) const {
  return state_->describe(conn, task, attempt, description);
}

std::shared_ptr<const std::string> Machine::buffer(FileId file) const {
  return state_->files.alive(file) ? state_->files[file].data : nullptr;
}

int Machine::version(ConnId conn) const {
  const Worker* w = state_->worker_of(conn);
  return w == nullptr ? 0 : w->version;
}

// ---- reading ----

bool Machine::empty() const { return state_->waiting + state_->running + state_->retrieving == 0; }
bool Machine::hungry() const { return state_->hungry(); }

TaskState Machine::state(TaskId task) const {
  const std::uint32_t slot = task.valid() ? state_->ids.find(task.value()) : no_index;
  return slot == no_index ? TaskState::unknown : state_->tasks[slot].state;
}

std::optional<TaskView> Machine::task(TaskId id) const {
  const std::uint32_t slot = id.valid() ? state_->ids.find(id.value()) : no_index;
  if (slot == no_index) return std::nullopt;
  return state_->view_task(slot);
}

std::optional<WorkerView> Machine::worker(ConnId conn) const {
  const std::uint32_t slot = state_->worker_slot(conn);
  if (slot == no_index) return std::nullopt;
  return state_->view_worker(slot);
}

void Machine::each_task(const std::function<void(const TaskView&)>& visit) const {
  const State& s = *state_;
  for (std::uint32_t id = 1; id < s.next_task_id; ++id) {
    if (!s.ids.has_page(id)) {
      id |= IdMap::page_size - 1;
      continue;
    }
    const std::uint32_t slot = s.ids.find(id);
    if (slot == no_index) continue;
    const TaskState state = s.tasks[slot].state;
    if (state != TaskState::done && state != TaskState::cancelled) visit(s.view_task(slot));
  }
}

void Machine::each_worker(const std::function<void(const WorkerView&)>& visit) const {
  for (std::uint32_t i = 0; i < state_->workers.end(); ++i)
    if (state_->workers.alive(i) && state_->workers[i].greeted) visit(state_->view_worker(i));
}

void Machine::each_task_of(ConnId conn, const std::function<void(const TaskView&)>& visit) const {
  const State& s = *state_;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot == no_index) return;
  for (std::uint32_t a = s.workers[slot].head; a != no_index; a = s.attempts[a].next)
    visit(s.view_task(s.attempts[a].task));
}

void Machine::each_category(const std::function<void(const CategoryView&)>& visit) const {
  for (std::uint32_t i = 0; i < state_->categories.size(); ++i) visit(state_->view_category(i));
}

std::vector<std::string> Machine::blocked_hosts() const {
  std::vector<std::string> hosts;
  for (const auto& [host, until] : state_->blocked) hosts.push_back(host);
  return hosts;
}

std::vector<WorkerSummary> Machine::workers_summary() const { return state_->workers_summary(); }
Stats Machine::stats() const { return state_->stats(); }

Explanation Machine::explain(TaskId id) const {
  const std::uint32_t slot = id.valid() ? state_->ids.find(id.value()) : no_index;
  if (slot == no_index) return {TaskState::unknown, "there is no such task in the queue"};
  return state_->explain(slot);
}

const Config& Machine::config() const { return state_->config; }
std::size_t Machine::memory_bytes() const { return state_->memory_bytes(); }
void Machine::check_invariants() const { state_->check_invariants(); }

}  // namespace taskmill::manager
