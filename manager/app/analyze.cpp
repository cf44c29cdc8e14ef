#include "manager/app/analyze.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "common/aio/clock.hpp"
#include "manager/analysis/executor.hpp"
#include "manager/analysis/report.hpp"
#include "manager/app/analysis_display.hpp"
#include "manager/app/analysis_log.hpp"

namespace taskmill::manager {
namespace {

namespace fs = std::filesystem;
using namespace analysis;

constexpr std::chrono::milliseconds live_period{250};
constexpr std::chrono::milliseconds quiet_period{1000};
constexpr std::size_t least_in_flight = 16;

/// The executor's window on the manager.
class ManagerService final : public TaskService {
 public:
  explicit ManagerService(Manager& manager) : manager_(manager) {}
  Expected<TaskId> submit(const TaskSpec& spec) override { return manager_.submit(spec); }
  void cancel_waiting(TaskId task) override {
    const auto view = manager_.task(task);
    if (view && view->state == TaskState::ready) manager_.cancel(task);
  }
  void forget(const std::string& path) override { manager_.invalidate_cached_file(path); }
  std::vector<Kept> take_kept() override { return std::exchange(kept_, {}); }
  bool fetch_kept(const std::string& path) override { return manager_.fetch_kept_output(path); }
  void note_kept(ReportKind what, const std::string& path) {
    kept_.push_back({path, what});
    manager_.interrupt();
  }
  [[nodiscard]] std::vector<WorkerLife> worker_lives() const override {
    const auto now = std::chrono::duration<double>(aio::wall_now().time_since_epoch()).count();
    std::vector<WorkerLife> lives;
    manager_.machine().each_worker([&](const WorkerView& worker) {
      if (!worker.ready || worker.draining) return;
      WorkerLife life{std::nullopt, worker.resources.cores_total};
      if (worker.end_time_s > 0) life.left_s = static_cast<double>(worker.end_time_s) - now;
      lives.push_back(life);
    });
    return lives;
  }
  [[nodiscard]] std::size_t total_cores() const override {
    return static_cast<std::size_t>(std::max<std::int64_t>(manager_.stats().total_cores, 0));
  }
  [[nodiscard]] std::size_t wanted_in_flight() const override {
    return std::max(least_in_flight, 2 * total_cores() + 10);
  }

 private:
  Manager& manager_;
  std::vector<Kept> kept_;
};

int complain(const std::string& text) {
  std::cerr << "work_queue_manager: " << text << "\n";
  return 2;
}

std::string program(const AnalyzeOptions& options, const char* name) { return options.program_directory + "/" + name; }

AllocationMode allocation_mode(ResourcesMode mode) {
  if (mode == ResourcesMode::automatic) return AllocationMode::max;
  return mode == ResourcesMode::max_throughput ? AllocationMode::max_throughput : AllocationMode::fixed;
}

void set_categories(Manager& manager, const Executor& executor) {
  const auto& description = executor.description();
  const PhaseDescription* phases[] = {&description.preprocess, &description.process, &description.accumulate};
  const auto names = Executor::categories();
  for (std::size_t i = 0; i < names.size(); ++i) {
    CategorySettings settings;
    settings.mode = allocation_mode(description.resources_mode);
    if (settings.mode != AllocationMode::fixed) settings.max = executor.resources_of(*phases[i]);
    if (description.stragglers == StragglerPolicy::terminate)
      settings.fast_abort = std::max(description.fast_terminate_factor, 1.0);
    manager.set_category(names[i], settings);
  }
}

/// Native workers measure and enforce by themselves; old ones get resource_monitor sent along.
void set_monitoring(const Description& description, const AnalyzeOptions& options, Monitoring& monitoring) {
  if (monitoring.enabled || description.resource_monitor == ResourceMonitor::off) return;
  const auto monitor = program(options, "resource_monitor");
  std::error_code ignored;
  fs::create_directories(options.work_directory, ignored);  // a failure shows when the executor starts
  monitoring.enabled = true;
  monitoring.watchdog = description.resource_monitor == ResourceMonitor::watchdog;
  if (::access(monitor.c_str(), X_OK) == 0) monitoring.program = monitor;
  monitoring.directory = options.work_directory;
  monitoring.process_id = ::getpid();
}

/// What must exist before anything is started.
std::string check_programs(const Description& description, const AnalyzeOptions& options) {
  std::vector<const char*> needed = {"analysis_tool"};
  if (!description.environment_file.empty()) needed.push_back("poncho_package_run");
  for (const char* name : needed) {
    if (::access(program(options, name).c_str(), X_OK) != 0)
      return program(options, name) + " is missing; it belongs beside work_queue_manager";
  }
  return {};
}

/// One analysis from the first task to the last line.
class Run {
 public:
  Run(Description description, const AnalyzeOptions& options, Manager& manager)
      : options_(options),
        manager_(manager),
        service_(manager),
        display_(options.verbose),
        executor_(std::move(description), executor_options(), service_,
                  [this](const std::string& line) { display_.say(line); }),
        signals_(manager.io(), SIGINT, SIGTERM),
        tick_(manager.io()) {
    // The description was moved into the executor above, so options that depend on it are read from there.
  }

  int run() {
    if (const auto problem = executor_.start(); !problem.empty()) return complain(problem);
    set_categories(manager_, executor_);
    greet();
    watch_workers();
    watch_signals();
    arm_tick();
    executor_.pump();
    while (!executor_.finished() && interrupts_ < 2) {
      auto done = manager_.wait(Duration(std::chrono::seconds(1)));
      if (!done) {
        executor_.pump();
        // wait() sees to the connections only as long as there are tasks.
        if (executor_.awaits_kept()) manager_.io().run_one_for(live_period);
        continue;
      }
      executor_.on_finished(done->id, done->outcome, done->text_string(64U << 10));
      executor_.pump();
    }
    return finish();
  }

