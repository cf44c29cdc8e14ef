#include "common/measure/task_meter.hpp"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <set>
#include <utility>

#include "common/measure/cgroup.hpp"
#include "common/measure/core/accounting.hpp"
#include "common/measure/process_watch.hpp"
#include "common/os/fd.hpp"

namespace taskmill::measure {

namespace {

constexpr std::size_t max_processes = 4096;  // beyond this only the count goes on (a fork bomb)
constexpr int kill_rounds = 40;
constexpr Duration shortest_for_cores{500'000};  // starting up is not using too much

std::int64_t micros(const timeval& t) { return std::int64_t{t.tv_sec} * 1'000'000 + t.tv_usec; }

FinalCounters final_counters(const rusage& usage, std::int64_t spawner_peak) {
  // ru_maxrss starts with the peak of whoever called exec, which is us: only more than ours is the task's own.
  const auto peak = std::int64_t{usage.ru_maxrss} * 1024;
  return {micros(usage.ru_utime), micros(usage.ru_stime), usage.ru_nvcsw + usage.ru_nivcsw,
          peak > spawner_peak ? peak : 0};
}

int pidfd_open(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }
int pidfd_signal(int fd, int signal) {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0));
}

// A task that is being started shares our memory until its exec: none of it is the task's own.
bool shares_our_memory(std::int64_t pid) { return ::syscall(SYS_kcmp, ::getpid(), pid, KCMP_VM, 0, 0) == 0; }

}  // namespace

struct TaskMeter::State {
  State(ProcessWatch::State& shared, TaskMark m, MeterOptions o, Time now)
      : watch(shared),
        mark(m),
        options(o),
        started(now),
        sampled(now),
        accounting({o.cores_window, o.cores_limit_window, o.time_line_points}) {
    tick_us = 1'000'000 / std::max(1L, ::sysconf(_SC_CLK_TCK));
    page = ::sysconf(_SC_PAGESIZE);
    rusage self{};
    ::getrusage(RUSAGE_SELF, &self);
    spawner_peak = std::int64_t{self.ru_maxrss} * 1024;
  }
  ~State() { watch.roots.erase(root); }

  /// A process found by a scan, not yet looked at closely.
  struct Seen {
    ProcStat stat;
  };
  /// Who belongs to the task now; at most so many are listed.
  std::vector<Seen> scan(Time now, std::size_t most = max_processes);
  void visit(std::int64_t pid, std::int64_t expected_parent, std::set<std::int64_t>& done, std::vector<Seen>& out);
  std::size_t scan_most = max_processes;  ///< of the scan that goes on
  /// An orphan of this task: it carries the mark, or has lost it but is still in the first process's group or session.
  [[nodiscard]] bool is_ours(const ProcessWatch::State::Child& child) const {
    if (child.mark == mark) return true;
    return !watch.is_ours(child.mark) && root > 0 && (child.group == root || child.session == root);
  }
  /// A storm of processes is not counted to its end: well above the limit the verdict is clear.
  [[nodiscard]] std::size_t scan_limit() const {
    const auto limit = options.limits.processes;
    return limit ? std::min(max_processes, static_cast<std::size_t>(*limit + *limit / 4 + 16)) : max_processes;
  }
  void slow_down_storm();
  ProcessSample look(const Seen& seen, bool closely);
  void read_shared(TreeSample& sample);
  void check_limits();

  ProcessWatch::State& watch;
  TaskMark mark;
  MeterOptions options;
  Time started, sampled;
  std::int64_t root = 0;
  std::map<std::int64_t, std::uint64_t> known;       ///< pid -> start time
  std::map<std::int64_t, ProcessSample> last_looks;  ///< for processes left out of a sample's close look
  std::size_t rotation = 0;
  bool slowed_down = false;
  Accounting accounting;
  std::vector<Exceeded> exceeded;
  std::int64_t tick_us = 10'000, page = 4096, spawner_peak = 0;
};

