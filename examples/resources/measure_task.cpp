// The smallest user of the measuring library: runs one command the way a worker does and prints what it used as JSON.
//
//   measure_task COMMAND [ARGUMENTS…]
//
// No wrapper process, no preloaded library: the command is our direct child.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include "common/measure/disk_meter.hpp"
#include "common/measure/task_meter.hpp"

extern char** environ;

namespace {

using namespace taskmill;
using std::chrono_literals::operator""ms;

Time now() { return Time{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())}; }

bool ended(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "measure_task: no command\n");
    return 2;
  }
  measure::ProcessWatch watch;
  if (!watch.become_subreaper()) return 2;
  measure::TaskMeter meter(watch, {}, now());
  measure::DiskMeter disk(".");
  pid_t pid = 0;
  {
    const measure::ScopedTaskMark marked(meter.mark());
    if (::posix_spawnp(&pid, argv[1], nullptr, nullptr, argv + 1, environ) != 0) {
      std::fprintf(stderr, "measure_task: cannot run '%s'\n", argv[1]);
      return 2;
    }
  }
  auto next = meter.start(pid, now());
  while (!ended(pid)) {
    std::this_thread::sleep_for(2ms);
    if (disk.step(200)) meter.set_disk(disk.usage().bytes, disk.usage().files);
    if (now() < next) continue;
    for (const auto& orphan : watch.reap_orphans(now())) meter.orphan_reaped(orphan);
    next = meter.sample(now());
  }
  const auto end = now();
  meter.root_exited(end);
  rusage usage{};
  int status = 0;
  ::wait4(pid, &status, 0, &usage);
  for (int i = 0; i < 1000 && (meter.kill_all(SIGKILL) > 0 || !meter.processes().empty()); ++i) {
    for (const auto& orphan : watch.reap_orphans(now())) meter.orphan_reaped(orphan);
    std::this_thread::sleep_for(1ms);
  }
  std::puts(to_json(meter.finish(usage, end)).c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
