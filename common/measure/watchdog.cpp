#include "common/measure/watchdog.hpp"

#include <algorithm>
#include <utility>

namespace taskmill::measure {

namespace {
constexpr Duration slice_pause{1'000};
constexpr Duration first_disk_look{100'000};
}  // namespace

struct Watchdog::Entry {
  Entry(ProcessWatch& watch, const MeterOptions& options, Time now) : meter(watch, options, now) {}
  TaskMeter meter;
  std::unique_ptr<DiskMeter> disk;
  Time next_sample{}, next_disk{}, started{};
  std::int64_t last_bytes = 0;
  std::set<LimitKind> told;
};

Watchdog::Watchdog(ProcessWatch& watch, WatchdogOptions options) : watch_(watch), options_(options) {}
Watchdog::~Watchdog() = default;

void Watchdog::started(Task task, pid_t pid, const WatchedTask& what, Time now) {
  auto meter = options_.meter;
  meter.limits = what.limits;
  meter.cgroup = what.cgroup;
  meter.sample_at_start = false;
  if (what.limits.memory) meter.regular_interval = std::min(meter.regular_interval, Duration{250'000});
  auto entry = std::make_unique<Entry>(watch_, meter, now);
  entry->started = now;
  entry->next_sample = entry->meter.start(pid, now);
  by_mark_[entry->meter.mark().value] = task;
  samples_.insert({entry->next_sample, task});
  if (!what.sandbox.empty()) {
    entry->disk = std::make_unique<DiskMeter>(what.sandbox);
    entry->next_disk = now + first_disk_look;
    disks_.insert({entry->next_disk, task});
  }
  tasks_[task] = std::move(entry);
}

std::optional<Time> Watchdog::next() const {
  if (samples_.empty()) return std::nullopt;
  auto when = samples_.begin()->first;
  if (!disks_.empty()) when = std::min(when, disks_.begin()->first);
  return when;
}

void Watchdog::tell(Task task, Entry& entry, std::vector<Passed>& out) {
  for (const auto& exceeded : entry.meter.all_exceeded())
    if (entry.told.insert(exceeded.kind).second) out.push_back({task, exceeded});
}

std::vector<Watchdog::Passed> Watchdog::turn(Time now) {
  std::vector<Passed> out;
  for (std::size_t i = 0; i < options_.samples_per_turn && !samples_.empty() && samples_.begin()->first <= now; ++i) {
    const auto task = samples_.begin()->second;
    samples_.erase(samples_.begin());
    auto& entry = *tasks_.at(task);
    entry.next_sample = entry.meter.sample(now);
    samples_.insert({entry.next_sample, task});
    tell(task, entry, out);
  }
  if (!disks_.empty() && disks_.begin()->first <= now) {
    const auto task = disks_.begin()->second;
    step_disk(now);
    tell(task, *tasks_.at(task), out);
  }
  return out;
}

/// One slice of the directory whose turn it is.
void Watchdog::step_disk(Time now) {
  const auto task = disks_.begin()->second;
  disks_.erase(disks_.begin());
  auto& entry = *tasks_.at(task);
  const bool round = entry.disk->step(options_.disk_entries_per_turn);
  const auto usage = entry.disk->usage();
  entry.meter.set_disk(usage.bytes, usage.files);
  auto pause = slice_pause;
  if (round) {
    // Growing directories are looked at more often; young tasks too.
    const auto age = std::chrono::duration_cast<Duration>(now - entry.started);
    const bool grows = usage.bytes > entry.last_bytes + (1 << 20);
    pause = std::clamp(age / 4, Duration{50'000}, grows ? options_.disk_pause / 4 : options_.disk_pause);
    // A big tree is not walked all the time: ten slices of pause for each slice of work.
    const auto slices = usage.files / static_cast<std::int64_t>(options_.disk_entries_per_turn);
    pause = std::max(pause, slice_pause * 10 * slices);
    entry.last_bytes = usage.bytes;
  }
  entry.next_disk = now + pause;
  disks_.insert({entry.next_disk, task});
}

void Watchdog::root_exited(Task task, Time now) {
  const auto found = tasks_.find(task);
  if (found != tasks_.end()) found->second->meter.root_exited(now);
}

void Watchdog::orphan_ended(const ProcessWatch::Orphan& orphan) {
  const auto task = by_mark_.find(orphan.mark.value);
  if (task != by_mark_.end()) tasks_.at(task->second)->meter.orphan_reaped(orphan);
}

void Watchdog::last_look_at_disk(Task task, std::size_t entries) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end() || !found->second->disk) return;
  // From the root again: the round under way may have passed what was written since.
  auto& disk = *found->second->disk;
  disk.restart();
  disk.step(entries);
  found->second->meter.set_disk(disk.usage().bytes, disk.usage().files);
}

std::optional<Measurement> Watchdog::finish(Task task, const rusage& usage, Time now) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) return std::nullopt;
  auto& entry = *found->second;
  samples_.erase({entry.next_sample, task});
  disks_.erase({entry.next_disk, task});
  by_mark_.erase(entry.meter.mark().value);
  auto m = entry.meter.finish(usage, now);
  tasks_.erase(found);
  return m;
}

std::optional<Measurement> Watchdog::so_far(Task task, Time now) const {
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) return std::nullopt;
  return found->second->meter.so_far(now);
}

}  // namespace taskmill::measure
