// Drives a session the way a connection does, and writes down what it says: one line per message, one per body,
// one for the failure. Feeding the same bytes in any pieces must give the same lines.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/manager_session.hpp"
#include "protocol/worker_session.hpp"
#include "tests/support/protocol_text.hpp"

namespace taskmill::testing {

template <class Session>
class Driver {
 public:
  explicit Driver(typename Session::Config config) : session(std::move(config)) { collect_output(); }

  void feed(std::string_view bytes) {
    if (failed) return;
    pending_ += bytes;
    std::span<const char> input(pending_);
    while (!input.empty() && !failed) {
      if (const auto left = session.body_left(); left > 0) {
        const auto count = std::min<std::size_t>(left, input.size());
        body_.append(input.data(), count);
        session.body_taken(count);
        input = input.subspan(count);
        if (session.body_left() == 0) finish_body();
        continue;
      }
      auto step = session.next(input);
      input = input.subspan(step.consumed);
      collect_output();
      if (step.failed()) {
        failed = true;
        events.push_back(std::string("! ") + protocol::problem_text(step.problem) + ": " + escape(step.detail));
      } else if (step.message) {
        events.push_back(to_text(*step.message));
        on_message(*step.message);
      } else if (step.consumed == 0) {
        break;
      }
    }
    pending_.erase(0, pending_.size() - input.size());
  }

  Session session;
  std::vector<std::string> events;
  std::string output;  ///< lines of the password exchange
  bool failed = false;
  /// Called inside feed(), for requests that arrive while bytes behind them are already there.
  std::vector<std::string> gets;
  int results_requests = 0;

 private:
  void on_message(const protocol::FromWorker&) {}
  void on_message(const protocol::ToWorker& message) {
    if (const auto* get = std::get_if<protocol::Get>(&message)) gets.emplace_back(get->name);
    if (std::holds_alternative<protocol::SendResults>(message)) ++results_requests;
  }
  void finish_body() {
    events.push_back("body \"" + escape(body_) + '"');
    body_.clear();
  }
  void collect_output() { output += session.take_output(); }

  std::string pending_;
  std::string body_;
};

using ManagerDriver = Driver<protocol::ManagerSession>;
using WorkerDriver = Driver<protocol::WorkerSession>;

inline protocol::ManagerSession::Config manager_with_password(std::string password, std::string challenge) {
  return {.password = std::move(password), .challenge = std::move(challenge), .has_password = true};
}
inline protocol::WorkerSession::Config worker_with_password(std::string password, std::string challenge) {
  return {.has_password = true, .password = std::move(password), .challenge = std::move(challenge)};
}

}  // namespace taskmill::testing
