// poncho_package_run: runs a command inside an environment archive. A drop-in for the script of that name
// (also installed as python_package_run), as one static program without bash, tar or flock of the node.
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "tools/package_run/prepare.hpp"

extern char** environ;

namespace taskmill::package_run {
namespace {

constexpr int setup_failed = 1;
constexpr int not_executable = 126;
constexpr int not_found = 127;
constexpr std::array<int, 7> forwarded_signals{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT};

volatile sig_atomic_t child_pid = 0;
void forward_signal(int number) {
  if (child_pid > 0) ::kill(static_cast<pid_t>(child_pid), number);
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

void say_debug(const std::string& text) {
  const time_t now = ::time(nullptr);
  struct tm parts {};
  ::localtime_r(&now, &parts);
  std::array<char, 64> stamp{};
  ::strftime(stamp.data(), stamp.size(), "%Y-%m-%d %H:%M:%S", &parts);
  std::printf("%s poncho_package_run(%d): %s\n", stamp.data(), static_cast<int>(::getpid()), text.c_str());
  std::fflush(stdout);
}

/// The variables of the command, and the words that run it.
void enter(const Prepared& prepared, const Options& options, bool old_name, std::vector<std::string>& words) {
  archive::Variables variables;
  for (char** entry = environ; *entry != nullptr; ++entry) variables.emplace_back(*entry);
  if (archive::can_replay(prepared.activation, variables)) {
    variables = archive::apply_activation(prepared.activation, std::move(variables));
  } else {
    auto wrapped = archive::activation_wrapper(prepared.prefix);
    words.insert(words.begin(), wrapped.begin(), wrapped.end());
  }
  ::clearenv();
  for (const std::string& entry : variables) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos) ::setenv(entry.substr(0, equals).c_str(), entry.c_str() + equals + 1, 1);
  }
  ::setenv("ORIGINAL_PID", std::to_string(::getpid()).c_str(), 0);
  if (options.debug) ::setenv(old_name ? "PYTHON_PACKAGE_RUN_DEBUG" : "PONCHO_PACKAGE_RUN_DEBUG", "yes", 1);
}

int report_start_failure(const std::string& command, int number) {
  const int status = number == ENOENT ? not_found : not_executable;
  std::fprintf(stderr, "poncho_package_run: cannot run %s: %s\n", command.c_str(),
               number == ENOENT ? "command not found" : std::strerror(number));
  return status;
}

int wait_for_child() {
  int status = 0;
  while (::waitpid(static_cast<pid_t>(child_pid), &status, 0) < 0) {
    if (errno != EINTR) return setup_failed;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_command(const std::vector<std::string>& words, bool stay) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  if (!stay) {
    ::execvp(argv[0], argv.data());
    return report_start_failure(words[0], errno);
  }
  struct sigaction action {};
  action.sa_handler = forward_signal;
  action.sa_flags = SA_RESTART;
  for (const int number : forwarded_signals) ::sigaction(number, &action, nullptr);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ);
  if (failed != 0) return report_start_failure(words[0], failed);
  child_pid = pid;
  return wait_for_child();
}

int run(const Options& options, bool old_name) {
  const auto start = std::chrono::steady_clock::now();
  const Say say = [&](const std::string& text) {
    if (options.debug) say_debug(text);
  };
  const std::string marker = old_name ? ".python_package_run_expanded" : ".poncho_package_run_expanded";
  auto prepared = prepare(options, marker, say);
  if (!prepared) {
    // -d sends everything to standard output, so that a log of the task's output tells the reason.
    say(prepared.error().text);
    std::fprintf(stderr, "poncho_package_run: %s\n", prepared.error().text.c_str());
    return setup_failed;
  }
  int status = 0;
  if (!options.command.empty()) {
    std::vector<std::string> words = options.command;
    enter(*prepared, options, old_name, words);
    std::string shown;
    for (const std::string& word : options.command) shown += " " + word;
    say("executing command line:" + shown);
    status = run_command(words, prepared->temporary || options.debug);
    say("command line exit code: " + std::to_string(status));
  }
  remove_temporary(*prepared);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  std::array<char, 64> total{};
  std::snprintf(total.data(), total.size(), "total runtime: %.3f seconds", spent.count());
  say(total.data());
  return status;
}

}  // namespace
}  // namespace taskmill::package_run

int main(int argc, char** argv) {
  using namespace taskmill::package_run;
  auto options = parse_options(std::vector<std::string>(argv + 1, argv + argc));
  if (!options) {
    std::fprintf(stderr, "poncho_package_run: %s\n%s", options.error().text.c_str(), usage_text);
    return setup_failed;
  }
  if (options->action != Action::run) {
    std::fputs(options->action == Action::help ? usage_text : creation_text, stdout);
    return 0;
  }
  return run(*options, base_name(argv[0]).starts_with("python_package_run"));
}
