// Everything the machine knows, and its reactions, in files by subject:
//
//   react_task.cpp     submitted, cancelled, returned to the queue, finished
//   react_worker.cpp   connected, introduced, lost, drained, blocked
//   react_file.cpp     looked at, staged, invalidated, copies at workers
//   react_result.cpp   result, outputs fetched, learning, what comes next
//   react_environment.cpp  software environments
//   kept_outputs.cpp  outputs that stay at the worker that made them
//   shared_inputs.cpp  large cached inputs that workers pass on
//   dispatch.cpp       a task goes to a worker; the description it gets
//   matcher.cpp        which task goes to which worker
//   slow_tasks.cpp     fast abort and second copies
//   deadlines.cpp      keepalive, transfer limits, expiry
//   records.cpp        lines of the transactions log
//   views.cpp, statistics.cpp, explain.cpp, invariants.cpp
//
// Internal to manager/core; users include machine.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "common/base/random.hpp"
#include "manager/core/capacity.hpp"
#include "manager/core/category.hpp"
#include "manager/core/config.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/file_table.hpp"
#include "manager/core/machine.hpp"
#include "manager/core/ready_queue.hpp"
#include "manager/core/shared_inputs.hpp"
#include "manager/core/slab.hpp"
#include "manager/core/spec_table.hpp"
#include "manager/core/task_table.hpp"
#include "manager/core/timers.hpp"
#include "manager/core/worker_table.hpp"

namespace taskmill::manager {

/// So many names are kept of factories whose workers have all left.
constexpr std::size_t most_idle_factories = 1000;

struct Factory {
  std::string name;
  std::int64_t max = -1;  ///< negative: not known, no limit
  std::uint32_t connected = 0;
};

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return hash_bytes(text); }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

/// Workers that may take something, in the orders the algorithms want.
struct MatcherState {
  std::vector<std::uint32_t> freed;                            ///< got room (or joined) since the last matching
  std::vector<std::uint32_t> available;                        ///< settled workers with room
  std::set<std::pair<std::int64_t, std::uint32_t>> by_speed;   ///< of `available`
  std::set<RoomKey> by_room;                                   ///< negated, most free first
  bool use_room = false;                                       ///< WORST was asked for once
  std::vector<std::pair<ConnId, std::uint32_t>> reservations;  ///< worker, shape
  std::size_t hint = 0;                                        ///< where FCFS found room last
  std::vector<std::uint32_t> scratch;
};

struct State {
  State(const Config& c, std::uint64_t seed, Now now);

  // --- data ---
  Config config;
  Random random;
  Now now;  ///< of the fact being handled
  Effects out;
  Slab<TaskRecord, 12> tasks;
  IdMap ids;
  Slab<History, 8> histories;
  Slab<Attempt, 8> attempts;
  FileTable files;
  SharedInputs shared;
  SpecTable specs{files};
  ReadyQueue ready{tasks};
  std::deque<Category> categories;
  StringMap<std::uint32_t> category_names;
  std::vector<std::vector<std::string>> feature_sets{{}};  ///< sorted; set 0 is empty
  std::map<std::vector<std::string>, std::uint32_t> feature_set_ids;
  std::vector<EnvironmentPlan> environments;
  StringMap<std::uint32_t> environment_names;                                    ///< the latest plan of each name
  std::unordered_map<std::uint32_t, std::vector<TaskId>> expected_environments;  ///< not declared yet; who waits
  Slab<Worker, 6> workers;
  IdMap conns;
  std::vector<WorkerType> types;
  std::deque<Factory> factories;
  StringMap<std::uint32_t> factory_names;
  std::map<std::string, std::optional<Time>, std::less<>> blocked;  ///< host -> end of the block
  std::set<std::string, std::less<>> drained_hosts;
  MatcherState match;
  Timers timers;
  std::vector<std::uint32_t> zombies;   ///< slots of tasks that ended since the last run
  std::vector<std::uint32_t> reported;  ///< … that were reported by it; released by the next one
  std::vector<Shape::HeapEntry> arrivals;
  std::uint32_t next_task_id = 1, next_serial = 1, next_number = 1;
  std::uint64_t box_epoch = 1;  ///< raised when boxes of all shapes may differ
  Resources largest;            ///< of the connected workers, resource by resource; negative: none
  Resources largest_request;    ///< ever submitted
  bool largest_stale = false;
  bool large_task_armed = false;
  FileId monitor_program;

  // counters
  Stats counters;
  Capacity capacity;
  std::uint64_t waiting = 0, running = 0, retrieving = 0, connected_workers = 0;
  Four waiting_sum{};
  Box sum_total, sum_in_use;
  std::int64_t transfer_bytes = 0, transfer_us = 0;
  std::uint64_t running_copies = 0;

