// Workers as jobs of slurm, pbs, torque, uge, moab, lsf or a site's own cluster, on a file system shared with the
// execution hosts. Jobs report through status files; one that has not started is looked up in the queue now and then,
// so that a job cancelled while pending does not count for ever (D8).
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "common/os/spawn.hpp"
#include "tools/factory/batch.hpp"
#include "tools/factory/submit_plan.hpp"
#include "tools/factory/worker_command.hpp"
#include "tools/support/tool_log.hpp"

namespace taskmill::tools {
namespace {

const std::string& environment_text(const char* name) {
  static std::map<std::string, std::string> texts;
  const char* value = std::getenv(name);
  return texts[name] = value != nullptr ? value : "";
}

std::string slurp(const std::string& path) {
  const std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class QueueBatch final : public Batch {
 public:
  QueueBatch(BatchContext context, QueueSystem system) : context_(std::move(context)), system_(std::move(system)) {}

  void submit(const FactoryConfig& config, const std::vector<std::string>&,
              std::function<void(Expected<std::string>)> done) override {
    const auto resources = job_resources(config.worker);
    auto words = worker_words(config, context_.catalogs, resources);
    auto options = split_words(config.batch_options);
    const std::string script = "worker" + std::to_string(++count_) + ".sh";
    if (!words || !options) {
      const auto error = !words ? words.error() : options.error();
      return boost::asio::post(context_.io, [done = std::move(done), error] { done(error); });
    }
    const auto path = context_.directory + "/" + script;
    const auto text = job_script(system_, context_.directory, script, config.environment, *words);
    auto written = write_file(path, text);
    if (written) ::chmod(path.c_str(), 0700);
    auto argv = submit_words(system_, resources, "wq_worker" + std::to_string(count_), *options, script);
    run(argv, [this, script, done = std::move(done), program = system_.submit](const std::string& answer, int status) {
      const auto id = status == 0 ? parse_job_id(answer) : std::nullopt;
      if (!id) return done(make_error(program + " did not accept the job: " + answer.substr(0, answer.find('\n'))));
      jobs_[*id] = Job{script, std::time(nullptr), 0};
      done(Expected<std::string>(boost::system::in_place_value, *id));
    });
  }

  void refresh(std::function<void()> done) override {
    const auto now = std::time(nullptr);
    constexpr std::time_t silence = 120;  // four signs of life are missing
    std::string suspect;
    for (auto it = jobs_.begin(); it != jobs_.end();) {
      const auto here = it++;
      const auto status =
          parse_status_file(slurp(context_.directory + "/" + here->second.script + ".status." + here->first));
      if (status.stopped || (status.started && now - status.last_sign > silence)) {
        if (!status.stopped) context_.log("job " + here->first + " gives no sign of life; counted as ended");
        forget(here);
      } else if (!status.started && now - std::max(here->second.submitted, here->second.asked) > silence &&
                 suspect.empty()) {
        suspect = here->first;
      }
    }
    if (suspect.empty() || system_.probe.empty()) return boost::asio::post(context_.io, std::move(done));
    jobs_[suspect].asked = now;
    auto argv = system_.probe;
    argv.push_back(suspect);
    run(argv, [this, suspect, done = std::move(done)](const std::string& answer, int status) {
      const auto it = jobs_.find(suspect);
      constexpr int not_installed = 127;
      if (it != jobs_.end() && status != not_installed &&
          (status != 0 || answer.find_first_not_of(" \n") == std::string::npos)) {
        context_.log("job " + suspect + " left the queue without starting");
        forget(it);
      }
      done();
    });
  }

  [[nodiscard]] std::int64_t alive() const override { return static_cast<std::int64_t>(jobs_.size()); }

  void remove_all(std::function<void()> done) override {
    if (jobs_.empty()) return boost::asio::post(context_.io, std::move(done));
    std::vector<std::string> argv = {system_.remove};
    constexpr std::size_t ids_per_call = 100;
    auto it = jobs_.begin();
    while (it != jobs_.end() && argv.size() <= ids_per_call) {
      argv.push_back(it->first);
      it = jobs_.erase(it);
    }
    run(argv, [this, done = std::move(done)](const std::string& answer, int status) {
      if (status != 0) context_.log(system_.remove + ": " + answer.substr(0, answer.find('\n')));
      remove_all(done);
    });
  }

 private:
  struct Job {
    std::string script;
    std::time_t submitted = 0;
    std::time_t asked = 0;
  };

  void forget(std::map<std::string, Job>::iterator it) {
    const auto path = context_.directory + "/" + it->second.script;
    ::unlink(path.c_str());
    ::unlink((path + ".status." + it->first).c_str());
    jobs_.erase(it);
  }

  void run(const std::vector<std::string>& argv, const std::function<void(const std::string&, int)>& done) {
    const bool queued = context_.pool.submit([directory = context_.directory, argv, done] {
      int status = 0;
      auto answer = run_program(directory, argv, status);
      std::string text = answer ? *answer : answer.error().message();
      if (!answer) status = -1;
      return [done, text = std::move(text), status] { done(text, status); };
    });
    if (!queued) boost::asio::post(context_.io, [done] { done("too many submissions under way", -1); });
  }

  BatchContext context_;
  QueueSystem system_;
  std::map<std::string, Job> jobs_;
  std::uint64_t count_ = 0;
};

}  // namespace

Result<std::string> run_program(const std::string& directory, const std::vector<std::string>& argv, int& exit_status) {
  std::vector<std::string> words = {"/usr/bin/env", "-C", directory, "/bin/sh", "-c", "exec \"$@\" 2>&1", "sh"};
  words.insert(words.end(), argv.begin(), argv.end());
  constexpr int patience_ms = 60'000;
  auto captured = os::run_and_capture(words, patience_ms);
  if (!captured) return captured.error();
  exit_status = WIFEXITED(captured->wait_status) ? WEXITSTATUS(captured->wait_status) : -1;
  return std::move(captured->output);
}

std::unique_ptr<Batch> make_queue_batch(BatchContext context, const std::string& type, std::string& why) {
  auto system = queue_system(type, &environment_text);
  if (!system) return nullptr;
  if (system->submit.empty() || system->remove.empty() || system->name.empty()) {
    why =
        "batch type 'cluster' needs BATCH_QUEUE_CLUSTER_NAME, BATCH_QUEUE_CLUSTER_SUBMIT_COMMAND and "
        "BATCH_QUEUE_CLUSTER_REMOVE_COMMAND in the environment";
    return nullptr;
  }
  return std::make_unique<QueueBatch>(std::move(context), std::move(*system));
}

}  // namespace taskmill::tools
