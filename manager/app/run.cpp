#include "manager/app/run.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <unordered_map>

#include "common/aio/clock.hpp"
#include "common/aio/tls.hpp"
#include "common/base/text.hpp"
#include "manager/app/local_workers.hpp"
#include "manager/app/progress.hpp"
#include "manager/app/result_record.hpp"
#include "manager/app/results_file.hpp"
#include "manager/app/task_file.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t submit_batch = 1000;
constexpr std::size_t problems_shown = 50;
constexpr auto live_period = std::chrono::milliseconds(200);
constexpr auto plain_period = std::chrono::seconds(5);

int bad_input(const std::string& text) {
  std::cerr << "work_queue_manager: " << text << "\n";
  return 2;
}

// With --output-dir every output goes below it, whatever the list says.
std::string confine_outputs(TaskSpec& spec, const std::string& directory) {
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    auto& local = spec.outputs[i].local;
    if (!is_safe_relative_path(local)) {
      return "outputs[" + std::to_string(i) + "]: '" + local + "' leaves --output-dir; use a relative name without ..";
    }
    local = directory + "/" + local;
  }
  return {};
}

std::string prepare_task(TaskSpec& spec, const RunOptions& options) {
  if (options.max_retries && spec.max_retries == 0) spec.max_retries = *options.max_retries;
  if (spec.environment_archive.empty()) spec.environment_archive = options.environment;
  if (!options.output_dir.empty()) {
    if (auto problem = confine_outputs(spec, options.output_dir); !problem.empty()) return problem;
  }
  const auto error = Machine::check_spec(spec);
  return error ? error->text : std::string();
}

/// Error: the list cannot be read at all.
Expected<TaskList> read_tasks(const RunOptions& options) {
  const bool each = !options.each_line.empty();
  const auto& path = each ? options.each_line : options.tasks;
  const auto read = [&](std::istream& in, const std::string& name) {
    const PrepareTask prepare = [&options](TaskSpec& spec) { return prepare_task(spec, options); };
    return each ? tasks_for_each_line(in, name, options.command, prepare) : read_task_list(in, name, prepare);
  };
  if (path == "-") return read(std::cin, "standard input");
  std::ifstream file(path);
  struct stat info {};
  if (!file) return make_error(path + ": " + std::strerror(errno));
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return make_error(path + ": is a directory");
  return read(file, path);
}

void show_problems(const std::vector<std::string>& problems) {
  for (std::size_t i = 0; i < problems.size() && i < problems_shown; ++i) std::cerr << problems[i] << "\n";
  if (problems.size() > problems_shown) std::cerr << "… and " << problems.size() - problems_shown << " more\n";
}

// Names a task across restarts: by what it is, and which of several equal ones.
std::string task_key(const TaskSpec& spec, std::unordered_map<std::string, int>& seen) {
  std::string text = spec.command + '\0' + spec.environment_archive + '\0' + spec.tag + '\0' + spec.category + '\0';
  for (const auto& input : spec.inputs)
    text += input.source + '\0' + input.remote + '\0' + std::to_string(input.first) + '\0' +
            std::to_string(input.last) + (input.data ? *input.data : "") + '\0';
  for (const auto& output : spec.outputs) text += output.local + '\0' + output.remote + '\0';
  for (const auto& variable : spec.environment) text += variable.name + '=' + variable.value.value_or("") + '\0';
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string key;
  for (unsigned i = 0; i < 16; ++i) {
    key += digits[digest[i] >> 4U];
    key += digits[digest[i] & 15U];
  }
  return key + "-" + std::to_string(++seen[key]);
}

/// One run, from the first submission to the summary.
class Run {
 public:
  Run(const RunOptions& options, Manager& manager, std::unique_ptr<ResultsFile> results)
      : options_(options),
        manager_(manager),
        results_(std::move(results)),
        signals_(manager.io(), SIGINT, SIGTERM),
        tick_(manager.io()),
        limit_(manager.io()),
        live_(::isatty(STDOUT_FILENO) == 1 && !options.quiet),
        start_(aio::steady_now()) {}

