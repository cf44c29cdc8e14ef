// Workers on this machine: executed directly, each in its own session and process group. When the factory ends, every
// process below it is gone: groups are signalled, and as a subreaper the factory finds even what left its group (D1).
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <map>
#include <utility>

#include "common/base/text.hpp"
#include "common/os/fd.hpp"
#include "common/os/process.hpp"
#include "common/os/spawn.hpp"
#include "tools/factory/batch.hpp"
#include "tools/factory/worker_command.hpp"

namespace taskmill::tools {
namespace {

constexpr const char* helper_word = "--become-worker";

class LocalBatch final : public Batch {
 public:
  explicit LocalBatch(BatchContext context)
      : context_(std::move(context)), child_signal_(context_.io, SIGCHLD), timer_(context_.io) {
    os::become_subreaper();
    watch_children();
  }

  void submit(const FactoryConfig& config, const std::vector<std::string>&,
              std::function<void(Expected<std::string>)> done) override {
    boost::asio::post(context_.io, [done = std::move(done), result = start(config)] { done(result); });
  }

  void refresh(std::function<void()> done) override {
    reap();
    boost::asio::post(context_.io, std::move(done));
  }

  [[nodiscard]] std::int64_t alive() const override { return static_cast<std::int64_t>(workers_.size()); }

  void remove_all(std::function<void()> done) override {
    done_ = std::move(done);
    steps_ = 0;
    removal_step();
  }

 private:
  Expected<std::string> start(const FactoryConfig& config) {
    auto words = worker_words(config, context_.catalogs, config.worker);
    if (!words) return words.error();
    std::vector<std::string> helper = {"work_queue_factory", helper_word, std::to_string(::getpid())};
    helper.insert(helper.end(), words->begin(), words->end());
    std::vector<const char*> argv;
    for (const auto& word : helper) argv.push_back(word.c_str());
    argv.push_back(nullptr);
    std::vector<const char*> envp;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (!is_overridden(*entry, config.environment)) envp.push_back(*entry);
    }
    for (const auto& pair : config.environment) envp.push_back(pair.c_str());
    envp.push_back(nullptr);
    const os::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    os::SpawnPlan plan;
    plan.path = "/proc/self/exe";
    plan.argv = argv.data();
    plan.envp = envp.data();
    plan.cwd = context_.directory.c_str();
    plan.stdin_fd = null.get();
    plan.stdout_fd = STDERR_FILENO;  // stdout is the factory's table
    plan.stderr_fd = STDERR_FILENO;
    const auto pid = os::spawn(plan);
    if (!pid) return make_error("cannot start a worker: " + pid.error().message());
    workers_[*pid] = std::time(nullptr);
    return Expected<std::string>(boost::system::in_place_value, std::to_string(*pid));
  }

  static bool is_overridden(const char* entry, const std::vector<std::string>& environment) {
    const char* equals = std::strchr(entry, '=');
    const auto name_length = equals != nullptr ? static_cast<std::size_t>(equals - entry) + 1 : std::strlen(entry);
    for (const auto& pair : environment) {
      if (pair.compare(0, name_length, entry, name_length) == 0) return true;
    }
    return false;
  }

  void watch_children() {
    child_signal_.async_wait([this](ErrorCode error, int) {
      if (error) return;
      reap();
      if (done_ && workers_.empty()) removal_step();
      watch_children();
    });
  }

  void reap() {
    int status = 0;
    for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG)) {
      const auto it = workers_.find(pid);
      if (it == workers_.end()) continue;  // an orphan of a worker
      constexpr std::int64_t suspiciously_short = 2;
      const bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
      if (failed && !done_ && std::time(nullptr) - it->second <= suspiciously_short) {
        context_.log("worker " + std::to_string(pid) + " ended at once " +
                     (WIFEXITED(status) ? "with status " + std::to_string(WEXITSTATUS(status))
                                        : "by signal " + std::to_string(WTERMSIG(status))));
      }
      ::kill(-pid, SIGTERM);  // what it left in its group
      workers_.erase(it);
    }
  }

  // SIGTERM to the groups; after three seconds SIGKILL to everything below us, until nothing is left.
  void removal_step() {
    reap();
    const auto left = os::descendants_of(::getpid());
    constexpr int gentle_steps = 30;
    constexpr int most_steps = 100;
    if (left.empty() || steps_ >= most_steps) {
      timer_.cancel();
      if (auto done = std::exchange(done_, nullptr)) done();
      return;
    }
    if (steps_ == 0) {
      for (const auto& worker : workers_) ::kill(-worker.first, SIGTERM);
    } else if (steps_ >= gentle_steps) {
      for (const auto pid : left) ::kill(pid, SIGKILL);
    } else if (workers_.empty()) {
      for (const auto pid : left) ::kill(pid, steps_ < gentle_steps / 2 ? SIGTERM : SIGKILL);
    }
    ++steps_;
    timer_.expires_after(std::chrono::milliseconds(100));
    timer_.async_wait([this](ErrorCode error) {
      if (!error && done_) removal_step();
    });
  }

  BatchContext context_;
  boost::asio::signal_set child_signal_;
  boost::asio::steady_timer timer_;
  std::map<pid_t, std::time_t> workers_;
  std::function<void()> done_;
  int steps_ = 0;
};

}  // namespace

std::unique_ptr<Batch> make_local_batch(BatchContext context) {
  return std::make_unique<LocalBatch>(std::move(context));
}

int become_worker(int argc, char** argv) {
  constexpr int first_word = 3;
  if (argc <= first_word) return 127;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  const auto parent = parse_int(argv[2]);
  if (!parent || ::getppid() != *parent) return 127;  // the factory died before the kernel could be asked
  ::execvp(argv[first_word], argv + first_word);
  const std::string text =
      std::string("work_queue_factory: cannot start ") + argv[first_word] + ": " + std::strerror(errno) + "\n";
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) return 126;
  return 127;
}

}  // namespace taskmill::tools
