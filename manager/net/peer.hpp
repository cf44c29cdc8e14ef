// One connection at the manager: reads what the peer says, tells the machine, and puts bodies where they belong.
//
// A body (standard output, file item, watch update, cache message) has a sink. Bytes that are already in the read
// buffer are written at once; the rest of a large body goes from the socket to its descriptor without passing
// through here (Connection::receive_into). A local error never breaks the stream: the rest is read and dropped.
//
// A connection becomes a worker by its greeting, or is answered and closed as a status client. Whatever breaks the
// protocol closes it with a reason that names the line.
#pragma once

#include <sys/stat.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "common/aio/connection.hpp"
#include "manager/core/machine.hpp"
#include "manager/net/outbound.hpp"
#include "manager/net/output_file.hpp"
#include "manager/net/task_text.hpp"
#include "protocol/capabilities.hpp"
#include "protocol/manager_session.hpp"

namespace taskmill::pb {
class EnvironmentReady;
}

namespace taskmill::manager {

class EnvironmentFeed;
class Peer;

/// What a peer needs from the hub.
class PeerOwner {
 public:
  virtual ~PeerOwner() = default;
  virtual Machine& machine() = 0;
  /// Facts were given to the machine: run it soon.
  virtual void wake() = 0;
  virtual void store_text(TaskId task, ConnId conn, TaskTextPtr text) = 0;
  [[nodiscard]] virtual const TaskText::Limits& text_limits() const = 0;
  [[nodiscard]] virtual std::uint64_t disk_reserve() const = 0;
  [[nodiscard]] virtual const std::string& project() const = 0;
  /// The exchange of passwords (or the TLS handshake) is over.
  virtual void peer_ready(Peer& peer) = 0;
  virtual void answer_status(Peer& peer, protocol::StatusKind kind) = 0;
  virtual void answer_http(Peer& peer, std::string_view path) = 0;
  virtual void peer_closed(Peer& peer, CloseReason reason, const std::string& text) = 0;
  virtual void trace_received(const Peer& peer, std::string_view bytes) = 0;
  virtual void note(NoticeLevel level, const std::string& text) = 0;
  /// Somebody does not know the password, or uses one where none is: the user hears of it once per host.
  virtual void note_refused(const Peer& peer, const std::string& text) = 0;
  virtual void environment_reported(const Peer& peer, const pb::EnvironmentReady& ready) = 0;
  /// What is wanted of native workers.
  [[nodiscard]] virtual protocol::CapabilitySet capabilities() const = 0;
};

class Peer final : public aio::ConnectionHandler {
 public:
  Peer(PeerOwner& owner, ConnId id, protocol::ManagerSession::Config session,
       std::shared_ptr<Outbound::Context> context, boost::asio::ip::tcp::socket socket);
  ~Peer() override;

  void start(aio::SslPtr ssl);
  /// The machine wants it gone and has forgotten it: on_closed() is not reported back to it.
  void close_for(CloseReason reason);
  /// Closed by the shell itself; the machine is told.
  void fail(CloseReason reason, const std::string& text);
  /// The answer of a status client is complete: flush and close.
  void finish_status();

  [[nodiscard]] ConnId id() const { return id_; }
  [[nodiscard]] Outbound& outbound() { return *outbound_; }
  [[nodiscard]] aio::Connection& connection() { return *connection_; }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const std::string& hostname() const { return hostname_; }
  /// Where other workers reach it; port 0: nowhere.
  struct Listening {
    std::string address;
    std::uint32_t port = 0;
  };
  [[nodiscard]] const Listening& listening() const { return listening_; }
  [[nodiscard]] bool is_ready() const { return ready_; }
  [[nodiscard]] bool forgotten() const { return forgotten_; }
  [[nodiscard]] bool greeted() const { return greeted_; }
  /// A slice of a status answer; on_room is called when it has left.
  void send_slice(std::string text);
  std::function<void()> on_room;
  /// The machine was told that this is no worker.
  void forget() { forgotten_ = true; }