  // --- react_task.cpp ---
  Expected<TaskId> submit(const TaskSpec& spec, std::size_t count);
  bool cancel(std::uint32_t task);
  /// A stat or an environment that the task has waited for is there.
  void one_less_to_wait_for(TaskId id);
  void enter_ready(std::uint32_t task);  ///< new or returned: files, delay, queue
  void enqueue(std::uint32_t task);
  void admit_arrivals();
  void leave_ready(std::uint32_t task);  ///< from wherever READY tasks are
  void requeue(std::uint32_t task, RequeueReason why);
  void finish(std::uint32_t task, protocol::ResultCode result, std::string message);
  void bury(std::uint32_t task, ReportKind kind);
  void drop_zombies();
  std::uint32_t category_index(std::string_view name);
  std::uint32_t feature_set(const TaskSpec& spec);
  History& history_of(std::uint32_t task);
  [[nodiscard]] SpecView spec_of(const TaskRecord& task) const { return specs[task.spec]; }
  Category& category_of(const TaskRecord& task) { return categories[spec_of(task)->category]; }
  void set_shape(std::uint32_t task, Label label, const Resources& prediction);
  [[nodiscard]] bool expired(const TaskRecord& task) const;
  void count_waiting(const TaskRecord& task, bool enters);

  // --- react_file.cpp ---
  void want_stat(FileId file, TaskId waiter, std::uint32_t& pending);
  void on_stat(FileId file, const StatResult& result);
  /// The name under which the worker has (or now gets) the input; stages it if needed. False: cannot be named.
  RemoteName use_input(std::uint32_t worker, std::uint32_t attempt, FileId file, std::string_view remote);
  /// On whose behalf an input is sent.
  struct Asker {
    std::uint32_t serial = 0;  ///< attempt
    TaskId task;
  };
  void stage(std::uint32_t worker, FileId file, std::uint32_t number, std::string_view remote, const Asker& asker);
  void hold(std::uint32_t worker, FileId file, std::uint32_t number, std::uint32_t version, bool in_flight);
  void forget_copy(std::uint32_t worker, FileId file);  ///< entry and holder, without unlink
  void retire_copy(std::uint32_t worker, FileId file);  ///< unlinked now, or when its last user ends
  void release_records(Worker& worker);                 ///< that it keeps alive besides copies
  void done_with_inputs(std::uint32_t attempt, bool unlink_uncached);
  void unlink_name(std::uint32_t worker, RemoteName name, std::string_view path = {});
  [[nodiscard]] std::string_view name_text(RemoteName name, std::string_view path);  ///< in a scratch buffer
  void on_staged(std::uint32_t worker, const StageDone& done);
  void on_stage_failed(std::uint32_t worker, const StageError& error);
  void fail_users(std::uint32_t worker, const Staging& staging, const StageError& error);
  std::size_t invalidate(FileId file);
  [[nodiscard]] FileId resolve(FileId file, const Worker& worker);
  std::string scratch_name;

  // --- react_environment.cpp ---
  /// 1 + number of the plan, 0: it needs none; nothing: not declared.
  [[nodiscard]] std::optional<std::uint32_t> environment_index(const TaskSpec& spec) const;
  /// It is not there yet: the task will hear of it.
  [[nodiscard]] bool await_environment(std::uint32_t task);
  void use_environment(std::uint32_t attempt);
  void describe_environment(const Attempt& attempt, std::size_t outputs, protocol::TaskDescription& d);
  void wrap_for_environment(const Attempt& attempt, std::string& command) const;
  [[nodiscard]] std::vector<std::uint32_t> users_of_environment(std::uint32_t worker, FileId file) const;
  void environment_came(std::uint32_t worker, FileId file);
  void environment_failed(std::uint32_t worker, FileId file, const EnvironmentFacts& facts);

  // --- kept_outputs.cpp ---
  [[nodiscard]] bool may_keep(const Attempt& attempt, const PackedOutput& output) const;
  void keep_output(std::uint32_t attempt, const PackedOutput& output, std::uint32_t number);
  bool fetch_kept(FileId file);
  void on_kept_fetched(std::uint32_t worker, const Fetched& fetched);
  void report_kept(FileId file, ReportKind kind);  ///< and it counts as kept no longer

