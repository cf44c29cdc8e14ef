#include "common/archive/helper_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

constexpr std::size_t kept_messages = 4096;
constexpr std::size_t output_limit = std::size_t{4} << 20U;

struct Pipe {
  os::UniqueFd read;
  os::UniqueFd write;
};

Expected<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("cannot make", "a pipe", errno);
  // The child duplicates the write end onto 1, 2 and 3; it must not be one of these already.
  Pipe pipe{os::UniqueFd(ends[0]), os::UniqueFd(::fcntl(ends[1], F_DUPFD_CLOEXEC, 10))};
  ::close(ends[1]);
  if (!pipe.write) return system_error("cannot make", "a pipe", errno);
  return pipe;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> list;
  list.reserve(strings.size() + 1);
  for (const std::string& text : strings) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

class SpawnSetup {
 public:
  SpawnSetup() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

Expected<pid_t> start(const HelperPlan& plan, int message_fd, int output_fd) {
  SpawnSetup setup;
  posix_spawn_file_actions_addopen(&setup.actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&setup.actions, message_fd, 1);
  posix_spawn_file_actions_adddup2(&setup.actions, message_fd, 2);
  posix_spawn_file_actions_adddup2(&setup.actions, output_fd, 3);
  if (!plan.directory.empty()) posix_spawn_file_actions_addchdir_np(&setup.actions, plan.directory.c_str());
  auto argv = pointers(plan.argv);
  auto envp = pointers(plan.environment);
  pid_t pid = -1;
  const int failed =
      ::posix_spawnp(&pid, plan.argv[0].c_str(), &setup.actions, &setup.attributes, argv.data(), envp.data());
  if (failed != 0) return system_error("cannot run", plan.argv[0], failed);
  return pid;
}

/// Reads both pipes until their ends or the deadline; false at the deadline.
bool collect(os::UniqueFd messages, os::UniqueFd output, HelperResult& result, int timeout_seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_seconds);
  std::array<pollfd, 2> polled{{{messages.get(), POLLIN, 0}, {output.get(), POLLIN, 0}}};
  std::array<char, 16384> buffer{};
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (::poll(polled.data(), polled.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) return false;
    for (std::size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      const ssize_t got = ::read(polled[i].fd, buffer.data(), buffer.size());
      if (got <= 0) {
        polled[i].fd = -1;
        continue;
      }
      std::string& text = i == 0 ? result.messages : result.output;
      text.append(buffer.data(), static_cast<std::size_t>(got));
      if (i == 0 && text.size() > kept_messages) text.erase(0, text.size() - kept_messages);
      if (i == 1 && text.size() > output_limit) return false;
    }
  }
  return true;
}

}  // namespace

Expected<HelperResult> run_helper(const HelperPlan& plan) {
  auto messages = make_pipe();
  if (!messages) return messages.error();
  auto output = make_pipe();
  if (!output) return output.error();
  auto pid = start(plan, messages->write.get(), output->write.get());
  if (!pid) return pid.error();
  messages->write.reset();
  output->write.reset();
  HelperResult result;
  const bool ended = collect(std::move(messages->read), std::move(output->read), result, plan.timeout_seconds);
  if (!ended) ::kill(-*pid, SIGKILL);
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) {
    return make_error(plan.argv[0] + " did not end within " + std::to_string(plan.timeout_seconds) + " s");
  }
  result.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string last_line(std::string_view text) {
  for (;;) {
    const std::size_t line = text.rfind('\n');
    const std::string_view last = trim(line == std::string_view::npos ? text : text.substr(line + 1));
    if (!last.empty() || line == std::string_view::npos) return std::string(last);
    text = text.substr(0, line);
  }
}

}  // namespace taskmill::archive
