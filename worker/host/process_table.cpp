#include "worker/host/process_table.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

namespace taskmill::worker {
namespace {

std::uint64_t mark_of(pid_t pid) {
  rlimit limit{};
  if (::prlimit(pid, RLIMIT_RTTIME, nullptr, &limit) != 0) return 0;
  return limit.rlim_cur;
}

std::optional<pid_t> parent_of(pid_t pid) {
  const auto stat = os::read_proc_stat(pid);
  return stat ? std::optional<pid_t>(stat->parent) : std::nullopt;
}

// Numbers are used again: by the time a list of processes has been read, one of them may be anybody's. So the process
// is held first and then asked who it is.
template <class IsOurs>
void signal_if(pid_t pid, int number, IsOurs is_ours) {
  const auto held = os::open_pidfd(pid);
  if (held && is_ours(pid)) ::syscall(SYS_pidfd_send_signal, held->get(), number, nullptr, 0);
}

// Everything below `top` that is not in the process group `group` (0: none), which one signal reaches as a whole.
void signal_below(pid_t top, pid_t group, int number, std::uint64_t mark) {
  const auto found = os::descendants_of(top);
  const auto is_ours = [&](pid_t pid) {
    if (mark != 0 && mark_of(pid) == mark) return true;
    const auto parent = parent_of(pid);  // it took off its mark
    return parent && (*parent == top || std::find(found.begin(), found.end(), *parent) != found.end());
  };
  for (const pid_t pid : found) {
    if (group <= 1 || ::getpgid(pid) != group) signal_if(pid, number, is_ours);
  }
}

// A process that was just started may not lead its group yet.
void signal_group(pid_t leader, int number) {
  if (::kill(-leader, number) != 0) ::kill(leader, number);
}

}  // namespace

ProcessTable::ProcessTable() { os::become_subreaper(); }

Result<Started> ProcessTable::start(Owner owner, const os::SpawnPlan& plan) {
  return add(owner, [&plan] { return os::spawn(plan); });
}

Result<Started> ProcessTable::start(Owner owner, const os::LaunchPlan& plan, os::Launch& launch) {
  return add(owner, [&plan, &launch] { return launch.start(plan); });
}

template <class Spawn>
Result<Started> ProcessTable::add(Owner owner, Spawn spawn) {
  const auto mark = watch_.new_mark();
  Started started;
  {
    const measure::ScopedTaskMark guard(mark);
    const auto pid = spawn();
    if (!pid) return pid.error();
    started.pid = *pid;
  }
  by_owner_[owner] = {started.pid, mark, false};
  by_pid_[started.pid] = owner;
  by_mark_[mark.value] = owner;
  auto pidfd = os::open_pidfd(started.pid);
  if (!pidfd) {  // out of descriptors: a process that cannot be watched must not run
    const auto error = pidfd.error();
    signal_group(started.pid, SIGKILL);
    int status = 0;
    while (::wait4(started.pid, &status, 0, nullptr) < 0 && errno == EINTR) {
    }
    by_owner_.erase(owner);
    by_pid_.erase(started.pid);
    by_mark_.erase(mark.value);
    return error;
  }
  started.pidfd = std::move(*pidfd);
  return started;
}

void ProcessTable::signal(Owner owner, int number) {
  if (const auto first = by_owner_.find(owner); first != by_owner_.end() && !first->second.ended) {
    signal_task(first->second, number);
  }
  for (const auto& [pid, left] : orphans_) {
    if (left.owner == owner) kill_orphan(pid, number);
  }
}

void ProcessTable::signal_task(const First& first, int number) {
  // A task that keeps forking would outrun anybody who reads lists: it is held still meanwhile.
  if (number == SIGKILL) signal_group(first.pid, SIGSTOP);
  // Descendants in other sessions first: once their parents are gone they are found only through their marks.
  signal_below(first.pid, first.pid, number, first.mark.value);
  signal_group(first.pid, number);
}

os::Reaped ProcessTable::end(Owner owner) {
  const auto at = by_owner_.find(owner);
  if (at == by_owner_.end()) return {};
  First& first = at->second;
  // The zombie still holds pid and group id, so this reaches exactly its group.
  ::kill(-first.pid, SIGKILL);
  auto reaped = os::reap(first.pid);
  by_pid_.erase(first.pid);
  first.ended = true;
  const bool last = by_pid_.empty();
  for (auto& [pid, left] : orphans_) {
    // One that cannot be read (it changed its user) may be anybody's: it stays as long as any task runs.
    if (left.owner == owner || (left.owner == 0 && last)) kill_orphan(pid, SIGKILL);
  }
  return reaped.value_or(os::Reaped{});
}

void ProcessTable::forget(Owner owner) {
  const auto at = by_owner_.find(owner);
  if (at == by_owner_.end()) return;
  by_mark_.erase(at->second.mark.value);
  by_owner_.erase(at);
}

void ProcessTable::kill_orphan(pid_t pid, int number) {
  // Its group may have members that are still somebody's children. Never our own group.
  const pid_t group = ::getpgid(pid);
  if (group > 1 && group != ::getpgrp() && !by_pid_.contains(group)) ::kill(-group, number);
  ::kill(pid, number);
}

std::vector<ProcessTable::Orphan> ProcessTable::sweep() {
  std::vector<Orphan> found;
  children_.read(scratch_);
  for (const pid_t pid : scratch_) {
    if (by_pid_.contains(pid)) continue;
    if (const auto known = orphans_.find(pid); known != orphans_.end()) {
      // For want of a descriptor nobody waits for it.
      if (!known->second.watched && os::reap(pid)) orphans_.erase(known);
      continue;
    }
    const auto stat = os::read_proc_stat(pid);
    if (!stat || stat->parent != ::getpid()) continue;
    const auto marked = by_mark_.find(mark_of(pid));
    Left left;
    left.owner = marked == by_mark_.end() ? 0 : marked->second;
    const auto owner = by_owner_.find(left.owner);
    const bool wanted = owner != by_owner_.end() ? !owner->second.ended : !by_pid_.empty();
    if (!wanted) {
      kill_orphan(pid, SIGSTOP);
      signal_below(pid, stat->group, SIGKILL, 0);
      kill_orphan(pid, SIGKILL);
    }
    if (os::reap(pid)) continue;
    auto pidfd = os::open_pidfd(pid);
    left.watched = pidfd.has_value();
    orphans_[pid] = left;
    Orphan orphan;
    orphan.pid = pid;
    if (pidfd) orphan.pidfd = std::move(*pidfd);
    orphan.owner = left.owner;
    found.push_back(std::move(orphan));
  }
  return found;
}

void ProcessTable::end_orphan(pid_t pid) {
  os::reap(pid);
  orphans_.erase(pid);
}

std::size_t ProcessTable::orphans_of(Owner owner) const {
  return static_cast<std::size_t>(std::count_if(orphans_.begin(), orphans_.end(),
                                                [owner](const auto& item) { return item.second.owner == owner; }));
}

void ProcessTable::kill_all() {
  for (const auto& [owner, first] : by_owner_) {
    if (!first.ended) signal_task(first, SIGKILL);
  }
  for (const auto& [pid, left] : orphans_) kill_orphan(pid, SIGKILL);
}

}  // namespace taskmill::worker
