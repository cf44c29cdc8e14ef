// The manager's shell: connections on one side, the machine on the other.
//
//   Hub hub(io, config, events);
//   auto port = hub.start();              // error: one line for the user
//   hub.machine().submit(spec, aio::now()); hub.wake();
//   io.run();                             // reports arrive through `events`
//
// The hub holds no policy. Facts of connections go to the machine; wake() posts one run() for all facts of a turn; its
// effects are performed at once, one gathered write per connection. One timer covers every deadline. Accepting is
// never starved by traffic, and no connection waits for another: transfers move in slices, answers to status
// queries are produced as fast as the client reads, and whatever touches the file system happens on the pool.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/aio/pool.hpp"
#include "common/aio/tls.hpp"
#include "manager/core/machine.hpp"
#include "manager/net/peer.hpp"
#include "manager/net/status_report.hpp"
#include "manager/net/task_text.hpp"

namespace taskmill::manager {

struct HubConfig {
  Config core;
  std::uint64_t seed = 0;  ///< 0: from the system
  std::string address = "0.0.0.0";
  std::uint16_t first_port = 9123;  ///< the first port of the range that can be bound is taken …
  std::uint16_t last_port = 32767;  ///< … equal to first_port: exactly that one
  bool any_port = false;            ///< let the system choose
  bool has_password = false;
  std::string password;
  std::string ssl_cert, ssl_key;  ///< PEM files; both or none
  std::string project;            ///< answered to `name`
  TaskText::Limits text;
  std::uint64_t disk_reserve = 64ULL << 20;  ///< bytes that stay free where outputs are stored
  std::size_t max_connections = 0;           ///< 0: what the limit of open files allows
  unsigned pool_threads = 2;
  std::shared_ptr<EnvironmentLibrary> environments;  ///< null: every worker gets environments as files
  std::shared_ptr<aio::Pace> pace;                   ///< of all transfers together; null: as fast as they can
};

/// What the hub tells its owner. All calls come from the control thread; `effects` is valid during the call.
struct HubEvents {
  /// `text`: standard output of a finished task, null otherwise.
  std::function<void(const Report&, const Effects&, const TaskTextPtr& text)> on_report;
  std::function<void(const Record&, std::string_view text)> on_record;
  std::function<void(NoticeLevel, const std::string&)> on_notice;
  /// One or more lines sent to or received from a peer (debug log); bodies of sent files are not included.
  std::function<void(const Peer&, bool sent, std::string_view)> on_trace;
  /// After each batch of effects (statistics log, progress).
  std::function<void()> on_turn;
};

/// Where the control thread spent its time, microseconds (manager.md 15.1).
struct ShellTimes {
  std::int64_t status_msgs = 0, internal = 0, sending = 0;
};

class Hub final : public PeerOwner {
 public:
  Hub(boost::asio::io_context& io, HubConfig config, HubEvents events);
  ~Hub() override;

  /// Binds, listens and returns the port.
  Expected<std::uint16_t> start();
  /// Runs the machine soon; call it after every change made through machine().
  void wake() override;
  Machine& machine() override { return machine_; }
  [[nodiscard]] const Machine& machine() const { return machine_; }
  aio::Pool& pool() { return pool_; }

  /// Stops accepting; every worker is told to release (it stays alive for other managers) or to exit.
  /// `done` is called when all connections are gone, at the latest after `limit`.
  void shut_down(bool exit_workers, Duration limit, std::function<void()> done);

  StatusIdentity& identity() { return identity_; }
  [[nodiscard]] StatusSource status_source() const;
  [[nodiscard]] Stats stats() const;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] bool uses_tls() const { return ssl_ != nullptr; }
  void note_submitted(TaskId last) { last_task_id_ = std::max(last_task_id_, last.value()); }

 private:
  struct StatusAnswer;
  using PeerPtr = std::unique_ptr<Peer>;

  // PeerOwner
  void store_text(TaskId task, ConnId conn, TaskTextPtr text) override;
  [[nodiscard]] const TaskText::Limits& text_limits() const override { return config_.text; }
  [[nodiscard]] std::uint64_t disk_reserve() const override { return config_.disk_reserve; }
  [[nodiscard]] const std::string& project() const override { return config_.project; }
  [[nodiscard]] protocol::CapabilitySet capabilities() const override;
  void peer_ready(Peer& peer) override;
  void answer_status(Peer& peer, protocol::StatusKind kind) override;
  void answer_http(Peer& peer, std::string_view path) override;
  void peer_closed(Peer& peer, CloseReason reason, const std::string& text) override;
  void environment_reported(const Peer& peer, const pb::EnvironmentReady& ready) override;
  void trace_received(const Peer& peer, std::string_view bytes) override;
  void note(NoticeLevel level, const std::string& text) override;
  void note_refused(const Peer& peer, const std::string& text) override;

  Expected<std::uint16_t> bind();
  void accept_some();
  void pause_accepting(const std::string& why);
  void add_peer(boost::asio::ip::tcp::socket socket);
  void run_machine();
  void perform_actions();
  void perform_stats();
  // hub_transfers.cpp
  void order_transfer(const Action& action, Peer& target);
  void perform_digests();
  void perform_reports();
  TaskTextPtr take_text(TaskId task, ConnId conn);
  void drop_text(TaskId task, ConnId conn);
  void arm_timer();
  void on_timer();
  void end_late_handshakes(Time now);
  void send_answer(ConnId conn);
  void end_stuck_answers(Time now);
  void forget_worker(Peer& peer);
  void check_shut_down();

  boost::asio::io_context& io_;
  HubConfig config_;
  HubEvents events_;
  Machine machine_;
  aio::Pool pool_, downloads_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer timer_, accept_timer_, shut_down_timer_;
  aio::SslContextPtr ssl_;
  std::shared_ptr<Outbound::Context> outbound_context_;
  std::map<ConnId, PeerPtr> peers_;
  std::vector<Peer*> touched_;
  Effects effects_;
  std::unordered_map<TaskId, std::vector<std::pair<ConnId, TaskTextPtr>>> texts_;
  std::deque<std::pair<Time, ConnId>> handshakes_;  ///< not ready yet, by deadline
  std::map<ConnId, std::unique_ptr<StatusAnswer>> answers_;
  StatusIdentity identity_;
  ShellTimes times_;
  EnvironmentCounts environments_;
  Time started_;
  std::optional<Time> armed_;
  std::function<void()> shut_down_done_;
  std::set<std::string> refused_hosts_;
  std::uint32_t next_conn_ = 1;
  std::uint32_t last_task_id_ = 0;
  std::uint16_t port_ = 0;
  bool run_posted_ = false;
  bool accepting_paused_ = false;
};

}  // namespace taskmill::manager
