#include "protocol/manager_session.hpp"

#include <algorithm>
#include <utility>

#include "common/base/text.hpp"
#include "protocol/limits.hpp"
#include "protocol/parse_from_worker.hpp"

namespace taskmill::protocol {
namespace {

Step<FromWorker> failed(Problem problem, std::string detail) { return {0, std::nullopt, problem, std::move(detail)}; }

// `GET <path> HTTP/x.y`; the path, or nothing.
std::string_view http_path(std::string_view line) {
  if (!line.starts_with("GET") || next_token(line) != "GET") return {};
  const auto path = next_token(line);
  return next_token(line).starts_with("HTTP/") ? path : std::string_view{};
}

}  // namespace

const char* problem_text(Problem problem) {
  switch (problem) {
    case Problem::none:
      return "no problem";
    case Problem::line_too_long:
      return "line too long";
    case Problem::unknown_message:
      return "unknown message";
    case Problem::malformed:
      return "malformed message";
    case Problem::unsafe_name:
      return "unsafe name";
    case Problem::too_large:
      return "announced length over its limit";
    case Problem::auth_failed:
      return "wrong password";
    case Problem::auth_missing:
      return "peer does not use a password";
    case Problem::auth_unexpected:
      return "peer wants a password";
  }
  return "unknown problem";
}

ManagerSession::ManagerSession(Config config) : config_(std::move(config)) {
  if (!config_.has_password) return;
  auth_ = std::make_unique<AuthMachine>(AuthRole::accepting, config_.password, config_.challenge);
  auth_->start(output_);
}

bool ManagerSession::authenticated() const { return !auth_ || auth_->state() == AuthState::ok; }

std::string ManagerSession::take_output() { return std::exchange(output_, {}); }

void ManagerSession::body_taken(std::uint64_t count) { body_left_ -= std::min(count, body_left_); }

void ManagerSession::expect_results() { requests_.push_back({false, {}}); }

void ManagerSession::expect_get(std::string cache_name) { requests_.push_back({true, std::move(cache_name)}); }

Step<FromWorker> ManagerSession::next(std::span<const char> input) {
  if (body_left_ > 0) return {};
  if (in_http_headers_) return skip_http_headers(input, 0);
  const bool authenticating = !authenticated();
  const auto line = take_line(input, authenticating ? max_auth_line : max_line, line_);
  switch (line.state) {
    case TakenLine::State::partial:
      return {};
    case TakenLine::State::too_long:
      return failed(Problem::line_too_long, describe(line.text, "line too long"));
    case TakenLine::State::complete:
      break;
  }
  if (authenticating) return on_auth_line(line.text, line.consumed);
  if (const auto path = http_path(line.text); !path.empty()) {
    decoded_ = path;
    in_http_headers_ = true;
    http_line_empty_ = true;
    http_bytes_ = line.consumed;
    return skip_http_headers(input.subspan(line.consumed), line.consumed);
  }
  return on_line(line.text, line.consumed);
}

Step<FromWorker> ManagerSession::on_auth_line(std::string_view line, std::size_t consumed) {
  switch (auth_->on_line(line, output_)) {
    case AuthState::running:
      return {consumed, std::nullopt, Problem::none, {}};
    case AuthState::ok:
      return {consumed, Authenticated{}, Problem::none, {}};
    case AuthState::failed:
      break;
  }
  const auto problem = auth_->peer_has_no_password() ? Problem::auth_missing : Problem::auth_failed;
  return {consumed, std::nullopt, problem, auth_->failure()};
}

Step<FromWorker> ManagerSession::on_line(std::string_view line, std::size_t consumed) {
  FromWorkerContext context;
  if (!requests_.empty()) {
    const auto& oldest = requests_.front();
    context.exchange = oldest.is_get ? FromWorkerContext::Exchange::get : FromWorkerContext::Exchange::results;
    context.get_name = oldest.name;
  }
  context.version = version_;
  context.frames = frames_allowed_;
  context.scratch = &decoded_;
  auto parsed = parse_from_worker(line, context);
  if (parsed.problem != Problem::none) return failed(parsed.problem, describe(line, parsed.why));
  body_left_ = parsed.body;
  if (parsed.message) {
    if (const auto* greeting = std::get_if<Greeting>(&*parsed.message)) version_ = greeting->version;
    if (std::holds_alternative<ResultsEnd>(*parsed.message) || std::holds_alternative<GetEnd>(*parsed.message)) {
      requests_.pop_front();
    }
  }
  return {consumed, parsed.message, Problem::none, {}};
}

// Headers are read and thrown away as they come, so that the caller need not hold them. `consumed` is what the
// request line took of the same input.
Step<FromWorker> ManagerSession::skip_http_headers(std::span<const char> input, std::size_t consumed) {
  for (const char c : input) {
    ++consumed;
    if (++http_bytes_ > max_http_header) return failed(Problem::too_large, "HTTP request with too many headers");
    if (c == '\n') {
      if (http_line_empty_) {
        in_http_headers_ = false;
        return {consumed, HttpRequest{decoded_}, Problem::none, {}};
      }
      http_line_empty_ = true;
    } else if (c != '\r') {
      http_line_empty_ = false;
    }
  }
  return {consumed, std::nullopt, Problem::none, {}};
}

}  // namespace taskmill::protocol
