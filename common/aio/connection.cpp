#include "common/aio/connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "common/aio/clock.hpp"

namespace taskmill::aio {
namespace {

constexpr std::size_t max_gathered = 64;
constexpr std::size_t small_talk = 64U << 10;  ///< a queue up to here is control messages: they are not paced
constexpr std::size_t zeros_size = 64U << 10;
constexpr std::uint32_t slow_round_trip_us = 2000;

// All connections of a thread read into this buffer; only what a handler leaves unconsumed is copied to the
// connection. An idle connection therefore owns no read buffer at all.
std::vector<char>& shared_read_buffer(std::size_t size) {
  static thread_local std::vector<char> buffer;
  if (buffer.size() < size) buffer.resize(size);
  return buffer;
}

std::string endpoint_text(const boost::asio::ip::tcp::endpoint& endpoint) {
  auto address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())  // seen on a listener of both families
    address = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
  const auto port = std::to_string(endpoint.port());
  return address.is_v6() ? "[" + address.to_string() + "]:" + port : address.to_string() + ":" + port;
}

}  // namespace

Connection::Connection(boost::asio::ip::tcp::socket socket, ConnectionHandler& handler, ConnectionLimits limits)
    : stream_(std::move(socket)), handler_(&handler), limits_(limits) {
  ErrorCode error;
  const auto peer = stream_.socket().remote_endpoint(error);
  peer_text_ = error ? "unknown" : endpoint_text(peer);
  const auto local = stream_.socket().local_endpoint(error);
  local_text_ = error ? "unknown" : endpoint_text(local);
}

void Connection::start(SslPtr ssl) {
  started_ = true;
  if (ssl) {
    stream_.start_tls(std::move(ssl));
    securing_ = true;
    run_handshake();
    return;
  }
  arm_read();
  schedule_flush();
}

void Connection::run_handshake() {
  if (!open_) return;
  const Io io = stream_.handshake();
  if (io.need != Need::none) {
    stream_.wait(io.need, [self = shared_from_this()](ErrorCode error) {
      if (!error) self->run_handshake();
    });
    return;
  }
  if (io.error || io.eof) {
    end({CloseReason::Kind::tls, io.error,
         "TLS handshake failed: " + (io.detail.empty() ? io.error.message() : io.detail)});
    return;
  }
  securing_ = false;
  if (handler_ != nullptr) handler_->on_secured();
  if (!open_) return;
  arm_read();
  schedule_flush();
}

// --- sending ---

void Connection::send(std::string_view text) {
  if (!open_ || text.empty()) return;
  if (!outbox_.empty()) {
    Segment& last = outbox_.back();
    if (!last.buffer && !last.file && last.ticket == 0 && last.text.size() < limits_.read_chunk) {
      last.text.append(text);
      pending_ += text.size();
      note_progress();
      schedule_flush();
      return;
    }
  }
  Segment segment;
  segment.text = text;
  outbox_.push_back(std::move(segment));
  pending_ += text.size();
  note_progress();
  schedule_flush();
}

void Connection::send_buffer(std::shared_ptr<const std::string> buffer, std::uint64_t ticket) {
  if (!open_) return;
  Segment segment;
  segment.length = buffer->size();
  segment.buffer = std::move(buffer);
  segment.ticket = ticket;
  pending_ += segment.length;
  outbox_.push_back(std::move(segment));
  note_progress();
  schedule_flush();
}

void Connection::send_file(std::shared_ptr<os::UniqueFd> file, std::uint64_t offset, std::uint64_t length,
                           std::uint64_t ticket) {
  if (!open_) return;
  Segment segment;
  segment.file = std::move(file);
  segment.offset = offset;
  segment.length = length;
  segment.ticket = ticket;
  pending_ += length;
  outbox_.push_back(std::move(segment));
  note_progress();
  schedule_flush();
}

void Connection::note_progress() {
  if (!congested_ && pending_ > limits_.high_mark) congested_ = true;
  if (congested_ && pending_ <= limits_.low_mark) {
    congested_ = false;
    if (handler_ != nullptr) handler_->on_drained();
  }
}