 private:
  ExecutorOptions executor_options() const {
    ExecutorOptions result;
    result.work_directory = options_.work_directory;
    result.analysis_tool = program(options_, "analysis_tool");
    result.count_cache = options_.count_cache;
    result.all_at_manager = !options_.snapshot.empty();
    return result;
  }

  void greet() const {
    const std::string rule(48, '-');
    if (!manager_.project().empty())
      std::cout << rule << "\nManager Name: -M " << manager_.project() << "\n" << rule << "\n";
    std::cout << "Listening for work queue workers on port " << manager_.port() << "." << std::endl;
  }

  void watch_signals() {
    signals_.async_wait([this](const ErrorCode& error, int) {
      if (error) return;
      ++interrupts_;
      display_.leave();
      if (interrupts_ == 1) {
        std::cerr << "\nstopping: waiting for running tasks and merging what is done (interrupt again to stop now)\n";
        executor_.stop();
      }
      manager_.interrupt();
      watch_signals();
    });
  }

  void arm_tick() {
    tick_.expires_after(display_.live() ? live_period : quiet_period);
    tick_.async_wait([this](const ErrorCode& error) {
      if (error) return;
      display_.update(executor_.planner().progress(), manager_.stats().workers_connected, false);
      sample_workers();
      snapshot();
      arm_tick();
    });
  }

  void watch_workers() {
    ManagerCallbacks callbacks;
    callbacks.on_report = [this](const Report& report, const TaskOutcome* outcome) {
      log_.on_report(report, outcome, aio::wall_now());
      if (report.kind == ReportKind::worker_joined || report.kind == ReportKind::worker_left) sample_workers();
    };
    callbacks.on_kept = [this](ReportKind what, const std::string& path) { service_.note_kept(what, path); };
    manager_.set_callbacks(std::move(callbacks));
    sample_workers();
  }

  void sample_workers() {
    const auto stats = manager_.stats();
    log_.sample({aio::wall_now(), stats.workers_connected, stats.total_cores});
  }

  void snapshot() {
    if (options_.snapshot_every.count() <= 0 || display_.elapsed() - snapshot_at_ < options_.snapshot_every) return;
    snapshot_at_ = display_.elapsed();
    if (const auto problem = executor_.write_snapshot(options_.snapshot); !problem.empty())
      std::cerr << "snapshot: " << problem << "\n";
  }

  int finish() {
    tick_.cancel();
    signals_.cancel();
    const RunNumbers numbers{display_.elapsed(), manager_.stats(), log_.workers(), log_.lost_copy_hours()};
    display_.update(executor_.planner().progress(), numbers.stats.workers_connected, true);
    display_.leave();
    const auto& description = executor_.description();
    const auto problem = executor_.write_results();
    std::cout << summary_text(executor_, numbers);
    if (!description.report.empty()) {
      std::ofstream report(description.report, std::ios::trunc);
      report << report_html(executor_, numbers);
      if (!report.flush()) std::cerr << "work_queue_manager: cannot write the report " << description.report << "\n";
    }
    if (interrupts_ >= 2) manager_.cancel_all();
    manager_.finish(true);
    if (!problem.empty()) return complain(problem);
    if (executor_.result_files().empty()) std::cout << "result: none, no event was processed\n";
    for (const auto& file : executor_.result_files()) std::cout << "result: " << file << "\n";
    std::cout << "accounting: " << description.output << ".events.json" << std::endl;
    if (interrupts_ > 0) return 130;
    if (const auto& failure = executor_.planner().failure(); !failure.empty())
      std::cerr << "work_queue_manager: " << failure << "; skip_bad_files = true goes on without such files\n";
    return executor_.succeeded() ? 0 : 1;
  }

  const AnalyzeOptions& options_;
  Manager& manager_;
  ManagerService service_;
  AnalysisDisplay display_;
  AnalysisLog log_;
  Executor executor_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer tick_;
  Duration snapshot_at_{0};
  int interrupts_ = 0;
};

}  // namespace

int run_analysis(const AnalyzeOptions& given, ManagerOptions manager_options) {
  auto description = read_description(given.description);
  if (!description) return complain(description.error().text);
  AnalyzeOptions options = given;
  if (!options.output.empty()) description->output = fs::absolute(options.output).string();
  if (!options.report.empty()) description->report = fs::absolute(options.report).string();
  if (options.work_directory.empty()) options.work_directory = description->output + ".work";
  if (const auto problem = check_programs(*description, options); !problem.empty()) return complain(problem);
  if (description->stragglers == StragglerPolicy::replicate) manager_options.config.stragglers = Stragglers::replicate;
  set_monitoring(*description, options, manager_options.config.monitoring);
  if (description->resource_monitor != ResourceMonitor::watchdog) manager_options.config.enforce = Enforce::never;
  if (manager_options.environments.runner.empty())
    manager_options.environments.runner = program(options, "poncho_package_run");
  auto manager = Manager::create(std::move(manager_options));
  if (!manager) return complain(manager.error().text);
  if (options.on_listening) {
    if (auto problem = options.on_listening(**manager); !problem.empty()) return complain(problem);
  }
  return Run(std::move(*description), options, **manager).run();
}

}  // namespace taskmill::manager