/// Breadth first, parents before children: a child that ends while we look is then missed, never counted twice.
void TaskMeter::State::visit(std::int64_t pid, std::int64_t expected_parent, std::set<std::int64_t>& done,
                             std::vector<Seen>& out) {
  std::vector<std::pair<std::int64_t, std::int64_t>> queue{{pid, expected_parent}};
  for (std::size_t i = 0; i < queue.size() && out.size() < scan_most; ++i) {
    const auto [next, parent] = queue[i];
    if (!done.insert(next).second) continue;
    auto stat = watch.reader.stat(next);
    if (!stat) continue;
    const auto old = known.find(next);
    const bool same = old != known.end() && old->second == stat->start_time;
    // A new pid is believed only if it is still the child it was listed as (or an orphan that we were given).
    if (!same && parent != 0 && stat->ppid != parent && stat->ppid != ::getpid()) continue;
    if (!same && parent == 0 && next != root) continue;
    if (!stat->is_zombie())
      for (const auto child : watch.reader.children(next, stat->threads)) queue.emplace_back(child, next);
    out.push_back({std::move(*stat)});
  }
}

std::vector<TaskMeter::State::Seen> TaskMeter::State::scan(Time now, std::size_t most) {
  scan_most = most;
  std::vector<Seen> out;
  std::set<std::int64_t> done;
  visit(root, 0, done, out);
  for (const auto& [pid, start] : known) visit(pid, 0, done, out);
  watch.refresh(now);
  for (const auto& [pid, child] : watch.children)
    if (is_ours(child) && !done.count(pid)) visit(pid, ::getpid(), done, out);
  if (options.cgroup)
    for (const auto pid : options.cgroup->processes())
      if (!done.count(pid))
        if (auto stat = watch.reader.stat(pid)) {
          done.insert(pid);
          out.push_back({std::move(*stat)});
        }
  known.clear();
  for (const auto& seen : out) known[seen.stat.pid] = seen.stat.start_time;
  return out;
}

ProcessSample TaskMeter::State::look(const Seen& seen, bool closely) {
  const auto& stat = seen.stat;
  ProcessSample p;
  p.pid = stat.pid;
  p.parent = stat.ppid;
  p.start_time = stat.start_time;
  p.zombie = stat.is_zombie();
  p.counters.user = (stat.user_ticks + stat.children_user_ticks) * tick_us;
  p.counters.system = (stat.system_ticks + stat.children_system_ticks) * tick_us;
  if (!p.zombie && shares_our_memory(stat.pid)) return p;
  p.virtual_size = stat.virtual_size;
  p.rss = p.peak_rss = stat.rss_pages * page;
  if (const auto io = watch.reader.io(stat.pid)) {
    p.has_io = true;
    p.counters.chars_read = io->chars_read;
    p.counters.chars_written = io->chars_written;
    p.counters.storage_read = io->storage_read;
    p.counters.storage_written = io->storage_written;
  }
  const auto last = last_looks.find(stat.pid);
  if (!closely) {
    if (last != last_looks.end() && last->second.start_time == p.start_time) {
      p.swap = last->second.swap;
      p.peak_rss = std::max(p.peak_rss, last->second.peak_rss);
      p.counters.context_switches = last->second.counters.context_switches;
    }
    return p;
  }
  if (const auto status = watch.reader.status(stat.pid)) {
    p.rss = status->rss.value_or(p.rss);
    p.peak_rss = std::max(p.rss, status->peak_rss.value_or(p.peak_rss));
    p.swap = status->swap.value_or(0);
    p.peak_virtual = status->peak_virtual.value_or(p.virtual_size);
    if (status->context_switches) {
      p.has_switches = true;
      p.counters.context_switches = *status->context_switches;
    }
  }
  last_looks[stat.pid] = p;
  return p;
}

