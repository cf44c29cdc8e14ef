// Read access for status, API and logs.
#include <algorithm>
#include <bit>
#include <map>

#include "manager/core/state.hpp"

namespace taskmill::manager {

std::vector<std::string> Machine::connected_factories() const {
  std::vector<std::string> names;
  for (const Factory& factory : state_->factories) {
    if (factory.connected > 0) names.push_back(factory.name);
  }
  return names;
}

TaskView State::view_task(std::uint32_t task) const {
  const TaskRecord& record = tasks[task];
  const SpecView spec = spec_of(record);
  TaskView v;
  v.id = record.id;
  v.state = record.state;
  v.priority = record.priority;
  v.command = spec.text(spec->command);
  v.tag = spec.text(spec->tag);
  v.coprocess = spec.text(spec->coprocess);
  v.category = categories[spec->category].name();
  v.requested = spec->resources();
  v.submitted = WallTime(Duration(record.submitted_us));
  if (record.history != no_index) v.tries = histories[record.history].outcome.try_count;
  if (record.attempt != no_index) {
    const Attempt& a = attempts[record.attempt];
    v.allocated = to_resources(a.box);
    v.conn = workers[a.worker].conn;
    v.commit_start = a.commit_start;
    v.commit_end = a.sent ? a.commit_end : WallTime{};
  } else if (record.shape != no_index) {
    const Category& category = categories[spec->category];
    const Resources& prediction = ready[record.shape].key.prediction;
    v.allocated = raised(category.max_label(record.label, v.requested, prediction, largest),
                         category.min_label(record.label, v.requested, prediction, largest));
  }
  return v;
}

std::optional<TaskSpec> Machine::spec(TaskId id) const {
  const State& s = *state_;
  const std::uint32_t slot = id.valid() ? s.ids.find(id.value()) : no_index;
  if (slot == no_index) return std::nullopt;
  const TaskRecord& record = s.tasks[slot];
  TaskSpec spec = s.specs.unpack(record.spec);
  const SpecView view = s.spec_of(record);
  spec.category = s.categories[view->category].name();
  spec.priority = record.priority;
  if (view->environment > 0) spec.environment_archive = s.environments[view->environment - 1].name;
  for (const auto& feature : s.feature_sets[view->features]) {
    if (spec.coprocess.empty() || feature != "wq_worker_coprocess:" + spec.coprocess) spec.features.push_back(feature);
  }
  return spec;
}

WorkerView State::view_worker(std::uint32_t slot) const {
  const Worker& w = workers[slot];
  WorkerView v;
  v.conn = w.conn;
  v.address = w.address;
  v.hostname = w.hostname;
  v.os = w.os;
  v.arch = w.arch;
  v.software = w.software;
  v.worker_id = w.worker_id;
  if (w.factory != no_index) v.factory = factories[w.factory].name;
  v.version = w.version;
  v.is_foreman = w.foreman;
  v.ready = w.introduced();
  v.draining = w.draining;
  v.blocked = is_blocked(w);
  ResourceTotals& r = v.resources;
  const auto cores = [](std::int64_t m) { return static_cast<double>(m) / 1000.0; };
  r.cores_total = cores(w.total.cores);
  r.cores_smallest = cores(w.smallest.cores);
  r.cores_largest = cores(w.largest.cores);
  r.cores_inuse = cores(w.in_use.cores);
  r.memory_total = w.total.memory;
  r.memory_smallest = w.smallest.memory;
  r.memory_largest = w.largest.memory;
  r.memory_inuse = w.in_use.memory;
  r.disk_total = w.total.disk;
  r.disk_smallest = w.smallest.disk;
  r.disk_largest = w.largest.disk;
  r.disk_inuse = w.in_use.disk;
  r.gpus_total = w.total.gpus;
  r.gpus_smallest = w.smallest.gpus;
  r.gpus_largest = w.largest.gpus;
  r.gpus_inuse = w.in_use.gpus;
  r.workers_total = w.workers_total;
  r.workers_smallest = w.workers_smallest;
  r.workers_largest = w.workers_largest;
  v.tasks_complete = w.tasks_complete;
  v.tasks_here = w.attempts;
  v.tasks_running = w.tasks_running_said;
  v.files_cached = static_cast<std::uint32_t>(w.cache.size());
  v.bytes_transferred = w.bytes;
  v.transfer_time = w.transfer_time;
  v.task_time = w.task_time;
  v.connected = w.connected_wall;
  v.end_time_s = w.end_time_s;
  return v;
}

CategoryView State::view_category(std::uint32_t index) const {
  const Category& c = categories[index];
  CategoryView v;
  v.name = c.name();
  v.settings = &c.settings();
  v.steady = c.steady();
  v.seen = c.seen();
  v.first_allocation = c.first();
  const Resources none;
  const BoxRules r{config.proportional_resources, config.proportional_whole_tasks, config.resource_submit_multiplier,
                   false};
  const Box most = to_box(largest);
  v.first_box = to_resources(
      box_for(most, c.max_label(Label::first, none, none, largest), c.min_label(Label::first, none, none, largest), r));
  v.max_box = to_resources(
      box_for(most, c.max_label(Label::max, none, none, largest), c.min_label(Label::max, none, none, largest), r));
  v.waiting = c.count.waiting;
  v.running = c.count.running;
  v.with_results = c.count.with_results;
  v.on_workers = c.count.running + c.count.with_results;
  v.submitted = c.count.submitted;
  v.dispatched = c.count.dispatched;
  v.done = c.count.done;
  v.failed = c.count.failed;
  v.cancelled = c.count.cancelled;
  v.first_count = c.count.first_count;
  v.max_count = c.count.max_count;
  v.exhausted = c.count.exhausted;
  v.limits_broken = c.limits_broken;
  if (c.count.successes > 0)
    v.mean_execution = Duration(c.count.execute_us / static_cast<std::int64_t>(c.count.successes));
  const Box need = to_box(raised(c.settings().max, c.seen()));
  for (const WorkerType& type : types) {
    if (type.live > 0 && fits_idle(need, type.largest)) v.workers_able += type.live;
  }
  return v;
}

namespace {
/// Down to a grid of 8 steps per power of two.
std::int64_t on_grid(std::int64_t value) {
  if (value < 16) return value;
  const int bits = std::bit_width(static_cast<std::uint64_t>(value)) - 4;
  return (value >> bits) << bits;
}
}  // namespace

std::vector<WorkerSummary> State::workers_summary() const {
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>, std::int64_t> counts;
  for (const WorkerType& type : types) {
    if (type.live == 0) continue;
    const Box& t = type.total;
    counts[{t.cores / milli, t.gpus, on_grid(t.memory), on_grid(t.disk)}] += type.live;
  }
  std::vector<WorkerSummary> rows;
  for (const auto& [key, count] : counts)
    rows.push_back({count, std::get<0>(key), std::get<2>(key), std::get<3>(key), std::get<1>(key)});
  std::sort(rows.begin(), rows.end(), [](const WorkerSummary& a, const WorkerSummary& b) {
    return std::tuple(a.count, a.cores, a.gpus, a.memory, a.disk) >
           std::tuple(b.count, b.cores, b.gpus, b.memory, b.disk);
  });
  return rows;
}

bool State::hungry() const {
  const auto enough = std::max(static_cast<double>(config.hungry_minimum),
                               config.hungry_factor * static_cast<double>(connected_workers));
  if (static_cast<double>(waiting) < enough) return true;
  const double m = config.resource_submit_multiplier;
  const auto room = [m](std::int64_t total, std::int64_t used) {
    return static_cast<double>(total) * m - static_cast<double>(used);
  };
  return waiting_sum[at_cores] <= room(sum_total.cores, sum_in_use.cores) / 1000.0 &&
         waiting_sum[at_memory] <= room(sum_total.memory, sum_in_use.memory) &&
         waiting_sum[at_gpus] <= room(sum_total.gpus, sum_in_use.gpus) &&
         waiting_sum[at_disk] <= static_cast<double>(sum_total.disk - sum_in_use.disk);
}

Stats State::stats() const {
  Stats s = counters;
  s.tasks_waiting = static_cast<std::int64_t>(waiting);
  s.tasks_running = static_cast<std::int64_t>(running);
  s.tasks_with_results = static_cast<std::int64_t>(retrieving);
  s.tasks_on_workers = s.tasks_running + s.tasks_with_results;
  s.workers_connected = static_cast<std::int64_t>(connected_workers);
  bool any = false;
  const Box need = to_box(largest_request);
  std::int64_t introduced = 0;
  for (const WorkerType& type : types) {
    if (type.live == 0) continue;
    introduced += type.live;
    const Box& b = type.largest;
    if (fits_idle(need, b)) s.workers_able += type.live;
    const auto fold = [any](std::int64_t& most, std::int64_t& least, std::int64_t value) {
      most = std::max(most, value);
      least = any ? std::min(least, value) : value;
    };
    fold(s.max_cores, s.min_cores, b.cores / milli);
    fold(s.max_memory, s.min_memory, b.memory);
    fold(s.max_disk, s.min_disk, b.disk);
    fold(s.max_gpus, s.min_gpus, b.gpus);
    any = true;
  }
  s.workers_init = s.workers_connected - introduced;
  for (std::uint32_t i = 0; i < workers.end(); ++i) {
    if (workers.alive(i) && workers[i].greeted && workers[i].attempts > 0) ++s.workers_busy;
  }
  s.workers_idle = s.workers_connected - s.workers_busy;
  s.total_cores = sum_total.cores / milli;
  s.total_memory = sum_total.memory;
  s.total_disk = sum_total.disk;
  s.total_gpus = sum_total.gpus;
  s.committed_cores = (sum_in_use.cores + milli - 1) / milli;
  s.committed_memory = sum_in_use.memory;
  s.committed_disk = sum_in_use.disk;
  s.committed_gpus = sum_in_use.gpus;
  double rate = config.default_transfer_rate;
  if (transfer_us > 1000000 && transfer_bytes > 0)
    rate = static_cast<double>(transfer_bytes) * 1e6 / static_cast<double>(transfer_us);
  s.bandwidth = rate / 1048576.0;
  const Capacity::Figures f = capacity.figures();
  s.capacity_tasks = f.tasks;
  s.capacity_cores = f.cores;
  s.capacity_memory = f.memory;
  s.capacity_disk = f.disk;
  s.capacity_gpus = f.gpus;
  s.capacity_instantaneous = f.instantaneous;
  s.capacity_weighted = f.weighted;
  s.waiting_total = from_four(waiting_sum);
  return s;
}

std::size_t State::memory_bytes() const {
  std::size_t bytes = tasks.memory_bytes() + ids.memory_bytes() + histories.memory_bytes() + attempts.memory_bytes() +
                      files.memory_bytes() + specs.memory_bytes() + ready.memory_bytes() + workers.memory_bytes() +
                      timers.size() * sizeof(Timer) + zombies.capacity() * 4;
  for (std::uint32_t i = 0; i < workers.end(); ++i) {
    if (workers.alive(i)) bytes += workers[i].cache.memory_bytes() + 512;
  }
  return bytes;
}

}  // namespace taskmill::manager