  LocalWorkers& workers() { return workers_; }
  std::string submit(TaskList& list, bool journal);
  int wait();

 private:
  void on_finished(const FinishedTask& task);
  void save_text(const FinishedTask& task);
  void lost(const std::string& what);
  void on_notice(NoticeLevel level, const std::string& text);
  void say(const std::string& text);
  void warn(const std::string& text);
  bool screen_failed();
  void erase_live();
  void draw();
  void arm_tick();
  void arm_signals();
  [[nodiscard]] ProgressNumbers numbers() const;
  [[nodiscard]] std::uint64_t unfinished() const { return total_ - std::min(total_, summary_.done()); }

  const RunOptions& options_;
  Manager& manager_;
  std::unique_ptr<ResultsFile> results_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer tick_, limit_;
  LocalWorkers workers_;
  Summary summary_;
  std::vector<std::uint32_t> lines_;  ///< by task number
  std::uint64_t total_ = 0, drawn_done_ = 0;
  bool live_, drawn_ = false, interrupted_ = false, out_of_time_ = false;
  bool lost_something_ = false;  ///< results or texts could not be written
  Time start_, last_plain_{};
};

std::string Run::submit(TaskList& list, bool journal) {
  std::unordered_map<std::string, int> seen;
  std::vector<TaskSpec> batch;
  std::vector<std::uint32_t> batch_lines;
  const auto note = [&](TaskId first, const std::vector<std::uint32_t>& lines) {
    lines_.resize(std::max<std::size_t>(lines_.size(), first.value() + lines.size()), 0);
    for (std::size_t i = 0; i < lines.size(); ++i) lines_[first.value() + i] = lines[i];
    total_ += lines.size();
  };
  for (std::size_t i = 0; i < list.tasks.size(); ++i) {
    auto& task = list.tasks[i];
    const auto line = static_cast<std::uint32_t>(task.line);
    if (journal) {
      auto id = manager_.submit(task.spec, task_key(task.spec, seen));
      if (!id.has_value()) return id.error().text;
      if (!id->valid()) continue;
      note(*id, {line});
      if (options_.verbose) say(submitted_line(*id, task.spec));
      continue;
    }
    batch.push_back(std::move(task.spec));
    batch_lines.push_back(line);
    if (batch.size() < submit_batch && i + 1 < list.tasks.size()) continue;
    auto first = manager_.submit(batch);
    if (!first.has_value()) return first.error().text;
    note(*first, batch_lines);
    if (options_.verbose) {
      for (std::size_t k = 0; k < batch.size(); ++k)
        say(submitted_line(TaskId(first->value() + static_cast<std::uint32_t>(k)), batch[k]));
    }
    batch.clear();
    batch_lines.clear();
  }
  list.tasks.clear();
  list.tasks.shrink_to_fit();
  return {};
}

int Run::wait() {
  ManagerCallbacks callbacks;
  callbacks.on_finished = [this](const FinishedTask& task) { on_finished(task); };
  callbacks.on_notice = [this](NoticeLevel level, const std::string& text) { on_notice(level, text); };
  manager_.set_callbacks(std::move(callbacks));
  arm_signals();
  arm_tick();
  if (options_.timeout.count() > 0) {
    limit_.expires_after(options_.timeout);
    limit_.async_wait([this](ErrorCode error) {
      if (error) return;
      out_of_time_ = true;
      manager_.interrupt();
    });
  }
  while (!manager_.empty() && !interrupted_ && !out_of_time_) (void)manager_.wait();
  tick_.cancel();
  limit_.cancel();
  erase_live();
  const auto stats = manager_.stats();
  if (interrupted_)
    std::cerr << "work_queue_manager: interrupted; workers are released, results so far are kept (Ctrl-C again ends at "
                 "once)\n";
  if (out_of_time_)
    std::cerr << "work_queue_manager: --timeout is over; " << unfinished() << " tasks were not finished\n";
  manager_.finish(options_.exit_workers);
  workers_.stop();
  if (results_) {
    if (const auto problem = results_->flush(); !problem.empty()) lost(problem);
  }
  if (manager_.skipped() > 0) std::cout << manager_.skipped() << " tasks were done in an earlier run (journal)\n";
  std::cout << summary_.text(aio::steady_now() - start_, stats, unfinished()) << std::flush;
  if (screen_failed()) lost("standard output cannot be written (is the disk full?)");
  if (interrupted_) return 130;
  return summary_.failed() > 0 || unfinished() > 0 || lost_something_ ? 1 : 0;
}