/// Proportional sizes, where they can say something that resident sizes do not.
void TaskMeter::State::read_shared(TreeSample& sample) {
  if (!options.shared_pages) return;
  std::int64_t rss = 0;
  std::size_t live = 0;
  for (const auto& p : sample.processes) {
    if (p.zombie) continue;
    rss += p.rss;
    ++live;
  }
  if (!accounting.wants_shared(rss, live) || live > options.max_details) return;
  for (auto& p : sample.processes) {
    if (p.zombie || p.rss == 0) continue;
    const auto rollup = watch.reader.rollup(p.pid);
    if (rollup) p.pss = rollup->pss;
    // Gone in between, or a kernel thread's empty address space: it holds nothing now.
    else if (!watch.reader.stat(p.pid)) {
      p.rss = 0;
      p.pss = 0;
    }
  }
}

/// A task that nears its limit on processes goes behind everybody else, us first of all: whoever is to stop it must get
/// to run. One call for its whole group; children inherit it.
void TaskMeter::State::slow_down_storm() {
  const auto limit = options.limits.processes;
  if (slowed_down || !limit || accounting.usage().processes * 2 <= *limit) return;
  slowed_down = true;
  ::setpriority(PRIO_PGRP, static_cast<id_t>(root), 19);
}

void TaskMeter::State::check_limits() {
  for (const auto& found : decide(options.limits, accounting.usage())) {
    const auto old =
        std::find_if(exceeded.begin(), exceeded.end(), [&](const Exceeded& e) { return e.kind == found.kind; });
    if (old == exceeded.end())
      exceeded.push_back(found);
    else
      old->used = std::max(old->used, found.used);
  }
}

TaskMeter::TaskMeter(ProcessWatch& watch, MeterOptions options, Time now)
    : state_(std::make_unique<State>(*watch.state_, watch.new_mark(), options, now)) {}
TaskMeter::~TaskMeter() = default;
TaskMeter::TaskMeter(TaskMeter&&) noexcept = default;
TaskMeter& TaskMeter::operator=(TaskMeter&&) noexcept = default;

TaskMark TaskMeter::mark() const { return state_->mark; }

Time TaskMeter::start(pid_t pid, Time now) {
  auto& s = *state_;
  s.root = pid;
  s.started = s.sampled = now;
  s.watch.roots.insert(pid);
  s.watch.children.erase(pid);
  if (const auto spawned_with = mark_of(pid); s.watch.is_ours(spawned_with))
    s.mark = spawned_with;
  else
    apply_mark(pid, s.mark);
  if (s.options.cgroup) (void)s.options.cgroup->add(pid);
  if (s.options.sample_at_start) sample(now);
  return now + s.options.first_sample;
}

Time TaskMeter::sample(Time now) {
  auto& s = *state_;
  const auto before = s.accounting.usage();
  const auto seen = s.scan(now, s.scan_limit());
  TreeSample sample;
  sample.at = now - s.started;
  sample.processes.reserve(seen.size());
  const auto details = s.options.max_details;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const bool closely = seen.size() <= details || (i + seen.size() - s.rotation % seen.size()) % seen.size() < details;
    sample.processes.push_back(s.look(seen[i], closely));
  }
  s.rotation = seen.size() > details ? (s.rotation + details) % seen.size() : 0;
  s.read_shared(sample);
  if (s.options.cgroup) sample.group = s.options.cgroup->sample();
  s.accounting.add(sample);
  if (s.last_looks.size() > 2 * seen.size() + 16)
    std::erase_if(s.last_looks, [&](const auto& item) { return !s.known.count(item.first); });
  s.slow_down_storm();
  s.check_limits();

  const auto age = std::chrono::duration_cast<Duration>(now - s.started);
  const auto between = std::chrono::duration_cast<Duration>(now - s.sampled);
  s.sampled = now;
  const auto least = s.options.least_interval;
  const auto most = std::max(least, s.options.regular_interval);
  const auto by_age = std::clamp(age / 2, least, most);
  const auto by_limits = next_interval(s.options.limits, before, s.accounting.usage(), between, least, most);
  return now + std::min(by_age, by_limits);
}

