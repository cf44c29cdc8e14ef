// The worker's brain: what it knows of tasks, cache and resources, and what to do next. Pure: facts and the time come
// in, effects go out; no files, no processes, no clock.
//
// The shell (net/worker) reports every message and every finished effect as a fact, then calls run(), performs the
// effects, and calls run() again at next_deadline(). Within a session tasks live in slots by key; `kill` or the end of
// the session makes a slot unknown by id at once, and it disappears when its process is reaped.
//
// Invariants: a slot holds a claim iff it is staging, running or dying; results are offered to the manager once
// (available_results) per exchange and never inside one (wire 10.1); status 40 has no output (wire 10.4).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/time.hpp"
#include "worker/core/cache_index.hpp"
#include "worker/core/effects.hpp"
#include "worker/core/hello.hpp"
#include "worker/core/ledger.hpp"
#include "worker/core/lifecycle.hpp"
#include "worker/core/task_slot.hpp"

namespace taskmill::worker {

struct MachineConfig {
  LifecycleConfig life;
  Identity identity;
  Resources offered;              ///< at start, all set
  std::int64_t disk_promise = 0;  ///< MB of --disk; 0: none given
  std::int64_t disk_granted = 0;  ///< MB that a batch system lets us use, however much is free; 0: it says nothing
  std::int64_t disk_reserve = 0;  ///< MB that are kept free by taking unused files out of the cache
  Duration idle_timeout = std::chrono::seconds(900);
  Duration fetch_limit = std::chrono::hours(1);
  Duration watch_interval = std::chrono::seconds(1);
  Duration term_grace = std::chrono::seconds(2);  ///< between SIGTERM and SIGKILL when a limit is passed
  /// While other tasks wait here for their turn, nobody is idle for want of news: pushed results are gathered so long.
  Duration gather_time = std::chrono::milliseconds(2);
  std::size_t parallel_fetches = 4;
  std::string workspace;  ///< for messages
};

/// What the host reports about an ended task.
struct TaskExit {
  int wait_status = 0;
  std::uint64_t output_length = 0;
  bool has_output = false;
  struct Output {
    std::size_t index = 0;  ///< in description.outputs
    bool directory = false;
    unsigned mode = 0644;
    std::uint64_t size = 0;
    std::uint64_t entries = 1;
  };
  std::vector<Output> outputs;       ///< moved into the cache
  std::vector<std::string> spoiled;  ///< cached inputs the task has changed: not to be used again
  std::string extra;                 ///< tokens for the result line
  // Of tasks that came in a batch:
  std::string output_name;       ///< the cache has the captured output under this name
  std::uint64_t push_bytes = 0;  ///< captured output and outputs that are not in the cache
};

class Machine {
 public:
  Machine(MachineConfig config, Time start);

  // --- session ---
  void on_session_started(const std::string& manager, int version, Now now, Effects& effects);
  void on_session_ended(SessionEnd end, Time now, Effects& effects);
  void on_heard(Time now) { last_heard_ = now; }  ///< any bytes from the manager

