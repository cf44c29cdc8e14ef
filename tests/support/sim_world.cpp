#include "tests/support/sim_world.hpp"

#include <algorithm>
#include <cmath>

namespace taskmill::testing {

using namespace taskmill::manager;

namespace {
const Now beginning{Time(std::chrono::seconds(1)), WallTime(std::chrono::seconds(1700000000))};
}

SimWorld::SimWorld(const SimOptions& options, std::uint32_t count, Source source)
    : options_(options),
      source_(std::move(source)),
      count_(count),
      random_(options.seed),
      start_(beginning),
      now_(beginning),
      machine_(std::make_unique<Machine>(options.config, options.seed * 31 + 7, beginning)) {
  ended_.resize(count_ + std::size_t{1}, 0);
  live_.resize(count_ + std::size_t{1}, 0);
  truth_.reserve(count_);
  declare_environments();
}

SimWorld::SimWorld(const SimOptions& options, std::vector<SimTask> tasks)
    : SimWorld(options, static_cast<std::uint32_t>(tasks.size()), {}) {
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const SimTask& a, const SimTask& b) { return a.submit_at < b.submit_at; });
  source_ = [list = std::make_shared<std::vector<SimTask>>(std::move(tasks))](std::uint32_t index, SimTask& task) {
    task = (*list)[index];
  };
}

// Submits the next task if it is time; otherwise sees to it that it is called again then.
bool SimWorld::submit_next() {
  if (truth_.size() == count_) return false;
  if (!next_filled_) source_(static_cast<std::uint32_t>(truth_.size()), next_);
  next_filled_ = true;
  if (start_.time + next_.submit_at > now_.time) {
    Event event;
    event.what = What::submit;
    at(start_.time + next_.submit_at, event);
    return false;
  }
  next_filled_ = false;
  truth_.push_back({next_.duration, next_.cores, next_.memory, next_.disk});
  const auto id = machine_->submit(next_.spec, now_);
  if (!id || id->value() != truth_.size()) problem("task not accepted: " + (id ? "wrong id" : id.error().text));
  ++submitted_;
  return true;
}

SimWorld::Run* SimWorld::find_run(Node& node, std::uint32_t task) {
  for (Run& run : node.runs)
    if (run.task == task) return &run;
  return nullptr;
}

void SimWorld::problem(std::string text) {
  if (result_.problems.size() < 20) result_.problems.push_back(std::move(text));
}

void SimWorld::mix(std::uint64_t value) {
  result_.hash = (result_.hash ^ value) * 0x100000001b3ULL;
  result_.hash ^= result_.hash >> 29U;
}

void SimWorld::at(Time when, Event event) {
  event.at = when;
  event.order = next_order_++;
  if (soon_.empty() || soon_.back().at <= when) {
    if (when - now_.time <= 2 * options_.latency) {
      soon_.push_back(event);
      return;
    }
  }
  events_.push(event);
}

const SimWorld::Event* SimWorld::next_event() const {
  if (soon_.empty()) return events_.empty() ? nullptr : &events_.top();
  if (events_.empty() || events_.top() < soon_.front()) return &soon_.front();
  return &events_.top();
}

SimWorld::Event SimWorld::take_event() {
  const Event event = *next_event();
  if (!soon_.empty() && event.order == soon_.front().order) {
    soon_.pop_front();
  } else {
    events_.pop();
  }
  return event;
}

void SimWorld::to_manager(std::uint32_t conn, Event event) {
  Node& node = nodes_[conn];
  Duration delay = options_.latency;
  if (options_.jitter && delay.count() > 0)
    delay += Duration(static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(delay.count()))));
  node.in_at = std::max(node.in_at, now_.time + delay);
  event.conn = conn;
  at(node.in_at, event);
}

Time SimWorld::at_worker(std::uint32_t conn) {
  Node& node = nodes_[conn];
  node.out_at = std::max(node.out_at, now_.time + options_.latency);
  return node.out_at;
}