void TaskMeter::set_disk(std::int64_t bytes, std::int64_t files) {
  state_->accounting.set_disk(bytes, files);
  state_->check_limits();
}

void TaskMeter::root_exited(Time now) { sample(now); }

void TaskMeter::orphan_reaped(const ProcessWatch::Orphan& orphan) {
  state_->known.erase(orphan.pid);
  state_->accounting.reaped(orphan.pid, final_counters(orphan.usage, state_->spawner_peak));
}

std::optional<Exceeded> TaskMeter::exceeded() const {
  for (const auto& e : state_->exceeded)
    if (e.enforced) return e;
  return std::nullopt;
}

const std::vector<Exceeded>& TaskMeter::all_exceeded() const { return state_->exceeded; }

const Usage& TaskMeter::usage() const { return state_->accounting.usage(); }

Measurement TaskMeter::so_far(Time now) const {
  auto m = state_->accounting.so_far(now - state_->started);
  m.exceeded = state_->exceeded;
  return m;
}

std::vector<pid_t> TaskMeter::processes() {
  std::vector<pid_t> out;
  state_->watch.refreshed = false;
  for (const auto& seen : state_->scan(state_->sampled))
    if (!seen.stat.is_zombie()) out.push_back(static_cast<pid_t>(seen.stat.pid));
  return out;
}

int TaskMeter::kill_all(int signal, bool spare_root) {
  auto& s = *state_;
  if (signal == SIGKILL && s.options.cgroup && !spare_root) s.options.cgroup->kill();
  std::set<std::int64_t> signalled;
  // Children forked while we look are found in the next round; SIGKILL goes on until a round finds nobody new.
  const int rounds = signal == SIGKILL ? kill_rounds : 1;
  for (int round = 0; round < rounds; ++round) {
    s.watch.refreshed = false;
    bool any = false;
    for (const auto& seen : s.scan(s.sampled)) {
      const auto pid = seen.stat.pid;
      if (seen.stat.is_zombie() || (spare_root && pid == s.root) || signalled.count(pid)) continue;
      // The descriptor pins the process; the start time read through it being the same proves that it is the one.
      const os::UniqueFd fd(pidfd_open(static_cast<pid_t>(pid)));
      const auto again = s.watch.reader.stat(pid);
      if (!fd || !again || again->start_time != seen.stat.start_time) continue;
      if (pidfd_signal(fd.get(), signal) != 0) continue;
      signalled.insert(pid);
      any = true;
    }
    if (!any) break;
  }
  return static_cast<int>(signalled.size());
}

Measurement TaskMeter::finish(const rusage& usage, Time now) {
  auto& s = *state_;
  auto final = final_counters(usage, s.spawner_peak);
  // Nothing seen at all: an upper bound is better than nothing.
  auto m = s.accounting.finish(s.root, final, now - s.started);
  if (!m.memory && usage.ru_maxrss > 0) {
    m.memory = std::int64_t{usage.ru_maxrss} * 1024;
    m.memory_source = MemorySource::rusage;
  }
  m.exceeded = s.exceeded;
  // The window for cores is longer than many tasks live: these are told at their end what they took.
  const bool told =
      std::any_of(m.exceeded.begin(), m.exceeded.end(), [](const Exceeded& e) { return e.kind == LimitKind::cores; });
  if (s.options.limits.cores && !told && m.wall >= shortest_for_cores) {
    Limits cores;
    cores.cores = s.options.limits.cores;
    Usage average;
    average.cores = m.cores_average;
    for (const auto& found : decide(cores, average)) m.exceeded.push_back(found);
  }
  s.watch.roots.erase(s.root);
  s.root = 0;
  return m;
}

}  // namespace taskmill::measure
