#include "common/os/spawn.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "common/os/fd.hpp"

namespace taskmill::os {
namespace {

constexpr std::size_t max_captured = 64U << 10;

// Attributes are the same for every task: built once.
class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

}  // namespace

Result<pid_t> spawn(const SpawnPlan& plan) {
  static const Attributes attributes;
  FileActions actions;
  if (plan.cwd != nullptr) posix_spawn_file_actions_addchdir_np(actions.get(), plan.cwd);
  posix_spawn_file_actions_adddup2(actions.get(), plan.stdin_fd, 0);
  posix_spawn_file_actions_adddup2(actions.get(), plan.stdout_fd, 1);
  posix_spawn_file_actions_adddup2(actions.get(), plan.stderr_fd, 2);
  posix_spawn_file_actions_addclosefrom_np(actions.get(), 3);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, plan.path, actions.get(), attributes.get(), const_cast<char* const*>(plan.argv),
                                const_cast<char* const*>(plan.envp));
  if (error != 0) return code_of(error);
  return pid;
}

Result<Captured> run_and_capture(const std::vector<std::string>& argv, int timeout_ms) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_code();
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return errno_code();
  std::vector<const char*> words;
  for (const auto& word : argv) words.push_back(word.c_str());
  words.push_back(nullptr);
  SpawnPlan plan;
  plan.path = words[0];
  plan.argv = words.data();
  plan.envp = environ;
  plan.stdin_fd = null.get();
  plan.stdout_fd = write_end.get();
  plan.stderr_fd = null.get();
  const auto pid = spawn(plan);
  if (!pid) return pid.error();
  write_end.reset();

  Captured captured;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  bool late = false;
  while (captured.output.size() < max_captured) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd waiting{read_end.get(), POLLIN, 0};
    const int ready = left.count() <= 0 ? 0 : ::poll(&waiting, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      late = true;
      break;
    }
    std::array<char, 4096> buffer{};
    const ssize_t got = ::read(read_end.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    captured.output.append(buffer.data(), static_cast<std::size_t>(got));
  }
  if (late) ::kill(-*pid, SIGKILL);
  while (::waitpid(*pid, &captured.wait_status, 0) < 0 && errno == EINTR) {
  }
  if (late) return code_of(ETIMEDOUT);
  return captured;
}

}  // namespace taskmill::os
