// The client's half of one HTTP exchange, as values: the request text, and a reader that is fed what arrives.
//
// Good enough for catalogs and managers of every age: LF or CRLF lines, Content-Length or end of connection, chunked
// bodies, redirects. Bodies beyond `body_limit` are an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/catalog/core/host_list.hpp"

namespace taskmill::catalog {

struct Url {
  Host host;
  std::string path = "/";
};
/// "http://host:port/path"; only http.
Expected<Url> parse_url(std::string_view text);

/// `proxied`: the request line carries the whole URL.
std::string http_request(const Url& url, bool proxied);

/// The first usable item of HTTP_PROXY ("http://host:port;DIRECT"); nullopt means a direct connection.
std::optional<Host> choose_proxy(std::string_view http_proxy);

class HttpReader {
 public:
  explicit HttpReader(std::size_t body_limit = 256U << 20) : body_limit_(body_limit) {}
  /// More bytes. False when the reply is wrong (see problem()).
  bool feed(std::string_view bytes);
  /// The connection ended.
  bool finish();
  [[nodiscard]] bool done() const { return state_ == State::done; }
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] const std::string& location() const { return location_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  std::string take_body() { return std::move(body_); }

 private:
  enum class State : std::uint8_t { status_line, headers, body, chunk_size, chunk_data, chunk_end, done, failed };
  bool fail(std::string problem);
  bool take_line(std::string& line);
  bool on_line(const std::string& line);
  bool on_header(std::string_view line);
  bool on_headers_end();
  bool take_body_bytes();

  State state_ = State::status_line;
  std::size_t body_limit_;
  std::string buffer_;
  std::string body_;
  int status_ = 0;
  std::string location_;
  std::optional<std::uint64_t> left_;  ///< of body or chunk
  bool chunked_ = false;
  std::string problem_;
};

}  // namespace taskmill::catalog