void Connection::schedule_flush() {
  if (!started_ || securing_ || writing_ || flush_scheduled_ || (outbox_.empty() && !finishing_)) return;
  flush_scheduled_ = true;
  boost::asio::post(stream_.socket().get_executor(), [self = shared_from_this()] {
    self->flush_scheduled_ = false;
    self->flush();
  });
}

void Connection::arm_write() {
  writing_ = true;
  stream_.wait(Need::write, [self = shared_from_this()](ErrorCode error) {
    self->writing_ = false;
    if (!error) self->flush();
  });
}

void Connection::flush() {
  if (!open_ || writing_) return;
  std::size_t budget = limits_.slice;
  while (open_ && !outbox_.empty()) {
    if (budget == 0) return schedule_flush();  // let other connections have their turn
    const bool bulk = outbox_.front().file || pending_ > small_talk;
    if (bulk && may_move(writing_, &Connection::flush) == 0) return;
    Io io = write_front();
    if (io.bytes > 0) {
      bytes_out_ += io.bytes;
      budget -= std::min(budget, io.bytes);
      consume_front(io.bytes);
      continue;
    }
    if (io.need != Need::none) return arm_write();
    if (io.error || io.eof) return fail(io, "sending");
    consume_front(0);
  }
  if (open_ && outbox_.empty() && finishing_) end({CloseReason::Kind::local, {}, finish_text_});
}

Io Connection::write_front() {
  Segment& front = outbox_.front();
  if (front.file && front.length > 0) {
    if (front.padding) return write_padding(front);
    const auto most = pace_ ? std::min(limits_.slice, pace_->allowance(steady_now())) : limits_.slice;
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(front.length, most));
    Io io = stream_.send_file(front.file->get(), front.offset, want);
    if (pace_) pace_->spend(io.bytes);
    if (io.bytes > 0 || io.need != Need::none) return io;
    // The file ended before its announced length, or cannot be read. The header has left already, so the only
    // way to keep the stream in step is to fill up with zeros and tell the owner, who takes the copy back.
    if (io.error == boost::system::errc::broken_pipe || io.error == boost::system::errc::connection_reset) return io;
    front.padding = true;
    if (handler_ != nullptr) handler_->on_short_file(front.ticket);
    if (!open_) return Io{};
    return write_padding(front);
  }
  return write_texts();
}

Io Connection::write_padding(Segment& segment) {
  static const std::array<char, zeros_size> zeros{};
  const iovec part{const_cast<char*>(zeros.data()),
                   static_cast<std::size_t>(std::min<std::uint64_t>(segment.length, zeros.size()))};
  return stream_.write_some({&part, 1});
}

Io Connection::write_texts() {
  std::array<iovec, max_gathered> parts{};
  std::size_t count = 0;
  std::size_t total = 0;
  for (std::size_t i = 0; i < outbox_.size() && count < parts.size() && total < limits_.slice; ++i) {
    Segment& segment = outbox_[i];
    if (segment.file && segment.length > 0) break;
    const char* data = segment.text.data();
    std::size_t size = segment.text.size();
    if (segment.buffer) {
      data = segment.buffer->data() + segment.offset;
      size = static_cast<std::size_t>(segment.length);
    } else if (i == 0) {
      data += front_sent_;
      size -= front_sent_;
    }
    if (size == 0) continue;
    parts[count++] = {const_cast<char*>(data), size};
    total += size;
  }
  if (count == 0) return Io{};
  const Io io = stream_.write_some({parts.data(), count});
  if (pace_) pace_->spend(io.bytes);
  return io;
}

