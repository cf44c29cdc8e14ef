#include "common/aio/stream.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace taskmill::aio {
namespace {

constexpr std::size_t copy_buffer_size = 256U << 10;

// One buffer per thread for paths that must pass through user space; never held across calls.
std::array<char, copy_buffer_size>& copy_buffer() {
  static thread_local std::array<char, copy_buffer_size> buffer;
  return buffer;
}

// One pipe per thread for splicing from sockets into files: every call leaves it empty. A pipe of its own for each
// connection would cost two descriptors and a megabyte of the user's pipe allowance each.
class SplicePipe {
 public:
  SplicePipe() = default;
  SplicePipe(const SplicePipe&) = delete;
  SplicePipe& operator=(const SplicePipe&) = delete;
  ~SplicePipe() { close(); }
  [[nodiscard]] bool open() {
    if (ends_[0] >= 0) return true;
    if (::pipe2(ends_, O_CLOEXEC | O_NONBLOCK) != 0) return false;
    ::fcntl(ends_[1], F_SETPIPE_SZ, 1 << 20);
    return true;
  }
  [[nodiscard]] int in() const { return ends_[1]; }
  [[nodiscard]] int out() const { return ends_[0]; }
  void close() {
    for (int& end : ends_) {
      if (end >= 0) ::close(std::exchange(end, -1));
    }
  }

 private:
  int ends_[2] = {-1, -1};
};

SplicePipe& splice_pipe() {
  static thread_local SplicePipe pipe;
  return pipe;
}

std::string openssl_error_text() {
  const auto code = ERR_get_error();
  if (code == 0) return "unexpected end of the TLS stream";
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

ErrorCode write_all(int file, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(file, data, size);
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno_code();
    }
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace

Stream::Stream(boost::asio::ip::tcp::socket socket) : socket_(std::move(socket)) {
  ErrorCode ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
}

Stream::~Stream() { close(); }

void Stream::start_tls(SslPtr ssl) {
  ssl_ = std::move(ssl);
  SSL_set_fd(ssl_.get(), static_cast<int>(socket_.native_handle()));
  SSL_set_mode(ssl_.get(),
               SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}

Io Stream::tls_result(int result) {
  Io io;
  if (result > 0) {
    io.bytes = static_cast<std::size_t>(result);
    return io;
  }
  const int saved_errno = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      io.need = Need::read;
      break;
    case SSL_ERROR_WANT_WRITE:
      io.need = Need::write;
      break;
    case SSL_ERROR_ZERO_RETURN:
      io.eof = true;
      break;
    case SSL_ERROR_SYSCALL:
      if (saved_errno == 0) {
        io.eof = true;
      } else {
        io.error = code_of(saved_errno);
      }
      ERR_clear_error();
      break;
    default:
      io.error = boost::system::errc::make_error_code(boost::system::errc::protocol_error);
      io.detail = openssl_error_text();
      break;
  }
  return io;
}

Io Stream::plain_result(ssize_t result) {
  Io io;
  if (result >= 0) {
    io.bytes = static_cast<std::size_t>(result);
  } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
    io.error = errno_code();
  }
  return io;
}

Io Stream::handshake() {
  ERR_clear_error();
  errno = 0;
  Io io = tls_result(SSL_do_handshake(ssl_.get()));
  if (io.eof) {
    io.error = boost::system::errc::make_error_code(boost::system::errc::connection_reset);
    io.detail = "the peer closed the connection during the TLS handshake";
  }
  return io;
}

Io Stream::read_some(std::span<char> into) {
  if (ssl_) {
    ERR_clear_error();
    errno = 0;
    return tls_result(
        SSL_read(ssl_.get(), into.data(), static_cast<int>(std::min<std::size_t>(into.size(), 1U << 30))));
  }
  const ssize_t n = ::recv(socket_.native_handle(), into.data(), into.size(), 0);
  Io io = plain_result(n);
  if (n == 0 && !into.empty()) io.eof = true;
  if (n < 0 && !io.error) io.need = Need::read;
  return io;
}

Io Stream::write_some(std::span<const iovec> parts) {
  if (ssl_) {
    Io total;
    for (const auto& part : parts) {
      if (part.iov_len == 0) continue;
      ERR_clear_error();
      errno = 0;
      Io io = tls_result(
          SSL_write(ssl_.get(), part.iov_base, static_cast<int>(std::min<std::size_t>(part.iov_len, 1U << 30))));
      total.bytes += io.bytes;
      if (io.bytes == part.iov_len) continue;
      if (total.bytes == 0) return io;
      break;
    }
    return total;
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  const ssize_t n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL);
  Io io = plain_result(n);
  if (n < 0 && !io.error) io.need = Need::write;
  return io;
}

Io Stream::send_file(int file, std::uint64_t offset, std::size_t length) {
  if (!ssl_) {
    auto position = static_cast<off_t>(offset);
    const ssize_t n = ::sendfile(socket_.native_handle(), file, &position, length);
    if (n < 0 && (errno == EINVAL || errno == ENOSYS)) {
      // Some file systems do not support sendfile; fall through to the copying path.
    } else {
      Io io = plain_result(n);
      if (n < 0 && !io.error) io.need = Need::write;
      return io;
    }
  }
  auto& buffer = copy_buffer();
  const ssize_t got = ::pread(file, buffer.data(), std::min(length, buffer.size()), static_cast<off_t>(offset));
  if (got <= 0) return got == 0 ? Io{} : plain_result(got);
  const iovec part{buffer.data(), static_cast<std::size_t>(got)};
  return write_some({&part, 1});
}

Io Stream::receive_file(int file, std::size_t length, bool& file_error) {
  file_error = false;
  if (ssl_ || file < 0) {
    auto& buffer = copy_buffer();
    Io io = read_some({buffer.data(), std::min(length, buffer.size())});
    if (io.bytes > 0 && file >= 0) {
      if (const auto error = write_all(file, buffer.data(), io.bytes)) {
        file_error = true;
        io.error = error;
      }
    }
    return io;
  }
  SplicePipe& pipe = splice_pipe();
  if (!pipe.open()) {
    Io io;
    io.error = errno_code();
    return io;
  }
  const ssize_t n =
      ::splice(socket_.native_handle(), nullptr, pipe.in(), nullptr, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  Io io = plain_result(n);
  if (n == 0) io.eof = true;
  if (n < 0 && !io.error) io.need = Need::read;
  for (ssize_t left = std::max<ssize_t>(n, 0); left > 0;) {
    const ssize_t moved = ::splice(pipe.out(), nullptr, file, nullptr, static_cast<std::size_t>(left), SPLICE_F_MOVE);
    if (moved > 0) {
      left -= moved;
    } else if (moved == 0 || errno != EINTR) {
      io.error = moved == 0 ? code_of(EIO) : errno_code();
      file_error = true;
      pipe.close();  // with what the file did not take: the stream stays in step
      break;
    }
  }
  return io;
}

void Stream::wait(Need need, WaitHandler handler) {
  const auto type =
      need == Need::write ? boost::asio::ip::tcp::socket::wait_write : boost::asio::ip::tcp::socket::wait_read;
  socket_.async_wait(type, std::move(handler));
}

void Stream::close() {
  if (!socket_.is_open()) return;
  if (ssl_ && SSL_is_init_finished(ssl_.get())) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());  // close_notify, best effort
    ERR_clear_error();
  }
  ErrorCode ignored;
  socket_.close(ignored);
}

}  // namespace taskmill::aio
