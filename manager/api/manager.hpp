// The public interface of the manager: submit tasks, let workers come, collect results.
//
//   auto manager = Manager::create({.project = "my-project", .password_file = "password.txt"});
//   if (!manager) { std::cerr << manager.error().text << "\n"; return 2; }
//   TaskSpec task;
//   task.command = "gzip -k data.txt";
//   task.inputs = {input_file("data.txt")};
//   task.outputs = {output_file("data.txt.gz")};
//   (*manager)->submit(task);
//   while (auto done = (*manager)->wait()) std::cout << done->id.value() << " " << done->text_string() << "\n";
//
// Units: durations are std::chrono, resources are cores, MB (2^20 bytes) and gpus, negative meaning "not specified".
// Errors are values with one line that names the thing and the remedy; nothing here throws or ends the process,
// whatever workers, files or arguments do. A Manager belongs to one thread: workers are served while wait(), run_for()
// or finish() runs, and not in between (unsent data and unread results simply wait). Callbacks come from inside these
// calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "manager/api/environments.hpp"
#include "manager/api/task.hpp"
#include "manager/core/config.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/machine.hpp"
#include "manager/net/task_text.hpp"

namespace boost::asio {
class io_context;
}

namespace taskmill::manager {

struct ManagerOptions {
  /// The first free port from `port` to `last_port` is taken. 0: any free port. Equal: exactly this one.
  std::uint16_t port = 9123, last_port = 32767;
  std::string address = "0.0.0.0";  ///< where to listen
  std::string project;              ///< project name; with one the manager is advertised in the catalog
  std::string catalogs;  ///< "host:port,host"; empty: CATALOG_HOST, else localhost:9097, served by us if nobody does
  bool embed_catalog = true;
  std::string password_file;                   ///< whole content is the password, a final newline included
  std::string ssl_cert, ssl_key;               ///< PEM files; workers then need --ssl
  std::int64_t priority = 0;                   ///< advertised only
  std::int64_t tasks_left = 0;                 ///< advertised: tasks you have not submitted yet
  std::string preferred_connection = "by_ip";  ///< by_ip, by_hostname or by_apparent_ip; advertised
  std::string transactions_log, stats_log, debug_log;
  std::uint64_t debug_log_limit = 100ULL << 20;  ///< bytes; then it is renamed to NAME.old
  /// Directory of the journal: what was submitted and finished, so that a restarted run does not repeat it.
  std::string journal;
  std::uint64_t stdout_memory = 1U << 20;    ///< standard output of a task up to this size stays in memory
  std::string spool_directory;               ///< for larger ones; empty: TMPDIR
  std::uint64_t disk_reserve = 64ULL << 20;  ///< bytes that stay free where outputs are stored
  std::uint64_t bandwidth = 0;               ///< bytes per second that all transfers together may take; 0: no limit
  EnvironmentOptions environments;           ///< for tasks with an environment_archive
  Config config;                             ///< tuning, algorithm, monitoring
};

/// A task that came back, with everything known about it.
struct FinishedTask {
  TaskId id;
  bool cancelled = false;
  TaskSpec spec;
  TaskOutcome outcome;
  TaskTextPtr text;  ///< standard output and error of the command; null when it never ran

  /// The command ran, exited with 0 and its outputs are here.
  [[nodiscard]] bool succeeded() const {
    return outcome.result == protocol::ResultCode::success && outcome.return_status == 0 && !cancelled;
  }
  /// The text, or its first `limit` bytes.
  [[nodiscard]] std::string text_string(std::uint64_t limit = 1U << 20) const {
    return text ? text->read(0, limit) : std::string();
  }
};

/// What happened, for programs that want to show it. Views are valid during the call.
struct ManagerCallbacks {
  /// When set, finished tasks are given here and never returned by wait().
  std::function<void(FinishedTask)> on_finished;
  /// Dispatches, requeues, workers that join and leave; `outcome` may be null.
  std::function<void(const Report&, const TaskOutcome* outcome)> on_report;
  std::function<void(NoticeLevel, const std::string&)> on_notice;
  /// kept_fetched, kept_lost, kept_failed: local path of an output that was kept at a worker.
  std::function<void(ReportKind, const std::string& path)> on_kept;
};

class Manager {
 public:
  static Expected<std::unique_ptr<Manager>> create(ManagerOptions options);
  /// Releases all workers without waiting for them; use finish() to end in order.
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] const std::string& project() const;
  void set_callbacks(ManagerCallbacks callbacks);