// Removes `bytes` that were written, and every segment that is complete (also empty ones).
void Connection::consume_front(std::size_t bytes) {
  pending_ -= bytes;
  while (open_ && !outbox_.empty()) {
    Segment& front = outbox_.front();
    const bool is_text = !front.buffer && !front.file;
    const std::uint64_t left = is_text ? front.text.size() - front_sent_ : front.length;
    const std::uint64_t taken = std::min<std::uint64_t>(left, bytes);
    bytes -= static_cast<std::size_t>(taken);
    if (taken < left) {
      if (is_text) {
        front_sent_ += static_cast<std::size_t>(taken);
      } else {
        front.offset += taken;
        front.length -= taken;
      }
      break;
    }
    const auto ticket = front.ticket;
    front_sent_ = 0;
    outbox_.pop_front();
    if (ticket != 0 && handler_ != nullptr) handler_->on_sent(ticket);
    if (bytes == 0 && (outbox_.empty() || outbox_.front().length > 0 || !outbox_.front().text.empty())) break;
  }
  if (open_) note_progress();
}

bool Connection::is_slow() {
  const auto now = std::chrono::steady_clock::now();
  if (slow_asked_.time_since_epoch().count() != 0 && now - slow_asked_ < std::chrono::seconds(1)) return slow_;
  slow_asked_ = now;
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(stream_.socket().native_handle(), IPPROTO_TCP, TCP_INFO, &info, &length) == 0)
    slow_ = info.tcpi_rtt >= slow_round_trip_us;
  return slow_;
}

// --- receiving ---

std::size_t Connection::may_move(bool& waiting, void (Connection::*go_on)()) {
  if (!pace_) return limits_.slice;
  const auto allowance = pace_->allowance(steady_now());
  if (allowance > 0) return std::min(allowance, limits_.slice);
  const auto timer = std::make_shared<boost::asio::steady_timer>(stream_.socket().get_executor(), pace_->wait());
  waiting = true;
  timer->async_wait([self = shared_from_this(), timer, &waiting, go_on](ErrorCode) {
    waiting = false;
    (self.get()->*go_on)();
  });
  return 0;
}

void Connection::arm_read() {
  if (!open_ || reading_ || paused_ || securing_) return;
  reading_ = true;
  stream_.wait(Need::read, [self = shared_from_this()](ErrorCode error) {
    self->reading_ = false;
    if (!error) self->on_readable();
  });
}

void Connection::on_readable() {
  if (!open_ || paused_) return;
  std::size_t budget = limits_.slice;
  while (open_ && !paused_ && budget > 0) {
    if (body_left_ > 0 && may_move(reading_, &Connection::on_readable) == 0) return;
    const auto before = bytes_in_;
    const bool more = body_left_ > 0 ? read_body_slice() : read_stream_slice();
    const auto moved = static_cast<std::size_t>(bytes_in_ - before);
    if (!open_ || !more) break;
    budget -= std::min(budget, moved);
  }
  if (!open_ || paused_) return;
  if (stream_.is_tls() && SSL_pending(stream_.ssl()) > 0) {
    // Decrypted bytes are waiting inside the TLS layer; the socket may never become readable for them.
    boost::asio::post(stream_.socket().get_executor(), [self = shared_from_this()] { self->on_readable(); });
    return;
  }
  arm_read();
}

// Both return true when reading should go on at once (the socket may hold more).
bool Connection::read_body_slice() {
  bool file_error = false;
  const auto most = pace_ ? std::min(limits_.slice, pace_->allowance(steady_now())) : limits_.slice;
  const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, most));
  const Io io = stream_.receive_file(body_error_ ? -1 : body_fd_, want, file_error);
  if (pace_) pace_->spend(io.bytes);
  if (file_error) body_error_ = io.error;
  if (io.bytes > 0) {
    bytes_in_ += io.bytes;
    body_left_ -= io.bytes;
    if (body_left_ == 0) {
      const auto error = std::exchange(body_error_, {});
      body_fd_ = -1;
      if (handler_ != nullptr) handler_->on_body_done(error);
    }
    return true;
  }
  if (io.eof || (io.error && !file_error)) {
    fail(io, "receiving");
    return false;
  }
  return false;
}