  // ConnectionHandler
  std::size_t on_data(std::span<const char> bytes) override;
  void on_body_done(ErrorCode file_error) override;
  void on_secured() override;
  void on_drained() override;
  void on_short_file(std::uint64_t ticket) override { outbound_->on_short_file(ticket); }
  void on_sent(std::uint64_t ticket) override;
  void on_closed(const aio::CloseReason& reason) override;

  void update_congestion();

 private:
  enum class Sink : std::uint8_t { none, drop, text, file, watch, message, frame };
  struct Handler;
  static constexpr std::uint64_t feed_ticket = ~0ULL - 1;  ///< never one of Outbound's

  std::size_t take_body(std::string_view bytes, bool& spliced);
  void write_body(std::string_view bytes);
  void body_complete();
  [[nodiscard]] int body_file() const;
  void begin_body(Sink sink, std::uint64_t length);

  void handle(const protocol::FromWorker& message);
  void on_result(const protocol::TaskResult& result);
  void on_watch(const protocol::WatchUpdate& update);
  void on_file_item(const protocol::FileItem& item);
  void on_dir_item(const protocol::DirItem& item);
  void on_missing_item(const protocol::MissingItem& item);
  void on_get_end();
  void on_cache_invalid(const protocol::CacheInvalid& message);
  void on_info(std::string_view field, std::string_view value);
  void on_frame(const protocol::Frame& frame);
  void on_frame_body();
  void on_measurement(std::string_view body);
  void on_environment_need(std::string_view body);
  void on_environment_ready(std::string_view body);
  std::shared_ptr<EnvironmentFeed> make_feed(const std::shared_ptr<Outbound::Context>& context);
  void on_peer_listening(std::string_view body);  // hub_transfers.cpp
  void on_peer_done(std::string_view body);
  void on_result_batch(std::string_view body);
  void on_pushed_result(pb::Result& result);
  void tell_result(const ResultFacts& facts, TaskTextPtr text);
  void take_pushed_file(const pb::ResultFile& file, ResultFacts& facts);
  void begin_held_text(std::uint64_t length);
  void on_held_text();
  static void note_stored(const struct stat& stored, Fetched& fetched);
  void note_local_error(ErrorCode error, std::string_view relative);
  OutputFile& output();

  PeerOwner& owner_;
  ConnId id_;
  protocol::ManagerSession session_;
  std::shared_ptr<aio::Connection> connection_;
  std::deque<PendingFetch> fetches_;
  std::shared_ptr<Outbound> outbound_;
  std::string address_, hostname_ = "unknown";
  CloseReason close_reason_ = CloseReason::disconnected;
  bool ready_ = false, greeted_ = false, forgotten_ = false, congested_ = false, doomed_ = false;

  // The body being received.
  Sink sink_ = Sink::none;
  std::uint64_t body_length_ = 0;  ///< announced
  std::uint64_t to_keep_ = 0;      ///< of what is still to come; the rest is dropped
  ErrorCode body_error_;
  TaskTextPtr text_;
  bool text_is_held_ = false;  ///< the text being received was asked for with `get`, its result is here already
  ResultFacts result_;
  os::UniqueFd watch_file_;
  int file_fd_ = -1;                    ///< of output_
  std::string message_, message_name_;  ///< also the body of a frame
  std::uint32_t frame_kind_ = 0;

  // Native workers: what they measured, by task, until the result line comes.
  struct Measured {
    Measurement measured;
    std::string limit;
  };
  protocol::CapabilityHandshake handshake_;
  std::unordered_map<std::int64_t, Measured> measured_;
  std::shared_ptr<EnvironmentFeed> feed_;  ///< null: no environments are offered
  Listening listening_;

  // The reply to the oldest `get`.
  std::unique_ptr<OutputFile> output_;
  std::uint64_t fetched_bytes_ = 0;
  bool fetched_something_ = false;
  std::string item_;  ///< entry being received, relative
  std::string local_error_, missing_;
};

}  // namespace taskmill::manager
