// The manager's decisions: facts in, effects out, time as an argument. No I/O, no clock, no threads.
//
// How a shell drives it (see effects.hpp for what to do with each effect):
//
//   Machine machine(config, seed, now);
//   … for everything that happens, call the on_…() or user function below; each only changes state;
//   … after a batch of facts, once:  machine.run(now, effects); perform(effects);
//   … sleep until next_deadline() or the next fact, whichever comes first, then run() again.
//
// Facts of a connection come in the order of its stream. Facts for a connection, task or file that the machine has
// forgotten are ignored, so the shell never needs to check. Strings are copied. Nothing a peer does reaches an
// assertion.
//
// A worker connection: on_connected → on_greeting → on_info/on_feature/on_resource… → dispatches → … → on_closed.
// Any bytes of a peer count for keepalive: call on_heard() once per read. Native workers: see WorkerFacts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.hpp"
#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "manager/core/config.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/task_spec.hpp"
#include "protocol/from_worker.hpp"
#include "protocol/to_worker.hpp"

namespace taskmill::manager {

struct StageDone {
  std::uint64_t bytes = 0;    ///< body bytes sent (sum over a tree)
  std::uint64_t size = 0;     ///< of the source when it was opened (top entry)
  std::int64_t mtime_ns = 0;  ///< of the source when it was opened (top entry)
};
struct StageError {
  std::string text;           ///< "in.txt: No such file or directory"
  bool sent_damaged = false;  ///< something was sent under the name and must be removed
};
struct StatResult {
  bool found = false;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  bool directory = false;
  std::string error;  ///< text for the user when not found
};
struct DigestResult {
  std::string error;  ///< not empty: there is none
  std::array<std::uint8_t, 32> digest{};
  std::uint64_t size = 0;     ///< of the source
  std::int64_t mtime_ns = 0;  ///< of the source, the same before and after it was read
  unsigned mode = 0;
};
/// How a peer_transfer ended.
struct PeerOutcome {
  std::uint64_t order = 0;
  bool ok = false;
  bool blame = false;  ///< not ok: its source failed, not the worker itself
  std::string error;
  std::uint64_t bytes = 0;  ///< of an environment: that came
};
enum class FetchStatus : std::uint8_t { ok, missing, local_error };
struct Fetched {
  TaskId task;
  std::uint32_t attempt = 0, index = 0;
  FetchStatus status = FetchStatus::ok;
  std::uint64_t bytes = 0;
  std::uint64_t size = 0;  ///< of the stored file, for cached outputs
  std::int64_t mtime_ns = 0;
  std::string error;                    ///< missing, local_error: text for the user
  std::optional<Measurement> measured;  ///< index == summary_output
  std::string limit;                    ///< index == summary_output: "memory: 309 MB used, 100 MB allowed", or empty
  std::optional<int> exit_status;       ///< index == summary_output: `exit_status` of the summary
};
/// A finished (or refused) attempt, from `result` or a native frame.
struct ResultFacts {
  TaskId task;
  std::uint32_t attempt = 0;  ///< native workers: as in describe(); 0: not told
  int status = 0;             ///< protocol::ResultCode as a number; unknown numbers are passed through
  int exit_code = 0;
  int signal = 0;  ///< native workers
  std::uint64_t output_length = 0;
  std::uint64_t execution_us = 0;
  std::optional<Measurement> measured;  ///< native workers
  std::string limit;                    ///< native workers: the limit for which it was stopped, in words; or empty
  std::vector<Fetched> pushed;          ///< native workers: outputs that came inside the result, by index
};

/// What a native worker says of an environment that was offered to it.
struct EnvironmentFacts {
  std::string digest;  ///< 64 hex digits
  bool ok = false;
  std::string error;
  bool retry = true;     ///< not ok: another try at this worker may do better
  bool evicted = false;  ///< not ok: it was there, and had to make room
  bool serves = false;   ///< ok: others can fetch it from this worker
};

/// Capabilities of a native worker, after the handshake of the extension.
struct WorkerFacts {
  bool measures = false;      ///< needs no monitor wrapper
  bool enforces = false;      ///< stops tasks over their limits itself
  bool environments = false;  ///< takes environments in frames
  bool peers = false;         ///< can fetch from other workers
};

/// Read access, valid until the next non-const call.
struct TaskView {
  TaskId id;
  TaskState state{};
  double priority = 0;
  std::string_view command, tag, category, coprocess;
  Resources requested;
  Resources allocated;  ///< box of the current attempt; for a waiting task the larger of both labels
  std::uint32_t tries = 0;
  ConnId conn;  ///< where it is, if anywhere
  WallTime submitted, commit_start, commit_end;
};
struct ResourceTotals {
  double cores_total = 0, cores_smallest = 0, cores_largest = 0, cores_inuse = 0;
  std::int64_t memory_total = 0, memory_smallest = 0, memory_largest = 0, memory_inuse = 0;
  std::int64_t disk_total = 0, disk_smallest = 0, disk_largest = 0, disk_inuse = 0;
  std::int64_t gpus_total = 0, gpus_smallest = 0, gpus_largest = 0, gpus_inuse = 0;
  std::int64_t workers_total = 0, workers_smallest = 0, workers_largest = 0, workers_inuse = 0;
};
struct WorkerView {
  ConnId conn;
  std::string_view address, hostname, os, arch, software, worker_id, factory;
  int version = 0;
  bool is_foreman = false, ready = false, draining = false, blocked = false;
  ResourceTotals resources;
  std::uint64_t tasks_complete = 0;
  std::uint32_t tasks_here = 0;     ///< assigned and not yet returned
  std::uint32_t tasks_running = 0;  ///< as the worker says
  std::uint32_t files_cached = 0;
  std::uint64_t bytes_transferred = 0;
  Duration transfer_time{0}, task_time{0};
  WallTime connected;
  std::int64_t end_time_s = 0;  ///< when it has said that it will leave; 0: it has not
};
struct CategoryView {
  std::string_view name;
  const CategorySettings* settings = nullptr;
  bool steady = false;
  Resources seen, first_allocation;  ///< labels
  Resources first_box, max_box;      ///< what a task would get on the largest worker
  std::uint64_t waiting = 0, running = 0, on_workers = 0, with_results = 0, submitted = 0, dispatched = 0, done = 0,
                failed = 0, cancelled = 0, first_count = 0, max_count = 0, exhausted = 0;
  std::uint64_t workers_able = 0;
  Duration mean_execution{0};
  bool limits_broken = false;  ///< some attempt broke a limit
};

/// Environments at native workers, as they report them; counted by the shell.
struct EnvironmentCounts {
  std::int64_t unpacked = 0;  ///< by a worker of this run
  std::int64_t found = 0;     ///< there already: in a cache directory, or from an earlier session
  std::int64_t failed = 0;
  std::int64_t bytes_sent = 0, bytes_reused = 0;
};

/// manager.md 15.1, counted as intended there. Times in microseconds.
struct Stats {
  std::int64_t workers_connected = 0, workers_init = 0, workers_idle = 0, workers_busy = 0, workers_able = 0;
  std::int64_t workers_joined = 0, workers_removed = 0, workers_released = 0, workers_idled_out = 0,
               workers_blocked = 0, workers_fast_aborted = 0, workers_lost = 0;
  std::int64_t tasks_waiting = 0, tasks_on_workers = 0, tasks_running = 0, tasks_with_results = 0;
  std::int64_t tasks_submitted = 0, tasks_dispatched = 0, tasks_done = 0, tasks_failed = 0, tasks_cancelled = 0,
               tasks_exhausted_attempts = 0;
  /// time_status_msgs, _internal, _polling, _application belong to the shell and stay 0 here.
  std::int64_t time_when_started = 0, time_send = 0, time_receive = 0, time_send_good = 0, time_receive_good = 0,
               time_status_msgs = 0, time_internal = 0, time_polling = 0, time_application = 0;
  std::int64_t time_workers_execute = 0, time_workers_execute_good = 0, time_workers_execute_exhaustion = 0;
  std::int64_t bytes_sent = 0, bytes_received = 0;
  double bandwidth = 0;  ///< MB/s
  std::int64_t capacity_tasks = 10, capacity_cores = 10, capacity_memory = 5120, capacity_disk = 10240,
               capacity_gpus = 0, capacity_instantaneous = 10, capacity_weighted = 10;
  double manager_load = 0;  ///< the shell's; 0 here
  std::int64_t total_cores = 0, total_memory = 0, total_disk = 0, total_gpus = 0;
  std::int64_t committed_cores = 0, committed_memory = 0, committed_disk = 0, committed_gpus = 0;
  std::int64_t max_cores = 0, max_memory = 0, max_disk = 0, max_gpus = 0;
  std::int64_t min_cores = 0, min_memory = 0, min_disk = 0, min_gpus = 0;
  Resources waiting_total;  ///< requests of waiting tasks summed (tasks_total_* without what is in use)
  std::int64_t stragglers_copied = 0, copies_won = 0;
  EnvironmentCounts environments;
  std::int64_t peer_transfers = 0, peer_failures = 0, bytes_by_peers = 0;  ///< between workers
};

struct Explanation {
  TaskState state{};
  std::string text;  ///< one or two sentences: why it waits, or where it is
};

struct WorkerSummary {  ///< one row of workers_summary (manager.md 4.4)
  std::int64_t count = 0, cores = 0, memory = 0, disk = 0, gpus = 0;
  bool operator==(const WorkerSummary&) const = default;
};

struct State;

class Machine {
 public:
  Machine(const Config& config, std::uint64_t seed, Now now);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // ---- what users do ----
  /// Error: one line that names the field and the remedy. Nothing is submitted then.
  Expected<TaskId> submit(const TaskSpec& spec, Now now);
  /// All or nothing; ids of the batch are consecutive: first, first+1, ….
  Expected<TaskId> submit_batch(std::span<const TaskSpec> specs, Now now);
  /// `count` tasks of one spec (the spec is packed once).
  Expected<TaskId> submit_many(const TaskSpec& spec, std::size_t count, Now now);
  /// The checks of submit() alone.
  static std::optional<Error> check_spec(const TaskSpec& spec);
  /// False when unknown or already finished. A `cancelled` report follows.
  bool cancel(TaskId task, Now now);
  bool cancel_by_tag(std::string_view tag, Now now);  ///< the first one found, lowest id
  std::size_t cancel_all(Now now);
  /// Forget a cached input everywhere; tasks that use it start again. Returns workers that had it.
  std::size_t invalidate_cached_file(std::string_view source, FileKind kind, Now now);
  /// An output that a worker has kept (OutputSpec::keep) comes to its local path: a report kept_fetched, kept_lost or
  /// kept_failed follows. False: no worker keeps it.
  bool fetch_kept_output(std::string_view source, Now now);
  /// The feature that only the worker at this address has (TaskOutcome::host): tasks that ask for it run there, where
  /// what they read is kept.
  [[nodiscard]] static std::string feature_of_place(std::string_view address);
  void block_host(std::string_view host, std::optional<Duration> timeout, Now now);
  void unblock_host(std::string_view host, Now now);
  void unblock_all(Now now);
  std::size_t drain_host(std::string_view host, bool drain, Now now);  ///< workers changed
  /// Up to `count` idle workers are told to exit; 0: all idle ones.
  std::size_t shut_down_workers(std::size_t count, Now now);
  /// All workers are told to release (end of the program); tasks stay queued.
  void release_all(Now now);
  void set_category(std::string_view name, const CategorySettings& settings, Now now);
  [[nodiscard]] CategorySettings category_settings(std::string_view name) const;
  /// Feed a measurement of an earlier run (initialize_categories).
  void teach_category(std::string_view name, const Measurement& measured, Now now);
  /// Tasks may name this environment from now on; they wait until it is declared, or fail with it.
  void expect_environment(const std::string& name);
  void fail_environment(const std::string& name, const std::string& error, Now now);
  /// Tasks may name it and run; a plan of the same name is replaced for tasks to come.
  void declare_environment(const EnvironmentPlan& plan);
  bool tune(const std::string& name, double value, std::string* problem = nullptr);
  void set_algorithm(Algorithm algorithm);
  void set_stragglers(Stragglers policy);
  void set_factory_max(std::string_view factory, std::int64_t max_workers, Now now);
  /// Names that connected workers gave as their factory's.
  [[nodiscard]] std::vector<std::string> connected_factories() const;
  std::uint32_t set_min_task_id(std::uint32_t n);