bool Connection::read_stream_slice() {
  if (!kept_.empty()) {
    const auto old_size = kept_.size();
    kept_.resize(old_size + limits_.read_chunk);
    const Io io = stream_.read_some({kept_.data() + old_size, limits_.read_chunk});
    kept_.resize(old_size + io.bytes);
    if (io.bytes == 0) {
      if (io.eof || io.error) fail(io, "receiving");
      return false;
    }
    bytes_in_ += io.bytes;
    deliver();
    return open_ && io.bytes == limits_.read_chunk;
  }
  auto& buffer = shared_read_buffer(limits_.read_chunk);
  const Io io = stream_.read_some({buffer.data(), limits_.read_chunk});
  if (io.bytes == 0) {
    if (io.eof || io.error) fail(io, "receiving");
    return false;
  }
  bytes_in_ += io.bytes;
  delivering_ = true;
  const std::size_t used = handler_ != nullptr ? handler_->on_data({buffer.data(), io.bytes}) : io.bytes;
  delivering_ = false;
  if (!open_) return false;
  if (used < io.bytes) {
    kept_.assign(buffer.data() + used, buffer.data() + io.bytes);
    // A body was announced behind the consumed part: what is already here belongs to it.
    if (body_left_ > 0) deliver();
  }
  return open_ && (io.bytes == limits_.read_chunk || body_left_ > 0);
}

// Offers kept bytes: first to the body that was announced, then to the handler, until nothing moves.
void Connection::deliver() {
  std::size_t offset = 0;
  while (open_ && offset < kept_.size()) {
    const std::size_t available = kept_.size() - offset;
    if (body_left_ > 0) {
      const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, available));
      if (body_fd_ >= 0 && !body_error_) {
        std::size_t written = 0;
        while (written < take) {
          const ssize_t n = ::write(body_fd_, kept_.data() + offset + written, take - written);
          if (n < 0 && errno == EINTR) continue;
          if (n < 0) {
            body_error_ = errno_code();
            break;
          }
          written += static_cast<std::size_t>(n);
        }
      }
      offset += take;
      body_left_ -= take;
      if (body_left_ == 0) {
        const auto error = std::exchange(body_error_, {});
        body_fd_ = -1;
        if (handler_ != nullptr) handler_->on_body_done(error);
      }
      continue;
    }
    if (paused_) break;
    delivering_ = true;
    const std::size_t used = handler_ != nullptr ? handler_->on_data({kept_.data() + offset, available}) : available;
    delivering_ = false;
    offset += used;
    if (used == 0 && body_left_ == 0) break;
  }
  kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(std::min(offset, kept_.size())));
  if (kept_.empty() && kept_.capacity() > 0) std::vector<char>().swap(kept_);
}

void Connection::receive_into(int fd, std::uint64_t length) {
  body_fd_ = fd;
  body_left_ = length;
}

void Connection::pause_reading() { paused_ = true; }

void Connection::resume_reading() {
  if (!paused_) return;
  paused_ = false;
  if (!open_ || !started_) return;
  boost::asio::post(stream_.socket().get_executor(), [self = shared_from_this()] {
    if (!self->open_ || self->paused_ || self->delivering_) return;
    if (!self->kept_.empty()) self->deliver();
    if (self->open_ && !self->reading_) self->on_readable();
  });
}

// --- the one exit ---

void Connection::fail(const Io& io, std::string_view doing) {
  if (io.eof) return end({CloseReason::Kind::eof, {}, "the peer closed the connection"});
  const auto text = std::string(doing) + " failed: " + (io.detail.empty() ? io.error.message() : io.detail);
  end({CloseReason::Kind::error, io.error, text});
}

void Connection::close(std::string why) { end({CloseReason::Kind::local, {}, std::move(why)}); }

void Connection::finish(std::string why) {
  if (!open_ || finishing_) return;
  finishing_ = true;
  finish_text_ = std::move(why);
  schedule_flush();
}

// The owner is told from the loop, never from inside its own call, and exactly once.
void Connection::end(CloseReason reason) {
  if (!open_) return;
  open_ = false;
  stream_.close();
  outbox_.clear();
  pending_ = 0;
  boost::asio::post(stream_.socket().get_executor(), [self = shared_from_this(), reason = std::move(reason)] {
    if (self->handler_ != nullptr) std::exchange(self->handler_, nullptr)->on_closed(reason);
  });
}

}  // namespace taskmill::aio
