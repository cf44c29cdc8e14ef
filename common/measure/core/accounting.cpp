#include "common/measure/core/accounting.hpp"

#include <algorithm>

namespace taskmill::measure {

namespace {

constexpr std::array fields = {
    &Counters::user,         &Counters::system,          &Counters::chars_read,      &Counters::chars_written,
    &Counters::storage_read, &Counters::storage_written, &Counters::context_switches};

void raise(std::optional<std::int64_t>& peak, std::int64_t value) { peak = std::max(peak.value_or(0), value); }

void keep_highest(Counters& highest, const Counters& now) {
  for (const auto field : fields) highest.*field = std::max(highest.*field, now.*field);
}

}  // namespace

Counters& Counters::operator+=(const Counters& other) {
  for (const auto field : fields) this->*field += other.*field;
  return *this;
}

Accounting::Accounting(const Options& options)
    : window_(options.cores_window), limit_window_(options.cores_limit_window), line_(options.time_line_points) {}

bool Accounting::wants_shared(std::int64_t rss, std::size_t processes) const {
  return processes > 1 && rss > memory_peak_.value_or(0);
}

Counters Accounting::Pending::missing(const Counters& heir_now) const {
  Counters out;
  for (const auto field : fields) {
    // What /proc shows of context switches is not inherited, but the rusage at the end is: nothing is missing.
    if (field == &Counters::context_switches) continue;
    out.*field = std::max<std::int64_t>(0, expected.*field - (heir_now.*field - heir_before.*field));
  }
  return out;
}

/// The nearest ancestor that is still there; 0 when the chain leads out of the tree.
std::int64_t Accounting::find_heir(std::int64_t parent, const Processes& now) const {
  for (int depth = 0; depth < 64; ++depth) {
    const auto before = known_.find(parent);
    if (before == known_.end()) return 0;
    const auto alive = now.find(parent);
    if (alive != now.end() && alive->second.start_time == before->second.start_time) return parent;
    parent = before->second.parent;
  }
  return 0;
}

/// Processes that were there and are not: a parent that waited for them has their counters now. What nobody inherited
/// is added to gone_.
void Accounting::settle_vanished(const Processes& now) {
  std::map<std::int64_t, Pending> next;
  for (const auto& [pid, old] : known_) {
    const auto pending = pending_.find(pid);
    const auto alive = now.find(pid);
    if (alive != now.end() && alive->second.start_time == old.start_time) {
      if (pending != pending_.end()) gone_ += pending->second.missing(alive->second.counters);
      continue;
    }
    auto last = old.counters;
    if (pending != pending_.end()) last += pending->second.missing(old.counters);
    const auto heir = find_heir(old.parent, now);
    if (heir == 0) {
      gone_ += last;
      continue;
    }
    auto& entry = next[heir];
    entry.expected += last;
    entry.heir_before = known_.at(heir).counters;
  }
  pending_ = std::move(next);
}

void Accounting::add(const TreeSample& sample) {
  ++samples_;
  std::map<std::int64_t, Known> now;
  std::size_t live = 0;
  for (const auto& p : sample.processes) {
    now[p.pid] = {p.start_time, p.parent, p.counters};
    if (!p.zombie) ++live;
    has_io_ |= p.has_io;
    has_switches_ |= p.has_switches;
    const auto old = known_.find(p.pid);
    if (old == known_.end() || old->second.start_time != p.start_time)
      ++total_processes_;
    else if (!p.has_io || p.zombie)
      keep_highest(now[p.pid].counters, old->second.counters);
  }
  settle_vanished(now);
  known_ = std::move(now);
  if (sample.group) group_ = sample.group;
  keep_highest(shown_, total());

  max_processes_ = std::max(max_processes_, static_cast<std::int32_t>(live));
  account_memory(sample, live);
  usage_.processes = static_cast<std::int64_t>(live);
  usage_.wall = sample.at;
  usage_.cpu = Duration{shown_.user + shown_.system};
  window_.add(sample.at, usage_.cpu);
  limit_window_.add(sample.at, usage_.cpu);
  usage_.cores = limit_window_.now();
  line_.add(sample.at, usage_.cpu, usage_.memory, usage_.disk, static_cast<std::int32_t>(live));
}

void Accounting::account_memory(const TreeSample& sample, std::size_t live) {
  std::int64_t rss = 0, pss = 0, swap = 0, virtual_size = 0, largest = 0, largest_virtual = 0;
  bool all_shared = live > 0;
  for (const auto& p : sample.processes) {
    if (p.zombie) continue;
    rss += p.rss;
    swap += p.swap;
    virtual_size += p.virtual_size;
    largest = std::max(largest, p.peak_rss);
    largest_virtual = std::max(largest_virtual, p.peak_virtual);
    if (p.pss)
      pss += *p.pss;
    else
      all_shared = false;
  }
  if (live > 0) {
    raise(swap_peak_, swap);
    raise(virtual_peak_, std::max(virtual_size, largest_virtual));
    raise(largest_, largest);
  }
  if (all_shared && rss > 0) shared_ratio_ = std::min(1.0, static_cast<double>(pss) / static_cast<double>(rss));
  if (live <= 1) shared_ratio_ = 1;
  std::int64_t memory = static_cast<std::int64_t>(static_cast<double>(rss) * shared_ratio_);
  MemorySource source = live > 1 && all_shared ? MemorySource::pss : MemorySource::rss;
  if (live > 1 && !all_shared && memory_source_ == MemorySource::pss) {
    // Not read because the upper bound says that it cannot be a new peak.
    memory = std::min(memory, memory_peak_.value_or(memory));
    source = MemorySource::pss;
  }
  if (sample.group && sample.group->memory) {
    memory = *sample.group->memory;
    source = MemorySource::cgroup;
    if (sample.group->swap) {
      swap = *sample.group->swap;
      raise(swap_peak_, swap);
    }
  }
  usage_.memory = memory;
  usage_.swap = swap;
  usage_.virtual_memory = virtual_size;
  if (live == 0 && !(sample.group && sample.group->memory)) return;
  // The largest single process is part of the tree: its own high-water mark is a peak between samples.
  const auto peak = std::max(memory, largest);
  if (!memory_peak_ || peak > *memory_peak_) {
    memory_peak_ = peak;
    memory_source_ = source;
  }
}

void Accounting::set_disk(std::int64_t bytes, std::int64_t files) {
  usage_.disk = bytes;
  usage_.files = files;
  raise(disk_peak_, bytes);
  raise(files_peak_, files);
}

void Accounting::reaped(std::int64_t pid, const FinalCounters& final) {
  const auto known = known_.find(pid);
  Counters counters;
  if (known != known_.end()) {
    counters = known->second.counters;
    if (const auto pending = pending_.find(pid); pending != pending_.end()) {
      gone_ += pending->second.missing(counters);
      pending_.erase(pending);
    }
    known_.erase(known);
  } else {
    ++total_processes_;
  }
  counters.user = std::max(counters.user, final.user);
  counters.system = std::max(counters.system, final.system);
  counters.context_switches = std::max(counters.context_switches, final.context_switches);
  gone_ += counters;
  if (final.peak_rss > 0) {
    raise(largest_, final.peak_rss);
    if (final.peak_rss > memory_peak_.value_or(0)) {
      memory_peak_ = final.peak_rss;
      if (memory_source_ == MemorySource::none) memory_source_ = MemorySource::rusage;
    }
  }
}

Counters Accounting::total() const {
  auto sum = gone_;
  for (const auto& [pid, known] : known_) sum += known.counters;
  for (const auto& [heir, pending] : pending_) sum += pending.missing(known_.at(heir).counters);
  if (group_) {
    // The group's CPU account is exact and includes everybody who ever was in it.
    if (group_->user && group_->system) {
      sum.user = *group_->user;
      sum.system = *group_->system;
    }
    if (group_->storage_read) sum.storage_read = *group_->storage_read;
    if (group_->storage_written) sum.storage_written = *group_->storage_written;
  }
  return sum;
}

Measurement Accounting::describe(Duration wall, const Counters& counters) const {
  Measurement m;
  m.wall = wall;
  m.cpu_user = Duration{counters.user};
  m.cpu_system = Duration{counters.system};
  m.cores_average = wall.count() > 0 ? static_cast<double>(m.cpu().count()) / static_cast<double>(wall.count()) : 0;
  m.cores_peak = window_.peak();
  m.memory = memory_peak_;
  m.memory_source = memory_source_;
  m.largest_process = largest_;
  m.swap = swap_peak_;
  m.virtual_memory = virtual_peak_;
  m.disk = disk_peak_;
  m.files = files_peak_;
  if (has_io_) {
    m.bytes_read = counters.chars_read;
    m.bytes_written = counters.chars_written;
    m.storage_bytes_read = counters.storage_read;
    m.storage_bytes_written = counters.storage_written;
  }
  if (has_switches_) m.context_switches = counters.context_switches;
  m.max_processes = max_processes_;
  m.total_processes = total_processes_;
  if (group_ && group_->processes_peak)
    m.max_processes = std::max(m.max_processes, static_cast<std::int32_t>(*group_->processes_peak));
  m.samples = samples_;
  m.in_cgroup = group_.has_value();
  m.time_line = line_.points();
  return m;
}

Measurement Accounting::so_far(Duration wall) const { return describe(wall, shown_); }

Measurement Accounting::finish(std::int64_t root, const FinalCounters& final, Duration wall) {
  max_processes_ = std::max(max_processes_, 1);  // gone, or a zombie, before the first look
  has_switches_ = true;
  reaped(root, final);
  keep_highest(shown_, total());
  const Duration cpu{shown_.user + shown_.system};
  window_.add(wall, cpu);
  line_.add(wall, cpu, std::max(usage_.memory, samples_ == 0 ? final.peak_rss : 0), usage_.disk,
            static_cast<std::int32_t>(usage_.processes));
  return describe(wall, shown_);
}

}  // namespace taskmill::measure