  // ---- what connections do ----
  void on_connected(ConnId conn, std::string_view address, Now now);  ///< address: "IP:PORT"
  void on_heard(ConnId conn, Now now);
  void on_greeting(ConnId conn, const protocol::Greeting& greeting, Now now);
  void on_info(ConnId conn, std::string_view field, std::string_view value, Now now);
  void on_feature(ConnId conn, std::string_view feature, Now now);
  void on_resource(ConnId conn, const protocol::ResourceReport& report, Now now);
  void on_resource_tag(ConnId conn, std::int64_t tag, Now now);
  void on_native(ConnId conn, const WorkerFacts& facts, Now now);
  void on_environment(ConnId conn, const EnvironmentFacts& facts, Now now);
  /// It lacks so many bytes of it, and wants to be told where to get them.
  void on_environment_wish(ConnId conn, const std::string& digest, std::uint64_t missing_bytes, Now now);
  /// Whether it is to ask for that.
  [[nodiscard]] bool plans_transfers(ConnId conn) const;
  /// The worker serves others from now on.
  void on_peer_listening(ConnId conn, Now now);
  void on_peer_done(ConnId conn, const PeerOutcome& outcome, Now now);
  void on_digest(std::uint64_t object, const DigestResult& result, Now now);
  void on_available_results(ConnId conn, Now now);
  void on_result(ConnId conn, const ResultFacts& result, Now now);
  void on_results_end(ConnId conn, Now now);
  /// Where an output of a result that came in a frame goes, now, before on_result(): the local path. Empty when the
  /// task is not expected from there, or its output `index` not wanted; then it is dropped.
  [[nodiscard]] std::string pushed_target(ConnId conn, const ResultFacts& result, std::uint32_t index) const;
  /// Does a result of this attempt matter?
  [[nodiscard]] bool expects_result(ConnId conn, const ResultFacts& result) const;
  /// Where a watch update goes: local path of the output, empty if unknown (drop the body then).
  [[nodiscard]] std::string watch_target(ConnId conn, TaskId task, std::string_view remote) const;
  /// A body of `length` begins to arrive (stdout, file item, update): extends the time limit.
  void on_body(ConnId conn, std::uint64_t length, Now now);
  void on_fetched(ConnId conn, const Fetched& fetched, Now now);
  void on_staged(ConnId conn, const StageDone& done, Now now);
  void on_stage_failed(ConnId conn, const StageError& error, Now now);
  void on_task_sent(ConnId conn, TaskId task, std::uint32_t attempt, Now now);
  void on_stat(FileId file, const StatResult& result, Now now);
  void on_cache_update(ConnId conn, std::string_view name, std::uint64_t size, std::uint64_t transfer_us, Now now);
  void on_cache_invalid(ConnId conn, std::string_view name, std::string_view message, Now now);
  /// The outbox of the connection is above its high mark (true) or below its low mark again (false).
  void on_congested(ConnId conn, bool congested, Now now);
  /// The socket is gone, whatever the reason.
  void on_closed(ConnId conn, CloseReason reason, Now now);

