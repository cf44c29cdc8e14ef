// A whole manager core with model workers under a virtual clock: no sockets, no processes, millions of tasks in
// seconds.
//
// Model workers keep a cache by name, start tasks whose resources fit, measure and enforce memory, answer requests in
// order after a delay, and suffer the faults that the options ask for. After the fault phase nothing fails any more and
// everything must finish. With `check` the world verifies as it goes: inputs are there and never removed while in use,
// no name is sent twice, no worker is given more than it has, no task lives twice except as an intended copy, every
// task ends exactly once; and the machine checks its invariants after every step. The same seed gives the same trace
// hash.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/base/random.hpp"
#include "manager/core/machine.hpp"

namespace taskmill::testing {

struct SimTask {
  manager::TaskSpec spec;
  Duration duration{std::chrono::seconds(10)};
  double cores = 1;
  std::int64_t memory = 100, disk = 10;
  Duration submit_at{0};
};

struct SimOptions {
  std::uint64_t seed = 1;
  manager::Config config;
  std::uint32_t workers = 4;
  double cores = 4;
  std::int64_t memory = 8000, disk = 16000;
  bool mixed_sizes = false;     ///< half of the workers have half the size
  Duration latency{1000};       ///< each way
  bool jitter = true;           ///< latency towards the manager varies by up to as much again
  bool enforce_memory = false;  ///< a task above its box is stopped with RESOURCE_EXHAUSTION
  bool measure = true;
  double slow_workers = 0;    ///< share of workers on which tasks take ten times as long
  bool peers = false;         ///< workers pass large inputs on
  bool environments = false;  ///< workers unpack "env0", "env1"; otherwise these are inputs of wrapped commands
  // Faults, each until `calm_at`.
  Duration calm_at{0};
  double lose_worker = 0;  ///< chance per finished task that its worker is lost (another one joins)
  double refuse = 0;       ///< chance that a task comes back FORSAKEN
  double fail_stage = 0;   ///< chance that an input cannot be sent
  double miss_output = 0;
  double cancel = 0;  ///< chance per finished task that some other task is cancelled
  double congest = 0;
  double invalidate = 0;
  double fail_peer = 0, silence_peer = 0;  ///< chances per transfer between workers
  double fail_environment = 0;             ///< chance that one cannot be unpacked
  bool check = false;                      ///< verify everything (slow)
  bool describe = true;                    ///< ask for the block of every task, as a real shell does
};

struct SimResult {
  std::uint64_t finished = 0, cancelled = 0, succeeded = 0, dispatched = 0, exhausted_attempts = 0, staged = 0,
                passed_on = 0, environments_from_manager = 0;
  Duration makespan{0};
  double allocated_mb_s = 0, used_mb_s = 0;  ///< memory times time, all attempts
  double allocated_core_s = 0, used_core_s = 0;
  std::uint64_t hash = 0;
  std::uint64_t steps = 0;
  std::vector<std::string> problems;  ///< empty when all checks held
};

class SimWorld {
 public:
  /// Describes task number `index` (from 0) into `task`, whose strings are reused. Called once per task, in order of
  /// submission; submit_at must not fall.
  using Source = std::function<void(std::uint32_t index, SimTask& task)>;
  SimWorld(const SimOptions& options, std::uint32_t count, Source source);
  SimWorld(const SimOptions& options, std::vector<SimTask> tasks);
  SimResult run();
  [[nodiscard]] manager::Machine& machine() { return *machine_; }

 private:
  enum class What : std::uint8_t {
    join,
    submit,
    staged,
    stage_failed,
    started,
    ended,
    results_wanted,
    send_results,
    fetched,
    lost,
    alive,
    uncongest,
    stat,
    peer_done,
    environment_wanted,
    environment_came
  };
  struct Event {
    Time at;
    std::uint64_t order = 0;
    What what{};
    std::uint32_t conn = 0, task = 0, attempt = 0, index = 0, run = 0;
    bool operator<(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
  };
  struct Truth {
    Duration duration{0};
    double cores = 0;
    std::int64_t memory = 0, disk = 0;
  };
  struct Run {  ///< a task at a worker
    std::uint32_t task = 0;
    std::uint32_t attempt = 0;
    Resources box;
    bool started = false, over = false, prefetched = false;
    Time started_at{};
    manager::ResultFacts facts;
    std::vector<std::string> inputs;
    std::uint32_t generation = 0;
  };
  struct Node {
    bool alive = false, slow = false, told = false;
    double cores = 0;
    std::int64_t memory = 0, disk = 0;
    Resources used{0, 0, 0, 0};
    std::vector<Run> runs;  ///< few at a time
    std::vector<std::uint32_t> waiting, results;
    std::unordered_set<std::string> cache, awaited;
    Time out_at{}, in_at{};  ///< keep the order of messages in both directions
  };

  void at(Time when, Event event);
  void to_manager(std::uint32_t conn, Event event);  ///< arrives there after the latency, in order
  Time at_worker(std::uint32_t conn);                ///< when what is sent now arrives there
  void deliver(const Event& event);
  void perform(const manager::Effects& effects);
  void perform(const manager::Action& action, const manager::Effects& effects);
  void join();
  bool submit_next();
  [[nodiscard]] static Run* find_run(Node& node, std::uint32_t task);
  void start_what_fits(std::uint32_t conn);
  void end_run(std::uint32_t conn, std::uint32_t task);
  void lose(std::uint32_t conn);
  void faults_after(std::uint32_t conn);
  // sim_peers.cpp
  [[nodiscard]] static bool has_room(const Node& node, const Resources& box);
  [[nodiscard]] static bool awaits_input(const Node& node, const Run& run);
  void came(std::uint32_t conn, const std::string& name);  ///< an input that was awaited
  void perform_peers(const manager::Action& action, const manager::Effects& effects);
  void deliver_peers(const Event& event);
  void answer_digests(const manager::Effects& effects);
  // sim_environments.cpp
  void declare_environments();
  void offer_environment(std::uint32_t conn, const manager::Action& action, const manager::Effects& effects);
  void order_environment(std::uint32_t conn, const manager::PeerTransfer& transfer);
  void deliver_environments(const Event& event);
  void unpacked(std::uint32_t conn, std::uint32_t number);
  void problem(std::string text);
  void mix(std::uint64_t value);
  [[nodiscard]] bool faulty() const { return now_.time - start_.time < options_.calm_at; }
  [[nodiscard]] bool chance(double p) { return p > 0 && faulty() && random_.uniform() < p; }

  SimOptions options_;
  Source source_;
  std::uint32_t count_ = 0;
  std::vector<Truth> truth_;  ///< by task id - 1
  SimTask next_;
  bool next_filled_ = false;
  Random random_;
  Now start_, now_;
  std::unique_ptr<manager::Machine> machine_;
  std::priority_queue<Event> events_;
  std::deque<Event> soon_;  ///< events that came in order of time: most messages
  [[nodiscard]] const Event* next_event() const;
  Event take_event();
  std::uint64_t next_order_ = 0;
  std::vector<Node> nodes_;
  std::vector<std::uint8_t> ended_;  ///< by task id
  std::vector<std::uint8_t> live_;   ///< copies at workers, by task id
  std::uint32_t submitted_ = 0;
  std::uint32_t generation_ = 0;
  protocol::TaskDescription description_;
  struct Transfer {
    std::uint64_t order = 0;
    std::uint32_t source = 0;
    std::string source_name, name;
  };
  std::vector<Transfer> transfers_;  ///< by Event::index
  SimResult result_;
};

}  // namespace taskmill::testing