  // --- messages ---
  void on_task(protocol::TaskDescription task, Now now, Effects& effects);
  /// Tasks that came in a batch: their results are pushed, and go on being kept until acknowledged.
  void on_batch(std::vector<protocol::TaskDescription> tasks, std::uint64_t unacknowledged_limit, Now now,
                Effects& effects);
  /// False: nothing with this number was pushed.
  bool on_acknowledged(std::uint64_t sequence, Time now, Effects& effects);
  void on_kill(std::int64_t task_id, Time now, Effects& effects);
  void on_check(Effects& effects);
  void on_results_requested();                     ///< the request has arrived…
  void answer_results(Now now, Effects& effects);  ///< …and it is its turn to be answered
  void on_recipe(CacheSource source, std::string_view name, std::string_view text, unsigned mode, bool at_once,
                 Time now, Effects& effects);
  void on_stored(std::string_view name, bool directory, unsigned mode, std::uint64_t size, std::uint64_t entries,
                 Time now);
  void on_store_failed(std::string_view name, const std::string& why, Time now, Effects& effects);
  /// This object will come, by on_stored(), on_store_failed() or on_arrived(): tasks that name it wait for it.
  void on_awaited(std::string_view name, Time now);
  /// An awaited object is complete. False: nobody awaits it (any more), it is not to be kept.
  bool on_arrived(std::string_view name, bool directory, unsigned mode, std::uint64_t size, std::uint64_t entries,
                  Time now);
  void on_unlink(std::string_view name, Time now, Effects& effects);
  /// An environment is on its way: tasks may name it from now on, and wait for it without resources.
  void on_environment_offered(const std::string& digest, Time now);
  void on_environment_ready(const std::string& digest, Time now);
  /// Tasks that wait for it, or name it later, are given back.
  void on_environment_failed(const std::string& digest, Time now);
  /// It had to make room: a task that still names it is given back. Only when no task here names it.
  void on_environment_evicted(const std::string& digest);
  [[nodiscard]] bool uses_environment(const std::string& digest) const;
  void on_work(Time now) { life_.on_work(now); }

  // --- what became of effects ---
  /// The sandbox is ready and the process runs.
  void on_started(TaskKey key, Now now, Effects& effects);
  /// The task will not run: an input is not there (empty text) or it could not be prepared.
  void on_start_failed(TaskKey key, int status, int exit_code, const std::string& text, Time now, Effects& effects);
  void on_exited(TaskKey key, TaskExit exit, Now now, Effects& effects);
  /// A measured limit (memory, disk, processes) was passed: the task is killed at once, since it grows while one waits,
  /// and reported as exhausted.
  void on_limit_passed(TaskKey key, Effects& effects);
  void on_fetched(std::uint64_t fetch_id, bool ok, bool directory, std::uint64_t size, std::uint64_t entries,
                  std::uint64_t duration_us, const std::string& text, Time now, Effects& effects);
  void on_watch_size(TaskKey key, std::size_t watch, std::uint64_t size, Time now);
  void on_disk_measured(std::int64_t free_mb, Time now, Effects& effects);

  /// Deadlines that passed, then whatever can start, then notices.
  void run(Now now, Effects& effects);
  [[nodiscard]] std::optional<Time> next_deadline() const;

  // --- looking in ---
  TaskSlot* slot(TaskKey key);
  [[nodiscard]] bool in_session() const { return in_session_; }
  [[nodiscard]] int version() const { return version_; }
  [[nodiscard]] std::size_t running() const { return running_; }
  [[nodiscard]] std::size_t known_tasks() const { return by_id_.size(); }
  [[nodiscard]] std::size_t living() const { return processes_; }  ///< processes not yet reaped
  CacheIndex& cache() { return cache_; }
  Lifecycle& life() { return life_; }
  [[nodiscard]] const Ledger& ledger() const { return ledger_; }
  [[nodiscard]] const MachineConfig& config() const { return config_; }
  Identity& identity() { return config_.identity; }
  /// So many function calls at a time; `name` of the library that answers them.
  void on_coprocesses(std::int64_t count, const std::string& name);
  void check_invariants() const;

 private:
  using Slots = std::unordered_map<TaskKey, std::unique_ptr<TaskSlot>>;

  // machine_push.cpp
  void push_results(Time now, Effects& effects);
  [[nodiscard]] bool push_is_due(Time now) const;

  // machine_tasks.cpp
  void take(protocol::TaskDescription task, bool pushed, Now now, Effects& effects);
  bool admit(TaskSlot& slot);
  void await_inputs(TaskSlot& slot, Time now, Effects& effects);
  void make_ready(TaskSlot& slot);
  [[nodiscard]] TaskKey first_that_fits() const;
  void withdraw(TaskSlot& slot);
  void start_ready(Now now, Effects& effects);
  void refuse(TaskSlot& slot);
  void refuse_users_of(const std::string& name, Effects& effects);
  void complete(TaskSlot& slot, TaskResult result);
  void drop(TaskSlot& slot, Effects& effects);
  void forget_id(const TaskSlot& slot);
  [[nodiscard]] bool inputs_present(const TaskSlot& slot, std::string& missing) const;
  void release(TaskSlot& slot);
  void act_on_limits(Now now, Effects& effects);
  void set_limit(TaskSlot& slot, Now now);