  // --- tasks ---
  /// A number, unique for this manager. Error: which field is wrong and why; nothing was submitted then.
  Expected<TaskId> submit(const TaskSpec& spec);
  /// All or nothing; the numbers are consecutive from the one returned.
  Expected<TaskId> submit(std::span<const TaskSpec> specs);
  /// With a journal: `key` names the task across restarts. A key that finished in an earlier run is not submitted
  /// again; the answer is then an invalid TaskId and the old record is counted by skipped().
  Expected<TaskId> submit(const TaskSpec& spec, const std::string& key);
  [[nodiscard]] std::uint64_t skipped() const;
  /// The next finished task. Nothing after `timeout` (negative: no limit), when no task is left, or after interrupt().
  std::optional<FinishedTask> wait(Duration timeout = Duration{-1});
  /// Like wait(), but only for tasks with this tag; others stay for later calls.
  std::optional<FinishedTask> wait_for_tag(const std::string& tag, Duration timeout = Duration{-1});
  /// Serves workers for this time, or until interrupt().
  void run_for(Duration time);
  /// Makes the running wait() or run_for() return soon; callable from callbacks.
  void interrupt();
  bool cancel(TaskId task);
  bool cancel_by_tag(const std::string& tag);
  std::size_t cancel_all();
  [[nodiscard]] bool empty() const;   ///< no task waits, runs or is waiting to be returned
  [[nodiscard]] bool hungry() const;  ///< more tasks could be used (manager.md 8.7)
  [[nodiscard]] std::optional<TaskView> task(TaskId task) const;
  [[nodiscard]] std::string explain(TaskId task) const;  ///< why it is where it is, in a sentence

  // --- settings ---
  void set_category(const std::string& name, const CategorySettings& settings);
  [[nodiscard]] CategorySettings category(const std::string& name) const;
  /// A tuning parameter by its old name (manager.md 5). Empty, or what is wrong.
  std::string tune(const std::string& name, double value);
  void set_algorithm(Algorithm algorithm);
  void set_tasks_left(std::int64_t count);

  // --- workers and files ---
  std::size_t shut_down_workers(std::size_t count);  ///< idle ones; 0: all idle ones
  std::size_t drain_host(const std::string& host, bool drain);
  void block_host(const std::string& host, std::optional<Duration> timeout = std::nullopt);
  void unblock_host(const std::string& host);
  bool fetch_kept_output(const std::string& path);  ///< see Machine; on_kept tells the outcome
  std::size_t invalidate_cached_file(const std::string& path, FileKind kind = FileKind::file);

  // --- reading ---
  [[nodiscard]] Stats stats() const;
  /// The JSON array of a status query: "queue", "tasks", "workers", "categories".
  [[nodiscard]] std::string status(const std::string& request) const;
  [[nodiscard]] std::string catalog_text() const;  ///< where the project is advertised; empty without a name

  /// Ends in order: workers are released (or told to exit), catalogs hear goodbye, logs are closed. At most `limit`.
  void finish(bool exit_workers = false, Duration limit = std::chrono::seconds(5));

  // --- for programs with an event loop of their own ---
  boost::asio::io_context& io();
  Machine& machine();
  void wake();  ///< after changes made through machine()

 private:
  struct Impl;
  explicit Manager(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Reads a password file as the old programs do: everything up to the first NUL, a newline included.
Expected<std::string> read_password_file(const std::string& path);

}  // namespace taskmill::manager
