#include "tools/monitor/guard.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>

namespace taskmill::monitor {

Guard::Guard(measure::TaskMark mark) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  const os::UniqueFd reader(ends[0]);
  pipe_.reset(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, reader.get(), 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  // Its own session: a signal to the whole group of the monitor must not take the guard along.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  std::string name = "resource_monitor";
  std::string argument = "--taskmill-guard=" + std::to_string(mark.value);
  char* argv[] = {name.data(), argument.data(), nullptr};
  char* environment[] = {nullptr};
  if (::posix_spawn(&pid_, "/proc/self/exe", &actions, &attributes, argv, environment) != 0) pid_ = -1;
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
}

Guard::~Guard() {
  if (pid_ < 0) return;
  [[maybe_unused]] const auto n = ::write(pipe_.get(), "d", 1);
  pipe_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

int run_guard(measure::TaskMark mark) {
  char byte = 0;
  ssize_t n = 0;
  while ((n = ::read(0, &byte, 1)) < 0 && errno == EINTR) {
  }
  if (n > 0) return 0;
  measure::kill_marked(mark);
  return 0;
}

}  // namespace taskmill::monitor
