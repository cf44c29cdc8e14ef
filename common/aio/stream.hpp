// One non-blocking byte stream over TCP, plain or TLS.
//
// Calls never block: they move what they can and say what to wait for. The descriptor stays ours, so
// plain streams use sendfile and splice, and TLS runs over SSL_set_fd without copies into buffers of
// Asio. Waiting is Asio's (async_wait). Not copyable; destroying it closes the connection.
//
//   auto io = stream.read_some(buffer);
//   if (io.bytes) …                      // progress
//   else if (io.need == Need::read) stream.wait(Need::read, handler)
//   else if (io.eof) …  else io.error …
#pragma once

#include <openssl/ssl.h>
#include <sys/uio.h>

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "common/base/result.hpp"

namespace taskmill::aio {

enum class Need : std::uint8_t { none, read, write };

struct Io {
  std::size_t bytes = 0;
  Need need = Need::none;  ///< set when nothing moved and the caller should wait
  bool eof = false;
  ErrorCode error;
  std::string detail;  ///< text of a TLS failure, empty otherwise
};

struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslPtr = std::unique_ptr<SSL, SslDeleter>;

class Stream {
 public:
  using WaitHandler = std::function<void(ErrorCode)>;

  explicit Stream(boost::asio::ip::tcp::socket socket);

  /// Turns the stream into TLS; `ssl` is prepared by common/aio/tls.hpp. Call handshake() until Need::none.
  void start_tls(SslPtr ssl);
  [[nodiscard]] bool is_tls() const { return ssl_ != nullptr; }
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  Io handshake();

  Io read_some(std::span<char> into);
  Io write_some(std::span<const iovec> parts);
  /// Sends up to `length` bytes of `file` at `offset` (sendfile, or read+SSL_write). bytes==0 without need
  /// and error means the file ended early.
  Io send_file(int file, std::uint64_t offset, std::size_t length);
  /// Moves up to `length` received bytes into `file` at its current position (splice, or read+write). An
  /// error of the *file* is reported with `error` and `file_error` set.
  Io receive_file(int file, std::size_t length, bool& file_error);

  void wait(Need need, WaitHandler handler);
  /// Ends waits with operation_aborted and closes; safe to call twice.
  void close();
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  boost::asio::ip::tcp::socket& socket() { return socket_; }

 private:
  Io tls_result(int result);
  Io plain_result(ssize_t result);

  boost::asio::ip::tcp::socket socket_;
  SslPtr ssl_;

 public:
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

}  // namespace taskmill::aio
