#include "tools/factory/factory.hpp"

#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <optional>
#include <set>

#include "common/aio/clock.hpp"
#include "common/aio/pool.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/core/regex.hpp"
#include "common/catalog/environment.hpp"
#include "common/catalog/publisher.hpp"
#include "common/catalog/query.hpp"
#include "common/os/file.hpp"
#include "tools/factory/batch.hpp"
#include "tools/factory/scratch.hpp"
#include "tools/support/status_client.hpp"
#include "tools/support/table.hpp"
#include "tools/support/tool_log.hpp"

namespace taskmill::tools {
namespace {

using catalog::Value;

int fail(const std::string& text) {
  std::cerr << "work_queue_factory: " << text << "\n";
  return 1;
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

class Factory {
 public:
  Factory(FactoryConfig config, ToolLog& log)
      : base_(config),
        config_(std::move(config)),
        log_(log),
        pool_(io_, 1),
        timer_(io_),
        signals_(io_, SIGINT, SIGTERM, SIGQUIT),
        parent_(::getppid()),
        port_(-1 - ::getpid() % 65535) {}

  int run() {
    if (auto prepared = prepare(); !prepared) return fail(prepared.error().text);
    signals_.add(SIGHUP);
    watch_signals();
    last_seen_ = aio::steady_now();
    begin_cycle();
    io_.run();
    return 0;
  }

 private:
  Expected<bool> prepare() {
    if (auto loaded = load_config_file(true); !loaded) {
      return make_error("There were errors in the configuration file: " + config_.config_file + ": " +
                        loaded.error().text);
    }
    if (!config_.password_file.empty()) {
      auto password = read_password_file(config_.password_file);
      if (!password) return password.error();
      password_ = std::move(*password);
    }
    auto hosts = catalog::catalog_hosts(config_.catalogs);
    if (!hosts) return hosts.error();
    hosts_ = std::move(*hosts);
    catalog::PublisherOptions publisher;
    publisher.catalogs = config_.catalogs;
    publisher.on_problem = [this](const std::string& line) { log_.debug(line); };
    auto made = catalog::Publisher::make(io_, std::move(publisher));
    if (!made) return made.error();
    publisher_ = std::move(*made);
    if (!config_.config_file.empty()) config_.config_file = absolute(config_.config_file);
    base_.config_file = config_.config_file;
    auto scratch = Scratch::make(config_);
    if (!scratch) return scratch.error();
    scratch_ = std::move(*scratch);
    return make_batch();
  }

  static std::string absolute(const std::string& path) {
    std::array<char, 4096> directory{};
    if (path.front() == '/' || ::getcwd(directory.data(), directory.size()) == nullptr) return path;
    return std::string(directory.data()) + "/" + path;
  }

  Expected<bool> make_batch() {
    const auto log = [this](const std::string& line) { log_.notice(line); };
    const auto& type = config_.batch_type;
    BatchContext context{io_, pool_, scratch_->path(), catalog::hosts_text(hosts_), scratch_->files(), log};
    std::string why;
    if (type == "local")
      batch_ = make_local_batch(std::move(context));
    else if (type == "condor")
      batch_ = make_condor_batch(std::move(context));
    else if (type == "dryrun")
      batch_ = make_dry_batch(std::move(context));
    else
      batch_ = make_queue_batch(std::move(context), type, why);
    if (batch_) {
      if (type == "dryrun") scratch_->keep();
      return true;
    }
    if (!why.empty()) return make_error(why);
    static const std::set<std::string> elsewhere = {"wq",  "vine",  "amazon", "k8s",   "flux",
                                                    "mpi", "chirp", "lambda", "mesos", "amazon-batch"};
    if (elsewhere.count(type) > 0)
      return make_error(
          "batch type '" + type +
          "' is not served by this factory; use local, condor, slurm, pbs, torque, uge, moab, lsf, cluster or dryrun");
    return make_error("unknown batch queue type: " + type);
  }

  // --- configuration ---

  Expected<bool> load_config_file(bool first) {
    if (config_.config_file.empty()) return true;
    struct stat info {};
    if (::stat(config_.config_file.c_str(), &info) != 0) return make_error("cannot be read");
    const auto stamp = std::array<std::int64_t, 4>{info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_size,
                                                   static_cast<std::int64_t>(info.st_ino)};
    if (!first && stamp == config_stamp_) return true;
    config_stamp_ = stamp;
    constexpr std::size_t largest = 1U << 20;
    auto text = os::read_file(config_.config_file, largest);
    if (!text) return make_error(text.error().message());
    std::vector<std::string> notes;
    auto loaded = apply_config_file(base_, *text, notes);
    if (!loaded) return loaded.error();
    for (const auto& note : notes) log_.notice(config_.config_file + ": " + note);
    const auto file = config_.config_file;
    config_ = std::move(*loaded);
    config_.config_file = file;
    print("Configuration file '" + absolute(file) + "' has been loaded." + describe_config(config_));
    return true;
  }

  // --- one cycle ---

  void begin_cycle() {
    if (stopping_) return;
    if (config_.parent_death && ::getppid() != parent_) return stop("parent process exited, shutting down");
    if (auto loaded = load_config_file(false); !loaded) {
      log_.notice("the configuration file keeps its old values: " + config_.config_file + ": " + loaded.error().text);
    }
    records_.clear();
    if (config_.manager_name.empty()) return ask_manager();
    ask_catalog();
  }

  void ask_manager() {
    StatusRequest request;
    request.manager = {config_.host, static_cast<std::uint16_t>(config_.port)};
    request.password = password_;
    request.ssl = config_.ssl;
    client_ = StatusClient::start(
        io_, std::move(request),
        [this](std::string_view text) {
          auto record = catalog::read_value(text);
          if (record && record->as_object() != nullptr) {
            if (record->find("name") == nullptr) record->set("name", config_.host);
            records_.push_back(std::move(*record));
          }
          return true;
        },
        [this](const Expected<bool>& result) {
          if (!result) log_.debug(result.error().text);
          boost::asio::post(io_, [this] { on_records(); });
        });
  }

  void ask_catalog() {
    catalog::QueryOptions query;
    query.hosts = hosts_;
    query.expression = R"((type=="wq_master") or (type=="wq_manager"))";
    query.timeout = std::chrono::seconds(std::min<std::int64_t>(60, std::max<std::int64_t>(5, config_.cycle)));
    query_ = catalog::Query::start(io_, std::move(query), [this](Expected<catalog::QueryAnswer> answer) {
      if (!answer)
        log_.notice(answer.error().text);
      else
        records_ = std::move(answer->records);
      boost::asio::post(io_, [this] { on_records(); });
    });
  }

  void on_records() {
    if (stopping_) return;
    managers_.clear();
    foremen_.clear();
    shown_.clear();
    select(config_.manager_name, managers_, false);
    if (!config_.foremen_name.empty()) select(config_.foremen_name, foremen_, true);
    const auto now = aio::steady_now();
    if (!managers_.empty()) last_seen_ = now;
    if (config_.factory_timeout > 0 && managers_.empty() &&
        now - last_seen_ > std::chrono::seconds(config_.factory_timeout)) {
      return stop("There have been no managers for longer then the factory timeout, exiting");
    }
    batch_->refresh([this] {
      if (!stopping_) act();
    });
  }

  // Records of living managers whose whole name matches; the same record is not counted twice.
  void select(const std::string& pattern, std::vector<ManagerDemand>& into, bool foremen) {
    auto regex = pattern.empty() ? catalog::Regex::anywhere("") : catalog::Regex::whole(pattern);
    if (!regex) return;
    for (const auto& record : records_) {
      const auto type = record.text("type");
      if (type != "wq_master" && type != "wq_manager" && !config_.manager_name.empty()) continue;
      if (record.text("state") == "done" || !regex->matches(std::string(record.text("project")))) continue;
      const auto chief = record.text("my_manager");
      const bool is_foreman = !chief.empty() && chief != "127.0.0.1:-1";
      if (foremen && !is_foreman) continue;
      auto demand = read_demand(record);
      if (!demand.speaks_our_protocol) {
        log_.notice("WARNING: skipping manager " + demand.project + " (" + demand.name + ":" +
                    std::to_string(demand.port) + ") with protocol version " + std::to_string(demand.protocol) +
                    " that is not compatible with this factory");
      }
      into.push_back(std::move(demand));
      shown_.push_back(record);
    }
  }

  void act() {
    const auto decision =
        decide(managers_, foremen_, !config_.foremen_name.empty(), batch_->alive(), sizing_rules(config_));
    publish(decision);
    print_cycle(decision);
    submit(decision.requested);
  }

  void publish(const Decision& decision) {
    Value record{catalog::Object{}};
    record.set("type", "wq_factory");
    record.set("port", port_);
    if (!config_.manager_name.empty()) {
      record.set("project_regex", config_.manager_name);
      record.set("submission_regex", config_.foremen_name.empty() ? config_.manager_name : config_.foremen_name);
      record.set("max_workers", config_.max_workers);
    }
    if (!config_.factory_name.empty()) record.set("factory_name", config_.factory_name);
    record.set("workers_submitted", batch_->alive());
    record.set("workers_needed", decision.needed);
    record.set("workers_requested", decision.requested);
    record.set("workers_to_connect", decision.waiting);
    record.set("managers", summaries(managers_.size(), 0));
    record.set("foremen", summaries(foremen_.size(), managers_.size()));
    record.set("owner", user_name());
    record.set("version", TASKMILL_VERSION);
    record.set("lifetime", std::max<std::int64_t>(120, 5 * config_.cycle));
    last_record_ = catalog::print(record);
    publisher_->publish(last_record_);
  }

  catalog::Array summaries(std::size_t count, std::size_t from) const {
    catalog::Array list;
    for (std::size_t i = from; i < from + count; ++i) {
      Value entry{catalog::Object{}};
      for (const auto* key :
           {"project", "name", "port", "tasks_waiting", "tasks_running", "tasks_complete", "workers"}) {
        if (const auto* value = shown_[i].find(key)) entry.set(key, *value);
      }
      list.push_back(std::move(entry));
    }
    return list;
  }

  void print_cycle(const Decision& decision) const {
    const auto now = std::time(nullptr);
    std::tm parts{};
    localtime_r(&now, &parts);
    std::array<char, 32> stamp{};
    std::strftime(stamp.data(), stamp.size(), "%Y/%m/%d %H:%M:%S", &parts);
    const auto number = [](std::int64_t value) { return std::to_string(std::max<std::int64_t>(0, value)); };
    std::string text = std::string(stamp.data()) + ": |submitted: " + number(batch_->alive()) +
                       " |needed: " + number(decision.needed) + " |waiting connection: " + number(decision.waiting) +
                       " |requested: " + number(decision.requested) + " \n";
    const Table table(queue_columns(), choose_columns(std::getenv("COLUMNS"), 0));
    text += table.header();
    for (const auto& record : shown_) text += table.row(record);
    print(text + "\n");
  }

  void submit(std::int64_t left) {
    if (stopping_) return;
    if (left <= 0) return wait();
    std::vector<std::string> blocked;
    for (const auto* list : {&managers_, &foremen_}) {
      for (const auto& manager : *list)
        blocked.insert(blocked.end(), manager.blocked_hosts.begin(), manager.blocked_hosts.end());
    }
    ++submitting_;
    batch_->submit(config_, blocked, [this, left](const Expected<std::string>& id) {
      --submitting_;
      if (stopping_) return finish_stop();
      if (!id) {
        log_.notice(id.error().text);
        return wait();  // the rest of this cycle would fail as well
      }
      log_.debug("started worker " + *id);
      submit(left - 1);
    });
  }

  void wait() {
    // Without any manager the next look comes sooner: somebody is probably just starting one.
    constexpr std::int64_t eager = 5;
    const auto pause = managers_.empty() ? std::min(eager, config_.cycle) : config_.cycle;
    timer_.expires_after(std::chrono::seconds(pause));
    timer_.async_wait([this](ErrorCode error) {
      if (!error) begin_cycle();
    });
  }

  // --- the end ---

  void watch_signals() {
    signals_.async_wait([this](ErrorCode error, int number) {
      if (error) return;
      if (number == SIGHUP || stopping_) return watch_signals();
      stop("received abort signal, shutting down workers...");
      watch_signals();
    });
  }

  void stop(const std::string& why) {
    if (stopping_) return;
    stopping_ = true;
    print(why + "\n");
    timer_.cancel();
    query_.reset();
    client_.reset();
    if (submitting_ == 0) finish_stop();
  }

  void finish_stop() {
    print("removing " + std::to_string(batch_->alive()) + " workers...\n");
    batch_->remove_all([this] {
      print("all workers removed.\n");
      if (last_record_.empty()) return io_.stop();
      publisher_->goodbye(last_record_, [this] { io_.stop(); });
    });
  }

  FactoryConfig base_;
  FactoryConfig config_;
  ToolLog& log_;
  boost::asio::io_context io_{1};
  aio::Pool pool_;
  boost::asio::steady_timer timer_;
  boost::asio::signal_set signals_;
  pid_t parent_;
  std::int64_t port_;  ///< invented: a factory listens nowhere, but records are told apart by it
  std::array<std::int64_t, 4> config_stamp_{};
  std::optional<std::string> password_;
  std::vector<catalog::Host> hosts_;
  std::unique_ptr<catalog::Publisher> publisher_;
  std::unique_ptr<Scratch> scratch_;
  std::unique_ptr<Batch> batch_;
  std::unique_ptr<StatusClient> client_;
  std::unique_ptr<catalog::Query> query_;
  std::vector<Value> records_;
  std::vector<Value> shown_;  ///< the selected ones: managers, then foremen
  std::vector<ManagerDemand> managers_;
  std::vector<ManagerDemand> foremen_;
  Time last_seen_{};
  std::string last_record_;
  bool stopping_ = false;
  int submitting_ = 0;
};

}  // namespace

int run_factory(const FactoryConfig& config) {
  ToolLog log("work_queue_factory");
  if (auto opened = log.open(config.debug_file, config.debug_rotate); !opened) return fail(opened.error().text);
  log.set_debug(!config.debug.empty());
  if (config.parent_death) ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  return Factory(config, log).run();
}

}  // namespace taskmill::tools
