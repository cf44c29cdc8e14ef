// A connection: one Stream with a read loop, an outbox, bounded slices and one exit.
//
// The owner (manager hub, worker session, catalog) gives a Handler. Received bytes come through
// on_data(), which says how many it consumed; the rest is kept and offered again with more. Instead of
// consuming a large body byte by byte the handler may call receive_into(fd, n): the next n bytes then go
// to that descriptor (splice on plain connections) and on_body_done() follows.
//
// What is sent is a queue of segments: text, shared buffers and file ranges. Text sent in a row is
// gathered into one write. Nothing blocks; each readiness event moves at most `slice` bytes, so that many
// connections share the thread fairly. Above `high_mark` pending bytes is_congested() is true, and
// on_drained() is called once when it falls below `low_mark`.
//
// close() is immediate; finish() closes after the outbox is flushed. Exactly one on_closed() follows
// either, or a peer's end, or an error; afterwards the object does nothing more. Connections are held by
// shared_ptr; handlers must outlive them or call detach().
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/aio/pace.hpp"
#include "common/aio/stream.hpp"
#include "common/os/fd.hpp"

namespace taskmill::aio {

/// Why a connection ended; `text` is one line for logs and people.
struct CloseReason {
  enum class Kind : std::uint8_t { local, eof, error, tls };
  Kind kind = Kind::local;
  ErrorCode error;
  std::string text;
};

class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  /// Bytes received; returns how many were consumed (the rest is offered again once more has arrived or
  /// resume_reading() is called).
  virtual std::size_t on_data(std::span<const char> bytes) = 0;
  /// The body announced to receive_into() is complete. `file_error` is set when writing the file failed; the
  /// rest of the body was then read and dropped, and the stream is still in step.
  virtual void on_body_done(ErrorCode file_error) { (void)file_error; }
  /// The TLS handshake is done (not called for plain connections).
  virtual void on_secured() {}
  virtual void on_drained() {}
  /// A file range could not be read to its announced end; zeros were sent instead. `ticket` as given to send_file.
  virtual void on_short_file(std::uint64_t ticket) { (void)ticket; }
  /// A segment with a ticket has left the outbox completely.
  virtual void on_sent(std::uint64_t ticket) { (void)ticket; }
  virtual void on_closed(const CloseReason& reason) = 0;
};

struct ConnectionLimits {
  std::size_t slice = 1U << 20;
  std::size_t read_chunk = 256U << 10;
  std::size_t high_mark = 8U << 20;
  std::size_t low_mark = 2U << 20;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, ConnectionHandler& handler, ConnectionLimits limits = {});

  /// Starts reading. With `ssl` the TLS handshake runs first (server or client as prepared).
  void start(SslPtr ssl = nullptr);
  void detach() { handler_ = nullptr; }
  /// Files in both directions move no faster than `pace` allows. Before the first of them.
  void set_pace(std::shared_ptr<Pace> pace) { pace_ = std::move(pace); }

  // --- sending: everything is queued and flushed on the next turn of the loop ---
  void send(std::string_view text);
  void send_buffer(std::shared_ptr<const std::string> buffer, std::uint64_t ticket = 0);
  /// `length` bytes of `file` from `offset`. The connection keeps the descriptor until done.
  void send_file(std::shared_ptr<os::UniqueFd> file, std::uint64_t offset, std::uint64_t length,
                 std::uint64_t ticket = 0);
  [[nodiscard]] std::uint64_t pending_bytes() const { return pending_; }
  [[nodiscard]] bool is_congested() const { return congested_; }

  // --- receiving ---
  /// From inside on_data only, after returning everything up to the body: the next `length` bytes go to `fd`
  /// (fd < 0: dropped). on_data is not called until on_body_done.
  void receive_into(int fd, std::uint64_t length);
  [[nodiscard]] std::uint64_t body_left() const { return body_left_; }
  /// Gate: stops and resumes the read loop (back-pressure).
  void pause_reading();
  void resume_reading();

  void close(std::string why);
  void finish(std::string why);
  [[nodiscard]] bool is_open() const { return open_; }
  /// The kernel's opinion of the way to the peer, asked for at most once a second: is there a round trip of 2 ms and
  /// more, so that fewer bytes are worth the work of a compressor?
  [[nodiscard]] bool is_slow();

  [[nodiscard]] std::uint64_t bytes_in() const { return bytes_in_; }
  [[nodiscard]] std::uint64_t bytes_out() const { return bytes_out_; }
  Stream& stream() { return stream_; }
  [[nodiscard]] std::string peer_text() const { return peer_text_; }  ///< "127.0.0.1:43210"
  [[nodiscard]] std::string local_text() const { return local_text_; }

 private:
  struct Segment {
    std::string text;
    std::shared_ptr<const std::string> buffer;
    std::shared_ptr<os::UniqueFd> file;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  ///< bytes left of buffer or file
    std::uint64_t ticket = 0;
    bool padding = false;  ///< the file ended early: zeros from here
  };

  void run_handshake();
  void arm_read();
  void arm_write();
  void schedule_flush();
  /// Bytes of a file that may move now; 0: `go_on` is called when some may, `waiting` is set until then.
  std::size_t may_move(bool& waiting, void (Connection::*go_on)());
  void on_readable();
  bool read_body_slice();
  bool read_stream_slice();
  void deliver();
  void flush();
  Io write_front();
  Io write_texts();
  Io write_padding(Segment& segment);
  void consume_front(std::size_t bytes);
  void note_progress();
  void fail(const Io& io, std::string_view doing);
  void end(CloseReason reason);

  Stream stream_;
  std::shared_ptr<Pace> pace_;
  ConnectionHandler* handler_;
  ConnectionLimits limits_;
  std::vector<char> kept_;  ///< unconsumed input (usually empty: reads go through a buffer shared per thread)
  std::deque<Segment> outbox_;
  std::size_t front_sent_ = 0;  ///< bytes of the front text already written
  std::uint64_t pending_ = 0;
  std::uint64_t body_left_ = 0;
  int body_fd_ = -1;
  ErrorCode body_error_;
  bool open_ = true;
  bool started_ = false;
  bool securing_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool flush_scheduled_ = false;
  bool paused_ = false;
  bool delivering_ = false;
  bool congested_ = false;
  bool finishing_ = false;
  bool slow_ = false;
  std::chrono::steady_clock::time_point slow_asked_{};
  std::string finish_text_;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  std::string peer_text_;
  std::string local_text_;
};

}  // namespace taskmill::aio