  // --- shared_inputs.cpp ---
  using WishAt = std::map<std::pair<std::uint32_t, ObjectId>, SharedWish>::iterator;
  [[nodiscard]] ObjectId shared_object(std::uint32_t worker, FileId file);
  /// The worker gets a copy of this cached input: from the manager now, or as the plan of transfers says.
  void stage_copy(std::uint32_t worker, std::uint32_t attempt, FileId file, std::uint32_t number,
                  std::string_view remote);
  void ask_digest(ObjectId object, const SharedInput& input);
  void on_digest(ObjectId object, const DigestResult& result);
  void run_shared();
  void give_order(const PeerOrder& order);
  WishAt wish_for(std::uint32_t worker, std::uint32_t file, std::uint32_t number);
  void drop_wish(WishAt wish);
  void drop_object_if_unused(ObjectId object);
  void shared_copy_sent(std::uint32_t worker, const Staging& staging, const StageDone& done);
  void shared_copy_failed(std::uint32_t worker, const Staging& staging);
  void on_peer_done(std::uint32_t worker, const PeerOutcome& outcome);
  void begin_waiting_attempts(std::uint32_t worker, RemoteName name);
  void share_lost(std::uint32_t worker, std::uint32_t file, std::uint32_t version);
  // shared_environments.cpp
  void share_environment(ObjectId object, SharedInput& input);
  void wish_environment(std::uint32_t worker, FileId file, const std::string& digest, std::uint64_t missing_bytes);
  void order_environment(const PeerOrder& order, const SharedInput& input);
  void shared_environment_came(std::uint32_t worker, FileId file, bool serves);
  void join_shared(std::uint32_t worker);
  void leave_shared(std::uint32_t worker);

  // --- react_worker.cpp ---
  std::uint32_t worker_slot(ConnId conn) const { return conn.valid() ? conns.find(conn.value()) : no_index; }
  Worker* worker_of(ConnId conn);
  void add_feature(std::uint32_t worker, std::string_view feature);
  void commit_resources(std::uint32_t worker);
  void introduce(std::uint32_t worker);
  void join_factory(std::uint32_t worker, std::string_view name);
  void remove_worker(std::uint32_t worker, CloseReason reason);
  void close_worker(std::uint32_t worker, CloseReason reason);  ///< with a close action
  void tell_exit(std::uint32_t worker, bool release);
  void leave_if_idle(std::uint32_t worker);
  void freed(std::uint32_t worker);
  void refresh_largest();
  std::uint32_t type_of(const Box& largest_box, const Box& total);
  [[nodiscard]] bool is_blocked(const Worker& worker) const;
  [[nodiscard]] bool has_features(Worker& worker, std::uint32_t set);
  void block(std::string_view host, std::optional<Duration> timeout);
  void unpark_all();
  void take_box(Attempt& attempt);
  void give_box(Attempt& attempt);
  void promote_prefetched(std::uint32_t worker);

  // --- dispatch.cpp ---
  void dispatch(std::uint32_t task, std::uint32_t worker, const Box& box, bool prefetch, bool copy = false);
  bool describe(ConnId conn, TaskId task, std::uint32_t serial, protocol::TaskDescription& d);
  void use_monitor(std::uint32_t attempt);
  [[nodiscard]] bool wraps(const Worker& worker, const SpecView& spec) const;
  std::uint32_t find_attempt(TaskId task, ConnId conn, std::uint32_t serial) const;
  std::uint32_t find_attempt(TaskId task, ConnId conn) const;
  Action& act(ActionKind kind, const Worker& worker);
  void end_attempt(std::uint32_t attempt);  ///< unlinks it from everything; names must be dealt with before
  void abandon(std::uint32_t attempt);      ///< kill, unlink inputs and outputs, end
  void stop_running(Attempt& attempt);      ///< leaves the category's list of running attempts

  // --- matcher.cpp ---
  void run_matching();
  [[nodiscard]] bool accepts(const Worker& worker) const;
  [[nodiscard]] const Box& box_at(std::uint32_t shape, const Worker& worker);
  [[nodiscard]] bool shape_fits(std::uint32_t shape, std::uint32_t worker, Box& box);
  [[nodiscard]] bool suits(const TaskRecord& task, const Worker& worker) const;
  [[nodiscard]] std::uint32_t pick_task(std::uint32_t shape, std::uint32_t worker);
  [[nodiscard]] std::uint32_t choose_settled(std::uint32_t shape, std::uint32_t avoid = no_index);
  [[nodiscard]] std::uint32_t choose_freed(std::uint32_t shape);
  [[nodiscard]] std::uint32_t choose_holder(std::uint32_t shape, std::uint32_t task);
  [[nodiscard]] std::uint64_t bytes_held(const TaskRecord& task, const Worker& worker, std::uint64_t* total) const;
  bool offer_shape(std::uint32_t shape);
  void settle(std::uint32_t worker);
  void unsettle(std::uint32_t worker);
  void resettle(std::uint32_t worker);
  void add_room(std::uint32_t worker);
  [[nodiscard]] bool has_room(const Worker& worker) const;
  [[nodiscard]] bool category_full(std::uint32_t shape) const;
  void prefetch();
  [[nodiscard]] std::uint32_t next_in_line(Worker& worker);
  [[nodiscard]] static bool is_no_larger(const Box& box, const Worker& worker);
  [[nodiscard]] std::uint32_t prefetch_depth(const Worker& worker, const Category& category) const;
  [[nodiscard]] bool reserved_against(const Worker& worker, std::uint32_t shape) const;
  void reserve(std::uint32_t shape);
  void review_reservations();
  void end_reservation(std::uint32_t shape);
  [[nodiscard]] Algorithm algorithm_of(const Shape& shape) const;
  [[nodiscard]] BoxRules rules(const Worker& worker) const;
  Box compute_box(const Shape& shape, const Box& largest_box, const BoxRules& r, const Box& in_use);
  [[nodiscard]] bool ramping_down() const;
  [[nodiscard]] bool hopeless(std::uint32_t shape);
  [[nodiscard]] std::uint64_t label_epoch(const Category& category) const {
    return (box_epoch << 32U) | (category.epoch() + 1);
  }
  [[nodiscard]] bool fits_some_type(std::uint32_t shape, std::array<bool, 4>* short_of = nullptr);

