// The password exchange of wire-protocol.md 4.2, one side, as a pure machine: lines in, lines out.
//
// Neither role accepts its own challenge back. The accepting side (manager) withholds its response until the
// peer's response is verified, so that a second connection cannot use it as an oracle. The connecting side
// (worker) answers first towards old managers, which wait for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace taskmill::protocol {

enum class AuthRole : std::uint8_t { accepting, connecting };
enum class AuthState : std::uint8_t { running, ok, failed };

class AuthMachine {
 public:
  /// `challenge`: 63 letters a-z from the caller's generator of secrets.
  AuthMachine(AuthRole role, std::string password, std::string challenge);
  /// What to send first; appended to `out`.
  void start(std::string& out);
  /// One line of the peer (without LF). Replies are appended to `out`.
  AuthState on_line(std::string_view line, std::string& out);
  [[nodiscard]] AuthState state() const { return state_; }
  /// True if the first line already was not the exchange: the peer has no password.
  [[nodiscard]] bool peer_has_no_password() const {
    return state_ == AuthState::failed && expect_ == Expect::identification;
  }
  [[nodiscard]] const std::string& failure() const { return failure_; }  ///< one line, for the log

 private:
  AuthState fail(std::string why, std::string& out);
  enum class Expect : std::uint8_t { identification, challenge, response, verdict };
  AuthRole role_;
  std::string password_, challenge_, peer_challenge_, failure_;
  Expect expect_ = Expect::identification;
  AuthState state_ = AuthState::running;
};

/// hex(SHA1(password + " " + challenge)).
std::string auth_response(std::string_view password, std::string_view challenge);

}  // namespace taskmill::protocol