void Run::lost(const std::string& what) {
  lost_something_ = true;
  warn(what);
}

void Run::on_finished(const FinishedTask& task) {
  const auto output = task.text_string(options_.stdout_limit);
  summary_.add(task.id, task.spec, task.outcome, output);
  if (!options_.stdout_dir.empty()) save_text(task);
  if (options_.verbose) say(finished_lines(task.id, task.spec, task.outcome));
  if (!results_) return;
  ResultRecord record;
  record.task = task.id;
  record.line = task.id.value() < lines_.size() ? lines_[task.id.value()] : 0;
  record.spec = &task.spec;
  record.outcome = &task.outcome;
  record.output = output;
  record.output_bytes = task.text ? task.text->size() : 0;
  append_result_record(results_->pending(), record);
  if (const auto problem = results_->flush(); !problem.empty()) lost(problem);
}

void Run::save_text(const FinishedTask& task) {
  if (!task.text) return;
  const auto path = options_.stdout_dir + "/task-" + std::to_string(task.id.value()) + ".out";
  const os::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  constexpr std::uint64_t block = 1U << 20;
  for (std::uint64_t at = 0; file && at < task.text->size(); at += block) {
    const auto text = task.text->read(at, block);
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return lost("--stdout-dir " + path + ": " + std::strerror(errno));
  }
  if (!file) lost("--stdout-dir " + path + ": " + std::strerror(errno));
}

void Run::on_notice(NoticeLevel level, const std::string& text) {
  if (level == NoticeLevel::warning || (level == NoticeLevel::notice && options_.verbose)) warn(text);
}

// --- what is on the screen ---

void Run::erase_live() {
  if (std::exchange(drawn_, false)) std::cout << "\r\x1b[K" << std::flush;
}

void Run::say(const std::string& text) {
  erase_live();
  std::cout << text << "\n";
}

void Run::warn(const std::string& text) {
  erase_live();
  std::cerr << "work_queue_manager: " << text << "\n";
}

// A reader that closed its end of a pipe has seen enough; anything else is a loss.
bool Run::screen_failed() {
  if (std::cout.flush()) return false;
  struct stat info {};
  return ::fstat(STDOUT_FILENO, &info) != 0 || !(S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
}

ProgressNumbers Run::numbers() const {
  const auto stats = manager_.stats();
  ProgressNumbers n;
  n.total = total_;
  n.done = summary_.done();
  n.failed = summary_.failed();
  n.running = static_cast<std::uint64_t>(std::max<std::int64_t>(stats.tasks_on_workers, 0));
  n.waiting = static_cast<std::uint64_t>(std::max<std::int64_t>(stats.tasks_waiting, 0));
  n.workers = stats.workers_connected;
  n.cores = stats.total_cores;
  n.elapsed = aio::steady_now() - start_;
  return n;
}

void Run::draw() {
  if (options_.quiet) return;
  if (live_) {
    winsize size{};
    const std::size_t width =
        ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1U : 79U;
    std::cout << "\r" << progress_line(numbers(), width) << "\x1b[K" << std::flush;
    drawn_ = true;
    return;
  }
  const auto now = aio::steady_now();
  if (options_.verbose || now - last_plain_ < plain_period) {
    std::cout << std::flush;
    return;
  }
  last_plain_ = now;
  std::cout << progress_line(numbers(), 0) << std::endl;
}

void Run::arm_tick() {
  tick_.expires_after(live_period);
  tick_.async_wait([this](ErrorCode error) {
    if (error) return;
    for (const auto& line : workers_.ended()) warn(line);
    draw();
    arm_tick();
  });
}

void Run::arm_signals() {
  signals_.async_wait([this](ErrorCode error, int) {
    if (error) return;
    if (std::exchange(interrupted_, true)) {
      workers_.kill_now();
      ::_exit(130);
    }
    manager_.interrupt();
    arm_signals();
  });
}

void print_where(const Manager& manager, const RunOptions& options) {
  if (options.quiet) return;
  std::cout << "listening for workers on port " << manager.port();
  if (!manager.project().empty())
    std::cout << ", project " << manager.project() << " in the catalog " << manager.catalog_text();
  std::cout << std::endl;
}

}  // namespace

