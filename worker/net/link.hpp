// One connection to a manager: reads messages and bodies, in order, and hands them on.
//
// Bodies of files that are already here are written at once; larger ones are spliced from the socket into the file.
// Everything about their meaning is the owner's. The link ends exactly once, with on_link_closed(); after that, or
// after detach(), nothing is called any more.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>

#include "common/aio/connection.hpp"
#include "common/aio/tls.hpp"
#include "protocol/worker_session.hpp"

namespace taskmill::worker {

enum class LinkFault : std::uint8_t { closed, tls, password_required, wrong_password, protocol };

class LinkEvents {
 public:
  virtual ~LinkEvents() = default;
  /// A line (or the first of a small body) has been read; only while set_tracing(true).
  virtual void on_link_line(std::string_view line) = 0;
  virtual void on_link_secured() = 0;
  /// The password exchange (if any) is over: say hello.
  virtual void on_link_ready() = 0;
  /// Views are valid during the call. For PutFile the body follows through the three calls below.
  virtual void on_link_message(protocol::ToWorker& message) = 0;
  virtual void on_whole_body(const protocol::PutFile& file, std::string_view bytes) = 0;
  /// Descriptor for the body, -1 to drop it.
  virtual int on_body_begins(const protocol::PutFile& file) = 0;
  virtual void on_body_ended(ErrorCode file_error) = 0;
  /// May an extension frame of this kind come now? If not, the session ends.
  virtual bool on_link_frame_begins(std::uint32_t kind) = 0;
  virtual void on_link_frame(std::uint32_t kind, std::string_view body) = 0;
  /// All bytes of this turn have been handled.
  virtual void on_link_pause() = 0;
  virtual void on_link_drained() = 0;
  virtual void on_link_closed(LinkFault fault, const std::string& reason) = 0;
};

class Link : public aio::ConnectionHandler {
 public:
  Link(boost::asio::ip::tcp::socket socket, protocol::WorkerSession::Config session, bool has_password,
       LinkEvents& events);
  ~Link() override;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void set_tracing(bool tracing) { tracing_ = tracing; }
  void start(aio::SslPtr ssl);
  /// The owner is done with it: no events any more, the rest of the outbox is sent, then `closed` is called.
  void retire(std::function<void()> closed);
  aio::Connection& connection() { return *connection_; }
  void send(std::string_view text) { connection_->send(text); }
  /// Anything after the password exchange? (A manager of another version closes without a word.)
  [[nodiscard]] bool heard_anything() const { return heard_; }
  [[nodiscard]] bool is_ready() const { return ready_; }
  /// The manager has chosen extensions: their frames are read from now on.
  void allow_frames() { session_.allow_frames(true); }
  /// The manager broke a rule of an extension.
  void refuse(const std::string& why) { fail(protocol::Problem::malformed, why); }
  /// Is compressing cheaper than sending?
  [[nodiscard]] bool is_slow() const { return connection_->is_slow(); }
  void close(std::string why) { connection_->close(std::move(why)); }
  void finish(std::string why) {
    finishing_ = true;
    connection_->finish(std::move(why));
  }

 private:
  std::size_t on_data(std::span<const char> bytes) override;
  void on_body_done(ErrorCode file_error) override;
  void on_secured() override;
  void on_drained() override;
  void on_closed(const aio::CloseReason& reason) override;
  bool handle(protocol::Step<protocol::ToWorker>& step, std::span<const char> rest, std::size_t& used);
  bool begin_frame(const protocol::ManagerFrame& frame);
  std::size_t take_frame(std::span<const char> bytes);
  void fail(protocol::Problem problem, const std::string& detail);
  void become_ready();

  std::shared_ptr<aio::Connection> connection_;
  protocol::WorkerSession session_;
  bool has_password_;
  LinkEvents* events_;
  std::function<void()> retired_closed_;
  bool tracing_ = false;
  bool heard_ = false;
  bool ready_ = false;
  bool finishing_ = false;
  bool in_frame_ = false;  ///< the body to come is that of a frame
  std::uint32_t frame_kind_ = 0;
  std::string frame_body_;  ///< of a frame that comes in pieces
  LinkFault fault_ = LinkFault::closed;
  std::string fault_text_;
};

}  // namespace taskmill::worker
