#include "common/catalog/core/http_client.hpp"

#include <algorithm>
#include <charconv>

#include "common/base/text.hpp"

namespace taskmill::catalog {
namespace {

constexpr std::size_t longest_line = 16U << 10;

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           const auto fold = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
           return fold(x) == fold(y);
         });
}

}  // namespace

Expected<Url> parse_url(std::string_view text) {
  constexpr std::string_view scheme = "http://";
  if (text.substr(0, scheme.size()) != scheme)
    return make_error("'" + std::string(text) + "' is not an http:// address");
  text.remove_prefix(scheme.size());
  const auto slash = text.find('/');
  auto host = parse_host(text.substr(0, slash), 80);
  if (!host) return host.error();
  Url url{std::move(*host), "/"};
  if (slash != std::string_view::npos) url.path = text.substr(slash);
  if (url.path.find_first_of(" \r\n") != std::string::npos) return make_error("blank or line end in an address");
  return url;
}

std::string http_request(const Url& url, bool proxied) {
  std::string request = "GET ";
  if (proxied) request += "http://" + url.host.text();
  request += url.path + " HTTP/1.1\r\nConnection: close\r\nHost: " + url.host.text();
  request += "\r\nUser-Agent: taskmill\r\nAccept: */*\r\n\r\n";
  return request;
}

std::optional<Host> choose_proxy(std::string_view http_proxy) {
  for (auto item : split(http_proxy, ';')) {
    item = trim(item);
    if (item.empty()) continue;
    if (item == "DIRECT") return std::nullopt;
    auto url =
        parse_url(item.find("://") == std::string_view::npos ? "http://" + std::string(item) : std::string(item));
    if (url) return url->host;
  }
  return std::nullopt;
}

bool HttpReader::fail(std::string problem) {
  state_ = State::failed;
  problem_ = std::move(problem);
  return false;
}

bool HttpReader::take_line(std::string& line) {
  const auto end = buffer_.find('\n');
  if (end == std::string::npos) return false;
  line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return true;
}

bool HttpReader::feed(std::string_view bytes) {
  if (state_ == State::done) return true;
  if (state_ == State::failed) return false;
  buffer_.append(bytes);
  while (state_ != State::done) {
    if (state_ == State::body || state_ == State::chunk_data) {
      if (!take_body_bytes()) return state_ != State::failed;
      continue;
    }
    std::string line;
    if (!take_line(line)) {
      return buffer_.size() > longest_line ? fail("a header line is too long") : true;
    }
    if (!on_line(line)) return false;
  }
  return true;
}

// True when the state moved on.
bool HttpReader::take_body_bytes() {
  std::size_t take = buffer_.size();
  if (left_) take = static_cast<std::size_t>(std::min<std::uint64_t>(take, *left_));
  if (body_.size() + take > body_limit_) return fail("the reply is too large");
  body_.append(buffer_, 0, take);
  buffer_.erase(0, take);
  if (!left_) return false;
  *left_ -= take;
  if (*left_ > 0) return false;
  state_ = state_ == State::body ? State::done : State::chunk_end;
  return true;
}

bool HttpReader::on_line(const std::string& line) {
  switch (state_) {
    case State::status_line: {
      std::string_view rest = line;
      const auto version = next_token(rest);
      const auto status = parse_int(next_token(rest));
      if (version.substr(0, 5) != "HTTP/" || !status || *status < 100 || *status > 999) return fail("this is not HTTP");
      status_ = static_cast<int>(*status);
      state_ = State::headers;
      return true;
    }
    case State::headers:
      return line.empty() ? on_headers_end() : on_header(line);
    case State::chunk_size: {
      std::uint64_t size = 0;
      const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size, 16);
      if (error != std::errc{} || end == line.data() || size > body_limit_) return fail("wrong chunk size");
      left_ = size;
      state_ = size == 0 ? State::done : State::chunk_data;
      return true;
    }
    case State::chunk_end:
      state_ = State::chunk_size;
      return line.empty() || fail("wrong end of a chunk");
    default:
      return fail("unexpected line");
  }
}

bool HttpReader::on_header(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return true;
  const auto name = trim(line.substr(0, colon));
  const auto value = trim(line.substr(colon + 1));
  if (same_word(name, "location")) location_ = value;
  if (same_word(name, "transfer-encoding") && same_word(value, "chunked")) chunked_ = true;
  if (same_word(name, "content-length")) {
    const auto length = parse_int(value);
    if (!length || *length < 0) return fail("wrong Content-Length");
    left_ = static_cast<std::uint64_t>(*length);
  }
  return true;
}

bool HttpReader::on_headers_end() {
  if (status_ / 100 == 1) {  // 100 Continue: the real answer follows
    state_ = State::status_line;
    left_.reset();
    return true;
  }
  if (chunked_) {
    left_.reset();
    state_ = State::chunk_size;
  } else {
    state_ = left_ && *left_ == 0 ? State::done : State::body;
  }
  return true;
}

bool HttpReader::finish() {
  if (state_ == State::done) return true;
  if (state_ == State::body && !left_) {
    state_ = State::done;
    return true;
  }
  if (state_ == State::failed) return false;
  return fail("the connection ended in the middle of the reply");
}

}  // namespace taskmill::catalog