  // ---- the step ----
  /// Deadlines that passed, then matching; moves everything decided since the last run() into `effects`.
  void run(Now now, Effects& effects);
  /// When run() must be called even if nothing happens.
  [[nodiscard]] std::optional<Time> next_deadline() const;

  // ---- for performing effects ----
  /// Fills the block of a send_task action; false: do not send it any more. `task` is reused: its strings keep
  /// capacity.
  bool describe(ConnId conn, TaskId task, std::uint32_t attempt, protocol::TaskDescription& description) const;
  [[nodiscard]] std::shared_ptr<const std::string> buffer(FileId file) const;
  [[nodiscard]] int version(ConnId conn) const;

  // ---- reading ----
  [[nodiscard]] bool empty() const;                  ///< no task waits, runs or has outputs to be fetched
  [[nodiscard]] bool hungry() const;                 ///< manager.md 8.7
  [[nodiscard]] TaskState state(TaskId task) const;  ///< unknown for finished ones as well
  [[nodiscard]] std::optional<TaskView> task(TaskId task) const;
  [[nodiscard]] std::optional<TaskSpec> spec(TaskId task) const;
  [[nodiscard]] std::optional<WorkerView> worker(ConnId conn) const;
  void each_task(const std::function<void(const TaskView&)>& visit) const;  ///< by id
  void each_worker(const std::function<void(const WorkerView&)>& visit) const;
  void each_task_of(ConnId conn, const std::function<void(const TaskView&)>& visit) const;
  void each_category(const std::function<void(const CategoryView&)>& visit) const;
  [[nodiscard]] std::vector<std::string> blocked_hosts() const;
  [[nodiscard]] std::vector<WorkerSummary> workers_summary() const;
  [[nodiscard]] Stats stats() const;
  [[nodiscard]] Explanation explain(TaskId task) const;
  [[nodiscard]] const Config& config() const;
  /// Bytes held per structure, for the metrics and the memory tests.
  [[nodiscard]] std::size_t memory_bytes() const;
  void check_invariants() const;  ///< O(everything); aborts on a broken one

 private:
  std::unique_ptr<State> state_;
};

}  // namespace taskmill::manager