  // machine_environments.cpp
  bool await_environment(TaskSlot& slot);
  [[nodiscard]] bool awaits_any_environment() const;

  // machine_cache.cpp
  void start_fetch(const std::string& name, CacheEntry& entry, Time now, Effects& effects);
  void pump_fetches(Time now, Effects& effects);
  void act_on_fetch_limits(Time now, Effects& effects);
  void keep(std::string_view name, CacheSource source, bool directory, unsigned mode, std::uint64_t size,
            std::uint64_t entries);
  void fetch_done(CacheEntry& entry, bool ok, const std::string& text);
  void end_waiting(const std::vector<TaskKey>& waiting, bool ok, const std::string& text);

  // machine_eviction.cpp
  /// Takes files out of the cache that no task here needs, least recently used first, until `bytes` are freed. Returns
  /// how many were.
  std::uint64_t make_room(std::uint64_t bytes, Effects& effects);
  [[nodiscard]] bool needs_evicted(const TaskSlot& slot) const;

  // machine.cpp
  void check_idle(Now now, Effects& effects);
  void notify(Time now, Effects& effects);
  void tell_running(Time now, Effects& effects);
  void leave(SessionEnd end, std::string reason, Effects& effects);
  void update_offer(Resources offered, Effects& effects);
  bool watch_news() const;
  void check_cache_size(Effects& effects);
  [[nodiscard]] std::optional<std::int64_t> disk_allowed() const;
  [[nodiscard]] std::int64_t used_disk() const;

  MachineConfig config_;
  Lifecycle life_;
  Ledger ledger_;
  CacheIndex cache_;
  std::set<std::string, std::less<>> evicted_;  ///< the manager may not know it yet

  Slots slots_;
  std::unordered_map<std::int64_t, TaskKey> by_id_;
  TaskKey next_key_ = 1;
  /// Ready tasks by what they need; first come first served among those that fit.
  std::map<Allocation, std::set<TaskKey>> ready_;
  std::size_t ready_count_ = 0;
  std::deque<TaskKey> finished_;  ///< complete, in order of completion
  std::set<std::pair<Time, TaskKey>> limits_;
  std::set<TaskKey> watching_;
  std::size_t running_ = 0;    ///< known by id and with a process (or being staged)
  std::size_t processes_ = 0;  ///< with a process, dying ones included
  std::int64_t last_task_ = 0;

  // Results that are pushed.
  struct Unacknowledged {
    std::uint64_t sequence = 0, bytes = 0;
    std::vector<TaskKey> tasks;
  };
  std::deque<TaskKey> to_push_;
  std::optional<Time> push_by_;  ///< when the oldest of them leaves at the latest
  std::deque<Unacknowledged> unacknowledged_;
  std::uint64_t unacknowledged_bytes_ = 0, push_limit_ = 0, push_sequence_ = 0;

  struct Fetch {
    std::string name;
    Time limit{};
  };
  std::map<std::uint64_t, Fetch> fetches_;  ///< running
  std::deque<std::string> fetch_queue_;
  std::uint64_t next_fetch_ = 1;

  struct EnvironmentEntry {
    enum class State : std::uint8_t { coming, ready, failed } state = State::coming;
    std::vector<TaskKey> waiting;
  };
  std::map<std::string, EnvironmentEntry> environments_;  ///< offered in this session, by digest

  bool in_session_ = false;
  int version_ = 11;
  Time last_heard_{};
  unsigned results_wanted_ = 0;  ///< send_results not yet answered
  bool notice_sent_ = false;     ///< available_results since the last answer
  bool running_changed_ = false;
  Time running_told_{};  ///< when the manager heard how many run
  bool offer_changed_ = false;
  bool watch_dirty_ = false;
  Time watch_not_before_{};
};

}  // namespace taskmill::worker
