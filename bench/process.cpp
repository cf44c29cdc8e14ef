#include "bench/process.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>

extern char** environ;

namespace taskmill::bench {

namespace {

/// What must not outlive the bench, however it ends.
struct Leftovers {
  std::vector<std::string> directories;
  std::vector<pid_t> programs;
};

Leftovers& leftovers() {
  static Leftovers all;
  return all;
}

void remove_leftovers() {
  for (const pid_t pid : leftovers().programs) ::kill(pid, SIGKILL);
  std::error_code ignored;
  for (const auto& directory : leftovers().directories) std::filesystem::remove_all(directory, ignored);
}

void on_signal(int number) {
  remove_leftovers();
  ::_exit(128 + number);
}

/// Directories of a bench that was killed: their names hold its process id.
void remove_stale(const std::string& parent) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(parent, ignored)) {
    int pid = 0;
    const auto name = entry.path().filename().string();
    if (std::sscanf(name.c_str(), "wqbench.%d.", &pid) != 1 || ::kill(pid, 0) == 0 || errno != ESRCH) continue;
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

/// tmpfs is memory: it is used only where the largest case (2 GiB) leaves enough for everything else.
std::string scratch_parent() {
  std::ifstream info("/proc/meminfo");
  std::string word;
  std::uint64_t kilobytes = 0;
  while (info >> word) {
    if (word == "MemAvailable:") info >> kilobytes;
  }
  if (kilobytes > (8ULL << 20) && ::access("/dev/shm", W_OK) == 0) return "/dev/shm";
  return "/tmp";
}

}  // namespace

void clean_up_on_exit() {
  leftovers();
  std::atexit(remove_leftovers);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) std::signal(number, on_signal);
  remove_stale("/dev/shm");
  remove_stale("/tmp");
}

double now_s() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void fail(const std::string& text) {
  std::fprintf(stderr, "work_queue_bench: %s\n", text.c_str());
  std::exit(1);
}

Program::Program(const std::vector<std::string>& argv, const std::string& log) {
  std::vector<char*> words;
  words.reserve(argv.size() + 1);
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  const int error = ::posix_spawn(&pid_, words[0], &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail("cannot start " + argv[0] + ": " + std::strerror(error));
  leftovers().programs.push_back(pid_);
}

Program::~Program() { stop(); }

double Program::cpu_s() const {
  clockid_t clock{};
  timespec time{};
  if (pid_ < 0 || ::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::uint64_t Program::resident_bytes() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
  std::uint64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

bool Program::running() {
  if (pid_ < 0) return false;
  if (::waitpid(pid_, nullptr, WNOHANG) == 0) return true;
  std::erase(leftovers().programs, pid_);
  pid_ = -1;
  return false;
}

bool Program::wait(double seconds) {
  const double end = now_s() + seconds;
  while (running()) {
    if (now_s() > end) return false;
    ::usleep(2000);
  }
  return true;
}

void Program::stop() {
  if (!running()) return;
  ::kill(pid_, SIGTERM);
  if (wait(2)) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  std::erase(leftovers().programs, pid_);
  pid_ = -1;
}

Scratch::Scratch() {
  std::string name = scratch_parent() + "/wqbench." + std::to_string(::getpid()) + ".XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) fail("cannot make " + name + ": " + std::strerror(errno));
  directory_ = name;
  leftovers().directories.push_back(name);
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
  std::erase(leftovers().directories, directory_);
}

std::optional<int> wait_for_port(const std::string& file, Program& program, double seconds) {
  const double end = now_s() + seconds;
  while (now_s() < end) {
    std::ifstream in(file);
    std::string line;
    if (std::getline(in, line) && !line.empty()) return std::atoi(line.c_str());
    if (!program.running()) return std::nullopt;
    ::usleep(2000);
  }
  return std::nullopt;
}

double percentile(std::vector<double> values, double fraction) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

}  // namespace taskmill::bench