void SimWorld::join() {
  const auto conn = static_cast<std::uint32_t>(nodes_.size());
  Node node;
  const double part = options_.mixed_sizes && conn % 2 == 1 ? 0.5 : 1;
  node.alive = true;
  node.slow = random_.uniform() < options_.slow_workers;
  node.cores = std::max(1.0, std::floor(options_.cores * part));
  node.memory = static_cast<std::int64_t>(static_cast<double>(options_.memory) * part);
  node.disk = static_cast<std::int64_t>(static_cast<double>(options_.disk) * part);
  nodes_.push_back(std::move(node));
  const Node& n = nodes_.back();
  const ConnId id(conn);
  machine_->on_connected(id, "10.0.0.1:" + std::to_string(conn), now_);
  protocol::Greeting greeting;
  greeting.version = 11;
  const std::string host = "node" + std::to_string(conn / 2);
  greeting.hostname = host;
  greeting.os = "Linux";
  greeting.arch = "x86_64";
  machine_->on_greeting(id, greeting, now_);
  machine_->on_native(
      id, {.measures = true, .enforces = true, .environments = options_.environments, .peers = options_.peers}, now_);
  if (options_.peers && conn % 7 != 3) machine_->on_peer_listening(id, now_);  // some can only receive
  const auto report = [&](std::string_view name, double v) {
    machine_->on_resource(id, protocol::ResourceReport{name, v, v, v}, now_);
  };
  report("workers", 1);
  report("disk", static_cast<double>(n.disk));
  report("memory", static_cast<double>(n.memory));
  report("gpus", 0);
  report("cores", n.cores);
  machine_->on_resource_tag(id, 0, now_);
  machine_->on_info(id, "end_of_resource_update", "0", now_);
  machine_->on_info(id, "worker-end-time", "0", now_);
}

