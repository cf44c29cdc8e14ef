// The manager's side of one connection: password, first words (worker, status client, HTTP), then messages.
// See session.hpp for how to drive it. Requests that will be answered are registered in the order in which they
// are sent: expect_results() for `send_results`, expect_get() for `get`; replies are matched first in, first out.
//
// `Authenticated` is reported once, after a password exchange; without a password there is none. With a password,
// take_output() holds our first line from the beginning.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/base/small_queue.hpp"
#include "protocol/auth_machine.hpp"
#include "protocol/from_worker.hpp"
#include "protocol/session.hpp"

namespace taskmill::protocol {

class ManagerSession {
 public:
  struct Config {
    std::string password{};   ///< empty: none required
    std::string challenge{};  ///< 63 letters; needed with a password
    bool has_password = false;
  };
  explicit ManagerSession(Config config);

  Step<FromWorker> next(std::span<const char> input);
  [[nodiscard]] std::uint64_t body_left() const { return body_left_; }
  void body_taken(std::uint64_t count);

  void expect_results();
  void expect_get(std::string cache_name);
  [[nodiscard]] std::size_t outstanding_requests() const { return requests_.size(); }

  /// Lines of the password exchange to be sent now; empty otherwise.
  std::string take_output();
  [[nodiscard]] bool authenticated() const;
  /// Both sides announced the extension: Frame is accepted from now on.
  void allow_frames(bool allowed) { frames_allowed_ = allowed; }

 private:
  struct Request {
    bool is_get = false;
    std::string name;
  };
  Step<FromWorker> on_auth_line(std::string_view line, std::size_t consumed);
  Step<FromWorker> on_line(std::string_view line, std::size_t consumed);
  Step<FromWorker> skip_http_headers(std::span<const char> input, std::size_t consumed);

  Config config_;
  std::unique_ptr<AuthMachine> auth_;
  std::string output_;
  std::string line_;  ///< the line being handled when it had to be cleaned (CR, NUL)
  std::string decoded_;
  SmallQueue<Request> requests_;
  std::uint64_t body_left_ = 0;
  int version_ = 0;  ///< of the peer's greeting
  bool frames_allowed_ = false;
  bool in_http_headers_ = false;  ///< the path of the request is in decoded_
  bool http_line_empty_ = true;
  std::size_t http_bytes_ = 0;
};

}  // namespace taskmill::protocol
