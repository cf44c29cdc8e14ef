// The worker as a whole: finds managers, holds one session at a time, lets the machine decide and performs what it
// wants.
//
// run() returns the exit status. Everything happens on one thread that never blocks; it ends when the life cycle says
// so, on a signal, or when the parent process is gone, and leaves no process and no file behind.
#pragma once

#include <signal.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/aio/tls.hpp"
#include "worker/net/context.hpp"
#include "worker/net/coprocesses.hpp"
#include "worker/net/environments.hpp"
#include "worker/net/fetcher.hpp"
#include "worker/net/link.hpp"
#include "worker/net/measuring.hpp"
#include "worker/net/peers.hpp"
#include "worker/net/pusher.hpp"
#include "worker/net/replies.hpp"
#include "worker/net/seeker.hpp"
#include "worker/net/task_runner.hpp"

namespace taskmill::worker {

/// Signals that end the worker in good order. The program holds them back (blocked) while it prepares; run() lets them
/// through once it can act on them, so that none finds a half-made workspace.
inline constexpr std::array<int, 6> ending_signals = {SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP};
void block_ending_signals(bool block);

struct WorkerSettings {
  MachineConfig machine;
  std::vector<HostPort> hosts;  ///< or:
  std::string project;          ///< look for it in the catalog
  std::string catalogs;
  catalog::ConnectionMode connection_mode = catalog::ConnectionMode::unset;
  bool ssl = false;
  aio::ClientTlsOptions tls;
  std::optional<std::string> password;
  int fixed_version = 0;  ///< 0: find out
  bool parent_death = false;
  bool symlinks = true;
  double volatility = 0;
  std::string task_wrapper;
  bool direct_start = true;
  LimitPolicy limits;
  std::string coprocess;  ///< shell command of the library, empty: none
  std::size_t coprocesses = 1;
  EnvironmentSettings environments;
  protocol::CapabilitySet capabilities;  ///< announced to native managers
  std::uint64_t seed = 1;
  std::vector<std::string> environment;
  std::vector<std::string> gpus;  ///< what CUDA_VISIBLE_DEVICES calls them
};

class Worker : public LinkEvents {
 public:
  Worker(boost::asio::io_context& io, Log& log, Workspace& space, WorkerSettings settings);
  ~Worker() override;
  /// Empty, or why it cannot start.
  std::string prepare();
  int run();
  [[nodiscard]] bool had_session() const { return had_session_; }

 private:
  // worker.cpp: turns, timers, the end
  void wake();
  void turn();
  void perform(Effects& effects);
  void remove_from_cache(const CacheRemoval& removal);
  void arm_timer();
  void on_timer();
  void attempt();
  void on_signal(int number);
  void watch_parent();
  void start_coprocesses();
  [[nodiscard]] bool may_look() const { return !seeker_.active() && !coprocesses_start_; }
  void stop(const std::string& why);
  void lose_patience();
  void check_end();
  void clean_up();
  void measure_disk();

  // session.cpp: one manager
  void on_found(boost::asio::ip::tcp::socket socket, const Target& target);
  void on_link_line(std::string_view line) override;
  void on_link_secured() override;
  void trace_sent(std::string_view lines);
  void on_link_ready() override;
  void on_link_message(protocol::ToWorker& message) override;
  void on_whole_body(const protocol::PutFile& file, std::string_view bytes) override;
  int on_body_begins(const protocol::PutFile& file) override;
  void on_body_ended(ErrorCode file_error) override;
  bool on_link_frame_begins(std::uint32_t kind) override;
  void on_link_frame(std::uint32_t kind, std::string_view body) override;
  void on_link_pause() override;
  void on_link_drained() override;
  void on_link_closed(LinkFault fault, const std::string& reason) override;
  void carry_out_removals();
  void store(std::optional<StoredObject> object);
  void handle(protocol::Tlq& message);
  void handle(protocol::RunTask& message);
  void handle(protocol::ThirdGet& message);
  void handle(protocol::ThirdPut& message);
  void take_batch(std::uint32_t kind, std::string_view body);
  void take_acknowledgement(std::uint32_t kind, std::string_view body);
  void answer_results();
  void send_part(const ReplyPart& part);
  void send_zeros(std::uint64_t length);
  void pump_replies();
  void end_session(SessionEnd end, const std::string& reason);
  void drop_link();
  bool try_other_version();

  boost::asio::io_context& io_;
  Log& log_;
  Workspace& space_;
  WorkerSettings settings_;
  Effects effects_, performing_;
  Machine machine_;
  Environment environment_;
  ProcessTable processes_;
  CaptureStore captures_;
  Disposal disposal_;
  aio::Pool pool_;
  Context context_;
  TaskRunner tasks_;
  Measuring measuring_;
  Environments environments_;
  Pusher pusher_;
  Fetcher fetcher_;
  Peers peers_;
  std::unique_ptr<Coprocesses> coprocesses_;
  bool coprocesses_start_ = false;  ///< they have not introduced themselves yet
  int exit_status_ = 0;
  Seeker seeker_;
  CacheWriter writer_;
  aio::SslContextPtr ssl_context_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer timer_;
  std::optional<Time> armed_;
  std::unique_ptr<boost::asio::posix::stream_descriptor> parent_;

  Target target_;
  std::unique_ptr<Link> link_;
  std::vector<std::shared_ptr<Link>> closing_;  ///< flushing their last words
  std::unique_ptr<Replies> replies_;
  std::unique_ptr<CacheWriter> cache_writer_;
  bool ready_ = false;  ///< hello sent
  bool storing_ = false;
  bool had_session_ = false;
  Time link_started_{};
  std::optional<Time> ready_by_;  ///< limit for TLS and password
  bool turn_posted_ = false;
  bool stopping_ = false;
  bool stopped_ = false;
  int signals_seen_ = 0;
  boost::asio::steady_timer last_patience_;
  Time next_disk_{};
  Time next_volatile_{};
  Random random_;
};

}  // namespace taskmill::worker