// Resources are taken when the task starts, as a worker does it; what does not fit waits.
void SimWorld::start_what_fits(std::uint32_t conn) {
  Node& node = nodes_[conn];
  for (std::size_t i = 0; i < node.waiting.size();) {
    const std::uint32_t id = node.waiting[i];
    Run* const found = find_run(node, id);
    if (found == nullptr) {
      node.waiting.erase(node.waiting.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    Run& run = *found;
    if (awaits_input(node, run)) {
      ++i;
      continue;
    }
    if (!has_room(node, run.box)) {
      const bool may_wait = options_.config.prefetch_tasks > 0 || options_.config.resource_submit_multiplier > 1;
      if (options_.check && !may_wait)
        problem("task " + std::to_string(id) + " does not fit at worker " + std::to_string(conn));
      ++i;
      continue;
    }
    node.waiting.erase(node.waiting.begin() + static_cast<std::ptrdiff_t>(i));
    node.used.cores += run.box.cores;
    node.used.memory += run.box.memory;
    node.used.disk += run.box.disk;
    run.started = true;
    run.started_at = now_.time;
    const Truth& truth = truth_.at(id - 1);
    Duration duration = truth.duration * (node.slow ? 10 : 1);
    ResultFacts& facts = run.facts;
    facts.task = TaskId(id);
    Measurement m;
    m.cores = truth.cores;
    m.memory = truth.memory;
    m.disk = truth.disk;
    m.gpus = 0;
    m.exit_type = "normal";
    if (chance(options_.refuse)) {
      facts.status = 40;
      duration = Duration(0);
    } else if (options_.enforce_memory && truth.memory > run.box.memory) {
      // Memory grows steadily to its peak; the task is stopped where it passes the limit.
      facts.status = 16;
      duration =
          Duration(static_cast<std::int64_t>(static_cast<double>(duration.count()) *
                                             static_cast<double>(run.box.memory) / static_cast<double>(truth.memory)));
      m.memory = run.box.memory + 1;
      m.exit_type = "limits";
      m.limits_exceeded.memory = run.box.memory;
    }
    m.wall_time_s = static_cast<double>(duration.count()) / 1e6;
    facts.execution_us = static_cast<std::uint64_t>(duration.count());
    if (options_.measure && facts.status != 40) facts.measured = m;
    const double seconds = m.wall_time_s;
    result_.allocated_mb_s += static_cast<double>(run.box.memory) * seconds;
    result_.allocated_core_s += run.box.cores * seconds;
    if (facts.status == 0) {
      result_.used_mb_s += static_cast<double>(truth.memory) * seconds;
      result_.used_core_s += truth.cores * seconds;
    }
    Event event;
    event.what = What::ended;
    event.conn = conn;
    event.task = id;
    event.run = run.generation;
    at(now_.time + duration, event);
  }
}

void SimWorld::end_run(std::uint32_t conn, std::uint32_t task) {
  Node& node = nodes_[conn];
  Run* const found = find_run(node, task);
  if (found == nullptr) return;
  if (found->started && !found->over) {
    node.used.cores -= found->box.cores;
    node.used.memory -= found->box.memory;
    node.used.disk -= found->box.disk;
  }
  node.runs.erase(node.runs.begin() + (found - node.runs.data()));
  --live_[task];
  std::erase(node.results, task);
}

void SimWorld::deliver(const Event& e) {
  if (e.what == What::join) {
    join();
    return;
  }
  if (e.what == What::submit) {
    while (submit_next()) {
    }
    return;
  }
  if (e.what == What::stat) {
    StatResult found;
    found.found = true;
    found.size = 4U << 20U;
    found.mtime_ns = 1;
    machine_->on_stat(FileId(e.task), found, now_);
    return;
  }
  Node& node = nodes_[e.conn];
  if (!node.alive) return;
  const ConnId conn(e.conn);
  switch (e.what) {
    case What::staged:
      machine_->on_heard(conn, now_);
      machine_->on_staged(conn, {4U << 20U, 4U << 20U, 1}, now_);
      ++result_.staged;
      break;
    case What::stage_failed:
      machine_->on_stage_failed(conn, {"disk error", e.index == 1}, now_);
      break;
    case What::started:
      if (const Run* run = find_run(node, e.task); run != nullptr && run->attempt == e.attempt) {
        node.waiting.push_back(e.task);
        start_what_fits(e.conn);
      }
      break;
    case What::ended: {
      Run* const found = find_run(node, e.task);
      if (found == nullptr || found->generation != e.run) break;
      Run& run = *found;
      run.over = true;
      node.used.cores -= run.box.cores;
      node.used.memory -= run.box.memory;
      node.used.disk -= run.box.disk;
      node.results.push_back(e.task);
      if (!node.told) {
        node.told = true;
        Event event;
        event.what = What::results_wanted;
        to_manager(e.conn, event);
      }
      start_what_fits(e.conn);
      break;
    }
    case What::results_wanted:
      machine_->on_heard(conn, now_);
      machine_->on_available_results(conn, now_);
      break;
    case What::send_results: {
      // At the manager: the exchange arrives as a whole.
      node.told = false;
      std::vector<std::uint32_t> results;
      results.swap(node.results);
      for (const std::uint32_t task : results) {
        const Run* const found = find_run(node, task);
        if (found == nullptr) continue;
        const ResultFacts facts = found->facts;
        if (facts.status == 40) end_run(e.conn, task);
        machine_->on_result(conn, facts, now_);
      }
      machine_->on_results_end(conn, now_);
      if (!node.results.empty() && !node.told) {
        node.told = true;
        machine_->on_available_results(conn, now_);
      }
      if (!results.empty()) faults_after(e.conn);
      break;
    }
    case What::fetched: {
      Fetched f;
      f.task = TaskId(e.task);
      f.attempt = e.attempt;
      f.index = e.index;
      f.bytes = f.size = 1000;
      if (chance(options_.miss_output)) f.status = FetchStatus::missing;
      machine_->on_fetched(conn, f, now_);
      break;
    }
    case What::uncongest:
      machine_->on_congested(conn, false, now_);
      break;
    case What::alive:
      machine_->on_heard(conn, now_);
      break;
    default:
      deliver_peers(e);
  }
}

void SimWorld::perform(const Action& a, const Effects& effects) {
  const std::uint32_t conn = a.conn.value();
  Node& node = nodes_[conn];
  if (!node.alive) return;
  const Time there = at_worker(conn);
  Event event;
  event.conn = conn;
  event.task = a.task.value();
  event.attempt = a.attempt;
  event.index = a.index;
  switch (a.kind) {
    case ActionKind::stage:
      if (chance(options_.fail_stage)) {
        event.what = What::stage_failed;
        event.index = random_.below(2) == 0 ? 1 : 0;
      } else {
        event.what = What::staged;
        const bool offer = a.file_kind == FileKind::environment;  // again after a failure
        if (!node.cache.insert(std::string(effects.view(a.name))).second && options_.check && !offer)
          problem(std::string(effects.view(a.name)) + " was sent to a worker that has it");
        came(conn, std::string(effects.view(a.name)));
      }
      to_manager(conn, event);
      if (a.file_kind == FileKind::environment && event.what == What::staged) offer_environment(conn, a, effects);
      break;
    case ActionKind::send_task: {
      Run run;
      run.task = a.task.value();
      run.attempt = a.attempt;
      run.generation = ++generation_;
      if (options_.describe || options_.check) {
        if (!machine_->describe(a.conn, a.task, a.attempt, description_)) break;
        run.box = {description_.cores.value_or(0), static_cast<std::int64_t>(description_.memory.value_or(0)),
                   static_cast<std::int64_t>(description_.disk.value_or(0)), 0};
      } else {
        run.box = machine_->task(a.task)->allocated;
      }
      if (options_.check) {
        for (const auto& input : description_.inputs) {
          run.inputs.push_back(input.cache_name);
          if (!node.cache.contains(input.cache_name) && !node.awaited.contains(input.cache_name) &&
              options_.fail_stage == 0)
            problem("task " + std::to_string(a.task.value()) + " lacks " + input.cache_name);
        }
        if (!description_.environment.empty()) run.inputs.push_back(description_.environment);
      }
      machine_->on_task_sent(a.conn, a.task, a.attempt, now_);
      ++result_.dispatched;
      ++live_[a.task.value()];
      const bool copies = options_.config.stragglers == Stragglers::replicate;
      if (options_.check && live_[a.task.value()] > (copies ? 2 : 1))
        problem("task " + std::to_string(a.task.value()) + " lives twice");
      mix(a.task.value() * 1000003ULL + conn);
      node.runs.push_back(std::move(run));
      event.what = What::started;
      at(there, event);
      break;
    }
    case ActionKind::request_results:
      event.what = What::send_results;
      to_manager(conn, event);
      break;
    case ActionKind::fetch:
      event.what = What::fetched;
      to_manager(conn, event);
      break;
    case ActionKind::kill:
      end_run(conn, a.task.value());
      start_what_fits(conn);
      break;
    case ActionKind::unlink: {
      if (!options_.check) break;
      const std::string name(effects.view(a.name));
      node.cache.erase(name);
      node.awaited.erase(name);
      for (const Run& run : node.runs) {
        if (!run.over && std::find(run.inputs.begin(), run.inputs.end(), name) != run.inputs.end())
          problem(name + " removed while task " + std::to_string(run.task) + " needs it");
      }
      break;
    }
    case ActionKind::check:
      event.what = What::alive;
      to_manager(conn, event);
      break;
    case ActionKind::release:
    case ActionKind::exit:
      lose(conn);
      break;
    case ActionKind::close: {
      node.alive = false;
      for (const Run& run : node.runs) --live_[run.task];
      node = Node{};
      Event again;
      again.what = What::join;
      at(now_.time + std::chrono::seconds(5), again);
      break;
    }
    default:
      perform_peers(a, effects);
  }
}

void SimWorld::perform(const Effects& effects) {
  for (const Report& report : effects.reports) {
    if (report.kind != ReportKind::finished && report.kind != ReportKind::cancelled) continue;
    const std::uint32_t id = report.task.value();
    const TaskOutcome& outcome = effects.outcomes.at(report.outcome);
    if (ended_.at(id)++ > 0) problem("task " + std::to_string(id) + " ended twice");
    report.kind == ReportKind::finished ? ++result_.finished : ++result_.cancelled;
    if (outcome.result == protocol::ResultCode::success) ++result_.succeeded;
    result_.exhausted_attempts += outcome.exhausted_attempts;
    mix(id * 7ULL + static_cast<std::uint64_t>(outcome.result));
  }
  for (const StatRequest& request : effects.stats) {
    Event event;
    event.what = What::stat;
    event.task = request.file.value();
    at(now_.time + Duration(50), event);
  }
  for (const Action& action : effects.actions) perform(action, effects);
  answer_digests(effects);
}

SimResult SimWorld::run() {
  for (std::uint32_t i = 0; i < options_.workers; ++i) join();
  while (submit_next()) {
  }
  Effects effects;
  const std::uint64_t all = count_;
  const std::uint64_t most_steps = 1000 + 400 * all;
  while (result_.finished + result_.cancelled < all) {
    if (++result_.steps > most_steps) {
      problem("no end in sight after " + std::to_string(result_.steps) + " steps; " +
              std::to_string(all - result_.finished - result_.cancelled) + " tasks left; first: " + [this] {
                std::string text;
                machine_->each_task([&](const TaskView& v) {
                  if (text.empty()) text = std::to_string(v.id.value()) + ": " + machine_->explain(v.id).text;
                });
                return text;
              }());
      break;
    }
    machine_->run(now_, effects);
    if (options_.check) machine_->check_invariants();
    perform(effects);
    if (options_.check) machine_->check_invariants();
    if (result_.finished + result_.cancelled >= all) break;
    const auto deadline = machine_->next_deadline();
    Time next = next_event() == nullptr ? Time::max() : next_event()->at;
    if (deadline && *deadline < next) next = *deadline;
    if (next == Time::max()) {
      problem("nothing will ever happen again, but tasks are left");
      break;
    }
    const Duration passed = std::max(next - now_.time, Duration(0));
    now_.time += passed;
    now_.wall += passed;
    while (next_event() != nullptr && next_event()->at <= now_.time) deliver(take_event());
  }
  result_.makespan = now_.time - start_.time;
  for (std::size_t id = 1; id < ended_.size(); ++id)
    if (ended_[id] != 1) problem("task " + std::to_string(id) + " ended " + std::to_string(ended_[id]) + " times");
  return result_;
}

}  // namespace taskmill::testing
