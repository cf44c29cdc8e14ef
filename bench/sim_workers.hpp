// Many workers that cost nothing: one epoll loop, each task "runs" in no time.
//
// They speak the text protocol (9 or 11) over real loopback sockets, so that what is measured is the manager.
// Bodies of inputs are dropped inside the kernel (MSG_TRUNC); requested outputs are zeros. The measured interval
// is from the first task received to the last result asked for.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/aio/tls.hpp"
#include "common/os/fd.hpp"

namespace taskmill::bench {

struct SimWorkersConfig {
  int port = 0;
  int workers = 1;
  int cores = 1;
  int version = 11;
  bool finish_tasks = true;        ///< false: a task received runs for ever
  std::uint64_t output_bytes = 0;  ///< length of every file asked for with `get`
  double round_trip_s = 0;         ///< every answer is held back this long
  std::uint64_t deaf_above = 0;    ///< a worker that is sent a longer input stops reading for ever; 0: none
  std::uint64_t stop_after = 0;    ///< tasks; 0: until the time is over
  std::uint64_t hold_until = 0;    ///< nobody finishes before that many tasks have arrived, then all do at once
  std::string feature{};           ///< announced by every worker
  std::string password{};          ///< not empty: the exchange of passwords comes first
  bool tls = false;
};

class SimWorkers {
 public:
  explicit SimWorkers(SimWorkersConfig config);
  ~SimWorkers();
  SimWorkers(const SimWorkers&) = delete;
  SimWorkers& operator=(const SimWorkers&) = delete;

  /// Starts all connections at once.
  void connect();
  /// Turns the loop until stop_after tasks are done, `done()` says so, everyone was dropped, or the time is over.
  void run(double seconds, const std::function<bool()>& done = {});

  [[nodiscard]] std::uint64_t tasks_received() const { return received_; }
  [[nodiscard]] std::uint64_t tasks_done() const { return done_; }
  [[nodiscard]] std::uint64_t bytes_in() const { return bytes_in_; }
  [[nodiscard]] std::uint64_t bytes_out() const { return bytes_out_; }
  /// Workers that have received a task: the manager has registered them.
  [[nodiscard]] int workers_served() const { return served_; }
  [[nodiscard]] int connected() const { return connected_; }
  [[nodiscard]] double first_task_s() const { return first_task_; }
  [[nodiscard]] double last_done_s() const { return last_done_; }
  /// Called at the first task, to sample the manager's CPU clock there.
  std::function<void()> on_first_task;
  /// Seconds between the announcement of a result and the next task on the same worker.
  [[nodiscard]] const std::vector<double>& turnarounds() const { return turnarounds_; }
  [[nodiscard]] int deaf() const { return deaf_; }
  /// When each task arrived.
  [[nodiscard]] const std::vector<double>& arrivals() const { return arrivals_; }
  /// When the tasks held back by hold_until were finished; 0 before.
  [[nodiscard]] double released_s() const { return released_at_; }
  /// When everybody started connecting.
  [[nodiscard]] double connect_s() const { return connect_at_; }

 private:
  struct Peer;
  void handle(Peer& peer, std::uint32_t events);
  bool secure(Peer& peer);  ///< false: the TLS handshake needs more, or failed
  void receive(Peer& peer);
  void consume(Peer& peer);
  bool line(Peer& peer, std::string_view text);
  bool task_line(Peer& peer, std::string_view verb, std::string_view rest);
  bool greet(Peer& peer, std::string_view text);
  void finish_task(Peer& peer);
  void announce(Peer& peer);
  void release_all();
  void answer_results(Peer& peer);
  void answer_get(Peer& peer, std::string_view name);
  void answer(Peer& peer);
  void release_held();
  void send(Peer& peer);
  void drop(Peer& peer);

  SimWorkersConfig config_;
  os::UniqueFd epoll_;
  std::vector<std::unique_ptr<Peer>> peers_;
  struct Held;
  std::deque<Held> held_;  ///< answers on their way, oldest first
  std::vector<char> buffer_;
  std::string zeros_;
  std::uint64_t received_ = 0, done_ = 0, bytes_in_ = 0, bytes_out_ = 0;
  int served_ = 0, connected_ = 0, deaf_ = 0;
  double first_task_ = 0, last_done_ = 0, connect_at_ = 0, released_at_ = 0;
  aio::SslContextPtr tls_;
  std::vector<double> turnarounds_, arrivals_;
};

}  // namespace taskmill::bench