std::string start_services(Manager& manager, const RunOptions& options, const ManagerOptions& manager_options,
                           LocalWorkers& workers) {
  for (const auto& [category, settings] : options.categories) manager.set_category(category, settings);
  if (!options.port_file.empty()) {
    const auto problem = write_whole_file(options.port_file, std::to_string(manager.port()) + "\n");
    if (!problem.empty()) return "--port-file " + problem;
  }
  return workers.start(options.local, {manager.port(), manager_options.password_file, !manager_options.ssl_cert.empty(),
                                       manager_options.debug_log});
}

std::string prepare_tls(ManagerOptions& options) {
  if (options.ssl_cert != "auto") return {};
  std::string directory = "/tmp/taskmill-tls-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) return directory + ": " + std::strerror(errno);
  auto files = aio::make_self_signed(directory, "taskmill manager");
  if (!files.has_value()) return files.error().text;
  options.ssl_cert = files->cert;
  options.ssl_key = files->key;
  return {};
}

int run_tasks(const RunOptions& options, ManagerOptions manager_options) {
  auto read = read_tasks(options);
  if (!read.has_value()) return bad_input(read.error().text);
  TaskList& list = *read;
  const auto name = !options.each_line.empty() ? options.each_line : options.tasks;
  const auto shown_name = name == "-" ? std::string("standard input") : name;
  show_problems(list.problems);
  if (!list.problems.empty() && (!options.keep_going || list.tasks.empty())) {
    return bad_input("nothing was run: " + std::to_string(list.problems.size()) +
                     (list.problems.size() == 1 ? " problem in " : " problems in ") + shown_name +
                     (list.tasks.empty() ? "" : " (--keep-going runs the right lines)"));
  }
  for (const auto& directory : {options.output_dir, options.stdout_dir}) {
    if (directory.empty()) continue;
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) return bad_input("cannot make the directory " + directory + ": " + error.message());
  }
  std::unique_ptr<ResultsFile> results;
  if (!options.results.empty()) {
    auto opened = ResultsFile::open(options.results);
    if (!opened.has_value()) return bad_input(opened.error().text);
    results = std::move(*opened);
  }
  const bool temporary_tls = manager_options.ssl_cert == "auto";
  if (const auto problem = prepare_tls(manager_options); !problem.empty()) return bad_input(problem);
  auto manager = Manager::create(manager_options);
  if (temporary_tls) {  // loaded, no longer needed
    ::unlink(manager_options.ssl_cert.c_str());
    ::unlink(manager_options.ssl_key.c_str());
    ::rmdir(manager_options.ssl_cert.substr(0, manager_options.ssl_cert.rfind('/')).c_str());
  }
  if (!manager.has_value()) return bad_input(manager.error().text);
  print_where(**manager, options);
  Run run(options, **manager, std::move(results));
  if (auto problem = run.submit(list, !manager_options.journal.empty()); !problem.empty()) return bad_input(problem);
  if (auto problem = start_services(**manager, options, manager_options, run.workers()); !problem.empty())
    return bad_input(problem);
  const int code = run.wait();
  return list.problems.empty() || code != 0 ? code : 1;
}

}  // namespace taskmill::manager
