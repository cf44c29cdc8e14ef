// Workers as HTCondor jobs: one description per submission, state learnt from the event log.
#include <sys/stat.h>

#include <boost/asio/post.hpp>
#include <fstream>
#include <map>
#include <utility>

#include "common/base/text.hpp"
#include "tools/factory/batch.hpp"
#include "tools/factory/submit_plan.hpp"
#include "tools/factory/worker_command.hpp"
#include "tools/support/tool_log.hpp"

namespace taskmill::tools {
namespace {

class CondorBatch final : public Batch {
 public:
  explicit CondorBatch(BatchContext context) : context_(std::move(context)) {
    if (write_file(context_.directory + "/condor.sh", condor_script()))
      ::chmod((context_.directory + "/condor.sh").c_str(), 0755);
  }

  void submit(const FactoryConfig& config, const std::vector<std::string>& blocked,
              std::function<void(Expected<std::string>)> done) override {
    // The slot decides what the worker has; its announcement follows the slot.
    auto words = worker_words(config, context_.catalogs, Resources{});
    if (!words) return boost::asio::post(context_.io, [done = std::move(done), error = words.error()] { done(error); });
    const auto resources = condor_resource_words(config.worker.gpus > 0);
    words->insert(words->end(), resources.begin(), resources.end());
    auto written =
        write_file(context_.directory + "/condor.submit", condor_description(config, context_.files, *words, blocked));
    if (!written)
      return boost::asio::post(context_.io, [done = std::move(done), error = written.error()] { done(error); });
    run({"condor_submit", "condor.submit"}, [this, done = std::move(done)](const std::string& answer, int status) {
      const auto cluster = status == 0 ? parse_condor_cluster(answer) : std::nullopt;
      if (!cluster)
        return done(make_error("condor_submit did not accept the job: " + answer.substr(0, answer.find('\n'))));
      jobs_[*cluster];
      done(Expected<std::string>(boost::system::in_place_value, *cluster));
    });
  }

  void refresh(std::function<void()> done) override {
    // The log does not exist before the first event; that is no error.
    std::ifstream log(context_.directory + "/condor.logfile");
    log.seekg(read_to_);
    for (std::string line; log && std::getline(log, line) && !log.eof();) {
      read_to_ = log.tellg();
      if (auto event = parse_condor_line(line)) note(*event);
    }
    boost::asio::post(context_.io, std::move(done));
  }

  [[nodiscard]] std::int64_t alive() const override { return static_cast<std::int64_t>(jobs_.size()); }

  void remove_all(std::function<void()> done) override {
    if (jobs_.empty()) return boost::asio::post(context_.io, std::move(done));
    std::vector<std::string> argv = {"condor_rm"};
    const auto schedd = jobs_.begin()->second;
    if (!schedd.empty()) argv.insert(argv.end(), {"-name", schedd});
    for (auto it = jobs_.begin(); it != jobs_.end();) {
      const auto here = it++;
      if (here->second != schedd) continue;
      argv.push_back(here->first);
      jobs_.erase(here);
    }
    run(argv, [this, done = std::move(done)](const std::string& answer, int status) {
      if (status != 0) context_.log("condor_rm: " + answer.substr(0, answer.find('\n')));
      remove_all(done);
    });
  }

 private:
  void note(const CondorEvent& event) {
    const auto it = jobs_.find(event.cluster);
    if (it == jobs_.end()) return;
    if (event.kind == CondorEvent::Kind::submitted) it->second = event.schedd;
    if (event.kind == CondorEvent::Kind::ended || event.kind == CondorEvent::Kind::removed) jobs_.erase(it);
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
  std::map<std::string, std::string> jobs_;  ///< cluster → schedd
  std::streampos read_to_ = 0;
};

class DryBatch final : public Batch {
 public:
  explicit DryBatch(BatchContext context) : context_(std::move(context)) {}
  void submit(const FactoryConfig& config, const std::vector<std::string>&,
              std::function<void(Expected<std::string>)> done) override {
    auto words = worker_words(config, context_.catalogs, config.worker);
    Expected<std::string> result = make_error("");
    if (!words) {
      result = words.error();
    } else {
      std::ofstream(context_.directory + "/dryrun.log", std::ios::app) << quote_words(*words) << "\n";
      result = Expected<std::string>(boost::system::in_place_value, std::to_string(++count_));
    }
    boost::asio::post(context_.io, [done = std::move(done), result] { done(result); });
  }
  void refresh(std::function<void()> done) override { boost::asio::post(context_.io, std::move(done)); }
  [[nodiscard]] std::int64_t alive() const override { return count_; }
  void remove_all(std::function<void()> done) override {
    count_ = 0;
    boost::asio::post(context_.io, std::move(done));
  }

 private:
  BatchContext context_;
  std::int64_t count_ = 0;
};

}  // namespace

std::unique_ptr<Batch> make_condor_batch(BatchContext context) {
  return std::make_unique<CondorBatch>(std::move(context));
}
std::unique_ptr<Batch> make_dry_batch(BatchContext context) { return std::make_unique<DryBatch>(std::move(context)); }

}  // namespace taskmill::tools
