#include "manager/app/local_workers.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <thread>

#include "common/base/text.hpp"
#include "common/os/fd.hpp"
#include "common/os/spawn.hpp"

namespace taskmill::manager {
namespace {

std::string find_worker(const std::string& chosen) {
  if (!chosen.empty()) return chosen;
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "work_queue_worker";
  if (::access(beside.c_str(), X_OK) == 0) return beside;
  const char* path = std::getenv("PATH");
  for (const auto part : split(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin", ':')) {
    const auto candidate = std::filesystem::path(part.empty() ? "." : part) / "work_queue_worker";
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::vector<std::string> worker_words(const std::string& program, const LocalWorkerOptions& options,
                                      const LocalWorkers::Target& target) {
  const auto count = static_cast<std::int64_t>(options.count);
  const auto cores =
      options.cores > 0 ? options.cores : std::max<std::int64_t>(1, std::thread::hardware_concurrency() / count);
  const auto total = static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE) / (1 << 20);
  const auto memory = options.memory > 0 ? options.memory : std::max<std::int64_t>(1, total / count);
  std::vector<std::string> words{program, "--cores", std::to_string(cores), "--memory", std::to_string(memory)};
  if (options.disk > 0) words.insert(words.end(), {"--disk", std::to_string(options.disk)});
  if (!target.password_file.empty()) words.insert(words.end(), {"-P", target.password_file});
  if (target.ssl) words.emplace_back("--ssl");
  words.emplace_back("--parent-death");  // nothing of a run is left when the manager is killed
  words.insert(words.end(), {"127.0.0.1", std::to_string(target.port)});
  return words;
}

// In a session of its own: Ctrl-C in the terminal reaches the manager, which then ends its workers in order.
Result<pid_t> spawn(const std::vector<std::string>& words, const std::string& log) {
  std::vector<const char*> argv;
  for (const auto& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  const os::UniqueFd input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const os::UniqueFd output(
      ::open(log.empty() ? "/dev/null" : log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (!input || !output) return errno_code();
  os::SpawnPlan plan;
  plan.path = argv[0];
  plan.argv = argv.data();
  plan.envp = environ;
  plan.stdin_fd = input.get();
  plan.stdout_fd = plan.stderr_fd = output.get();
  return os::spawn(plan);
}

std::string ending_text(pid_t pid, int status) {
  const auto how = WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                                       : "ended with status " + std::to_string(WEXITSTATUS(status));
  return "local worker (process " + std::to_string(pid) + ") " + how;
}

}  // namespace

std::string LocalWorkers::start(const LocalWorkerOptions& options, const Target& target) {
  if (options.count <= 0) return {};
  const auto program = find_worker(options.program);
  if (program.empty()) return "--local-workers: no work_queue_worker beside this program or in PATH";
  for (int i = 1; i <= options.count; ++i) {
    const auto log = target.log.empty() ? std::string() : target.log + ".worker-" + std::to_string(i);
    const auto pid = spawn(worker_words(program, options, target), log);
    if (!pid) {
      stop();
      return "cannot start " + program + ": " + pid.error().message();
    }
    pids_.push_back(*pid);
  }
  return {};
}

std::vector<std::string> LocalWorkers::ended() {
  std::vector<std::string> lines;
  std::erase_if(pids_, [&lines](pid_t pid) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) != pid) return false;
    lines.push_back(ending_text(pid, status));
    return true;
  });
  return lines;
}

void LocalWorkers::stop() {
  for (const auto pid : pids_) ::kill(pid, SIGTERM);
  for (int round = 0; round < 200 && !pids_.empty(); ++round) {
    (void)ended();
    if (pids_.empty()) return;
    const timespec pause{0, 10'000'000};
    ::nanosleep(&pause, nullptr);
  }
  for (const auto pid : pids_) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  pids_.clear();
}

void LocalWorkers::kill_now() {
  for (const auto pid : pids_) ::kill(pid, SIGTERM);
  pids_.clear();
}

}  // namespace taskmill::manager