  // --- react_result.cpp ---
  void on_result(std::uint32_t worker, const ResultFacts& facts);
  void begin_retrieval(std::uint32_t attempt, const std::vector<Fetched>& pushed);
  void take_fetched(std::uint32_t attempt, const Fetched& fetched);
  [[nodiscard]] std::uint32_t expected_attempt(ConnId conn, const ResultFacts& facts) const;
  [[nodiscard]] std::string pushed_target(ConnId conn, const ResultFacts& facts, std::uint32_t output) const;
  void on_fetched(std::uint32_t worker, const Fetched& fetched);
  void complete(std::uint32_t attempt);
  static void note_limit(Attempt& attempt, const std::string& text);
  void after_exhaustion(std::uint32_t task, const Measurement& measured, const Resources& allocated,
                        std::string message);
  void fill_outcome(std::uint32_t attempt);
  [[nodiscard]] std::uint32_t primary_of(const TaskRecord& task) const { return task.attempt; }
  void learn(Category& category, const Measurement& measured, protocol::ResultCode code);

  // --- slow_tasks.cpp ---
  void arm_slow_watch(std::uint32_t category);
  void watch_slow(std::uint32_t category);
  [[nodiscard]] std::optional<Duration> abort_threshold(const Category& category) const;
  [[nodiscard]] std::optional<Duration> copy_threshold(const Category& category) const;
  void fast_abort(std::uint32_t attempt);
  bool start_copy(std::uint32_t attempt);

  // --- deadlines.cpp ---
  void run_timers();
  void arm_worker(std::uint32_t worker);
  void check_worker(std::uint32_t worker);
  [[nodiscard]] Time worker_due(const Worker& worker) const;
  [[nodiscard]] Duration transfer_limit(const Worker& worker, std::uint64_t bytes) const;
  void check_large_tasks();
  void arm_large_tasks();
  void expect_reply(Worker& worker);
  void reply_came(Worker& worker, bool complete);

  // --- records.cpp ---
  void record_task(std::uint32_t task, std::string_view state, std::uint32_t attempt = no_index);
  void record_task_end(std::uint32_t task, std::string_view state, const TaskOutcome& outcome);
  void record_waiting(std::uint32_t task);
  void record_worker(const Worker& worker, std::string_view text);
  void record_resources(const Worker& worker);
  void record_category(const Category& category);
  void record_transfer(bool input, TaskId task, bool cached, std::uint64_t bytes, Duration time,
                       std::string_view remote);
  void add_record(RecordKind kind, TaskId task, std::string_view text);
  void notice(NoticeLevel level, std::string_view text);
  Resources waiting_label(const TaskRecord& task);

  // --- views.cpp, statistics.cpp, explain.cpp ---
  TaskView view_task(std::uint32_t task) const;
  WorkerView view_worker(std::uint32_t worker) const;
  CategoryView view_category(std::uint32_t category) const;
  Stats stats() const;
  Explanation explain(std::uint32_t task);
  [[nodiscard]] bool hungry() const;
  std::vector<WorkerSummary> workers_summary() const;
  std::size_t memory_bytes() const;
  void check_invariants() const;
  [[nodiscard]] Resources largest_type() const;
};

/// `{"memory":[100,"MB"],…}` in the order of manager.md 16.2; only specified fields.
std::string resources_json(const Resources& resources);
std::string measurement_json(const Measurement& measured);
/// "3", "0.9": shortest form of a number as the logs print it.
std::string number_text(double value);

}  // namespace taskmill::manager
