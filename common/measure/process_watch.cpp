// Marks and orphans: see ProcessWatch in task_meter.hpp.
#include "common/measure/process_watch.hpp"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <utility>

#include "common/base/text.hpp"
#include "common/os/fd.hpp"

namespace taskmill::measure {

namespace {

// Microseconds of uninterrupted real-time scheduling: 35 years and more, so the limit itself never matters.
constexpr std::uint64_t first_mark = std::uint64_t{1} << 50;
constexpr std::uint64_t last_mark = std::uint64_t{1} << 62;

}  // namespace

TaskMark mark_of(pid_t pid) {
  rlimit limit{};
  if (::prlimit(pid, RLIMIT_RTTIME, nullptr, &limit) != 0) return {};
  if (limit.rlim_cur < first_mark || limit.rlim_cur > last_mark) return {};
  return {limit.rlim_cur};
}

ScopedTaskMark::ScopedTaskMark(TaskMark mark) {
  if (mark.value == 0 || ::getrlimit(RLIMIT_RTTIME, &before_) != 0) return;
  rlimit marked = before_;
  marked.rlim_cur = mark.value;
  set_ = ::setrlimit(RLIMIT_RTTIME, &marked) == 0;
}

ScopedTaskMark::~ScopedTaskMark() {
  if (set_) ::setrlimit(RLIMIT_RTTIME, &before_);
}

bool apply_mark(pid_t pid, TaskMark mark) {
  if (mark_of(pid) == mark) return true;
  rlimit limit{};
  if (::prlimit(pid, RLIMIT_RTTIME, nullptr, &limit) != 0) return false;
  limit.rlim_cur = mark.value;
  return ::prlimit(pid, RLIMIT_RTTIME, &limit, nullptr) == 0;
}

ProcessWatch::State::State(std::string proc) : reader(std::move(proc)) {
  // Part of the mark is our pid and a clock reading, so that marks of nested or former watches differ from ours.
  const auto ticks = std::chrono::steady_clock::now().time_since_epoch().count();
  next_mark = first_mark + ((static_cast<std::uint64_t>(::getpid()) & 0x3fffff) << 28) +
              ((static_cast<std::uint64_t>(ticks) >> 10 & 0xff) << 20);
  first_own = next_mark;
}

void ProcessWatch::State::refresh(Time now) {
  if (refreshed && now - refreshed_at < Duration{5'000} && now >= refreshed_at) return;
  refreshed = true;
  refreshed_at = now;
  // The kernel gives orphans to the first thread that lives, which is the one with our process id.
  const auto self = static_cast<std::int64_t>(::getpid());
  std::map<std::int64_t, Child> found;
  for (const auto pid : reader.children(self, 1)) {
    if (roots.count(pid)) continue;
    const auto known = children.find(pid);
    const auto stat = reader.stat(pid);
    if (!stat || stat->ppid != self) continue;
    if (known != children.end() && known->second.start_time == stat->start_time) {
      found.insert(*known);
      continue;
    }
    found[pid] = {stat->start_time, mark_of(static_cast<pid_t>(pid)), stat->group, stat->session};
  }
  children = std::move(found);
}

ProcessWatch::ProcessWatch(std::string proc) : state_(std::make_unique<State>(std::move(proc))) {}
ProcessWatch::~ProcessWatch() = default;

Result<void> ProcessWatch::become_subreaper() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return errno_code();
  return {};
}

TaskMark ProcessWatch::new_mark() { return {state_->next_mark++}; }

std::vector<ProcessWatch::Orphan> ProcessWatch::reap_orphans(Time now) {
  std::vector<Orphan> out;
  state_->refreshed = false;
  state_->refresh(now);
  for (auto it = state_->children.begin(); it != state_->children.end();) {
    const auto& [pid, child] = *it;
    Orphan orphan{static_cast<pid_t>(pid), child.mark, {}, 0};
    if (child.mark.value != 0 && state_->is_ours(child.mark) &&
        ::wait4(orphan.pid, &orphan.status, WNOHANG, &orphan.usage) == orphan.pid) {
      out.push_back(orphan);
      it = state_->children.erase(it);
    } else {
      ++it;
    }
  }
  return out;
}

int kill_marked(TaskMark mark) {
  int killed = 0;
  // Again until nobody new is found: a killed parent may have forked just before.
  for (int round = 0; mark.value != 0 && round < 20; ++round) {
    bool any = false;
    DIR* folder = ::opendir("/proc");
    if (!folder) break;
    while (const auto* entry = ::readdir(folder)) {
      const auto pid = parse_int(entry->d_name);
      if (!pid || *pid == ::getpid()) continue;
      const os::UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(*pid), 0)));
      // Read through a pinned process: the mark and the signal reach the same one.
      if (!fd || mark_of(static_cast<pid_t>(*pid)) != mark) continue;
      if (::syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0) != 0) continue;
      any = true;
      ++killed;
    }
    ::closedir(folder);
    if (!any) break;
    ::usleep(2000);
  }
  return killed;
}

}  // namespace taskmill::measure
