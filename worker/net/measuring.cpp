#include "worker/net/measuring.hpp"

#include <algorithm>
#include <utility>

#include "protocol/pb/frames.hpp"
#include "protocol/pb/measurement.hpp"
#include "protocol/result_code.hpp"

namespace taskmill::worker {
namespace {

measure::WatchdogOptions watchdog_options() { return {}; }

constexpr std::int64_t most = 1'000'000'000'000;

template <class T>
std::optional<T> positive(T value) {
  return value > 0 ? std::optional<T>(value) : std::nullopt;
}

std::optional<std::int64_t> whole(const std::optional<double>& value) {
  if (!value) return std::nullopt;
  return static_cast<std::int64_t>(std::clamp(*value, 0.0, static_cast<double>(most)));
}

}  // namespace

Measuring::Measuring(Context& context, LimitPolicy policy)
    : context_(context), policy_(policy), watchdog_(context.processes.watch(), watchdog_options()), timer_(context.io) {
  context_.log.detail(groups_.open(policy_.cgroup));
}

Measuring::~Measuring() = default;

measure::Limits Measuring::limits_of(const TaskSlot& task) const {
  using Enforce = LimitPolicy::Enforce;
  const auto& told = task.description.limits;
  measure::Limits limits;
  limits.processes = positive(policy_.max_processes);
  if (told.processes) limits.processes = std::min(*whole(told.processes), limits.processes.value_or(most));
  if (policy_.enforce == Enforce::never || !task.claim) return limits;
  if (context_.native.can(protocol::Capability::enforce)) {
    limits.memory = whole(told.memory);
    limits.disk = whole(told.disk);
    limits.cores = told.cores;
    limits.cores_enforced = told.stop_for_cores;
  }
  if (policy_.enforce == Enforce::always) {
    const auto& amount = task.claim->amount;
    if (!limits.memory) limits.memory = positive(amount.memory);
    if (!limits.disk) limits.disk = positive(amount.disk);
    if (!limits.cores && amount.cores_milli > 0) limits.cores = static_cast<double>(amount.cores_milli) / 1000;
  }
  limits.cores_enforced = limits.cores_enforced || policy_.stop_for_cores;
  return limits;
}

int Measuring::prepare(std::uint64_t task) {
  const TaskSlot* slot = groups_.in_use() ? context_.machine.slot(task) : nullptr;
  return slot == nullptr ? -1 : groups_.open_for(task, limits_of(*slot));
}

void Measuring::started(std::uint64_t task, pid_t pid, Time now) {
  const TaskSlot* slot = context_.machine.slot(task);
  if (slot == nullptr) return;
  measure::WatchedTask what;
  what.limits = limits_of(*slot);
  what.sandbox = context_.space.path() + "/t." + std::to_string(slot->description.task_id);
  what.cgroup = groups_.entered(task, pid);
  watchdog_.started(task, pid, what, now);
  arm();
}

bool Measuring::is_told() const {
  return context_.native.can(protocol::Capability::measure) || context_.log.detailed();
}

void Measuring::ended(std::uint64_t task, Time now) {
  if (const TaskSlot* slot = context_.machine.slot(task); slot != nullptr && groups_.ran_out_of_memory(task)) {
    out_of_memory_[task] = static_cast<double>(limits_of(*slot).memory.value_or(0));
    context_.machine.on_limit_passed(task, context_.effects);
  }
  // A quarter of what the worker spends on a short task: not for numbers that nobody hears.
  if (!is_told()) return;
  // Bounded: of a large sandbox the rounds made while the task ran tell.
  watchdog_.last_look_at_disk(task, 300);
  watchdog_.root_exited(task, now);
}

std::string Measuring::finish(std::uint64_t task, const rusage& usage, Time now) {
  auto measured = watchdog_.finish(task, usage, now);
  groups_.leave(task);
  const TaskSlot* slot = context_.machine.slot(task);
  if (measured && slot != nullptr) add_limits_met(task, *slot, *measured);
  out_of_memory_.erase(task);
  if (!measured || slot == nullptr) return {};
  if (context_.log.detailed()) {
    context_.log.detail("task " + std::to_string(slot->description.task_id) + " used " +
                        to_text(*measured, static_cast<double>(slot->claim ? slot->claim->amount.gpus : 0)));
  }
  // Of a dying one nobody wants to know.
  if (slot->state == TaskState::running && context_.native.can(protocol::Capability::measure)) tell(*slot, *measured);
  return {};
}

void Measuring::add_limits_met(std::uint64_t task, const TaskSlot& slot, measure::Measurement& measured) const {
  using measure::LimitKind;
  if (const auto at = out_of_memory_.find(task); at != out_of_memory_.end()) {
    const auto used = static_cast<double>(measured.memory.value_or(0)) / 1048576;
    const auto known = std::any_of(measured.exceeded.begin(), measured.exceeded.end(),
                                   [](const auto& e) { return e.kind == LimitKind::memory; });
    if (!known) measured.exceeded.push_back({LimitKind::memory, at->second, std::max(used, at->second), true});
  }
  if (slot.result.status == static_cast<int>(protocol::ResultCode::task_max_run_time)) {
    const auto& description = slot.description;
    measured.exceeded.push_back({LimitKind::wall_time, description.limits.wall_time.value_or(description.wall_time),
                                 static_cast<double>(measured.wall.count()) / 1e6, true});
  }
}

void Measuring::tell(const TaskSlot& task, const measure::Measurement& measured) {
  const auto wall = aio::now().wall.time_since_epoch() - measured.wall;
  auto message = protocol::to_message(measured, task.pushed ? 0 : task.description.task_id, wall.count(),
                                      measure::MeterOptions().cores_window);
  if (task.pushed) {
    for_push_[task.key] = std::make_unique<pb::TaskMeasurement>(std::move(message));
    return;
  }
  protocol::append_frame(context_.effects.lines, message, context_.native.can(protocol::Capability::zstd));
}

std::unique_ptr<pb::TaskMeasurement> Measuring::take(std::uint64_t task) {
  auto node = for_push_.extract(task);
  return node.empty() ? nullptr : std::move(node.mapped());
}

void Measuring::arm() {
  const auto next = watchdog_.next();
  if (!next || (armed_ && *armed_ <= *next)) return;
  armed_ = next;
  timer_.expires_after(std::max(*next - aio::steady_now(), Duration::zero()));
  timer_.async_wait([this](ErrorCode error) {
    if (error) return;
    armed_.reset();
    on_timer();
  });
}

void Measuring::on_timer() {
  for (const auto& passed : watchdog_.turn(aio::steady_now())) act_on(passed);
  arm();
}

void Measuring::act_on(const measure::Watchdog::Passed& passed) {
  const TaskSlot* slot = context_.machine.slot(passed.task);
  if (slot == nullptr) return;
  const auto name = "task " + std::to_string(slot->description.task_id);
  if (!passed.exceeded.enforced)
    return context_.log.detail(name + " is above its allocation, " + to_text(passed.exceeded));
  context_.log.notice(name + " is stopped, " + to_text(passed.exceeded));
  context_.machine.on_limit_passed(passed.task, context_.effects);
  context_.wake();
}

}  // namespace taskmill::worker
