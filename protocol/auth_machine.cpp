#include "protocol/auth_machine.hpp"

#include <utility>

namespace taskmill::protocol {
namespace {

constexpr std::string_view identification = "auth password sha1";

// The time does not depend on where the texts differ.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

void append_line(std::string& out, std::string_view text) {
  out += text;
  out += '\n';
}

}  // namespace

AuthMachine::AuthMachine(AuthRole role, std::string password, std::string challenge)
    : role_(role), password_(std::move(password)), challenge_(std::move(challenge)) {}

void AuthMachine::start(std::string& out) { append_line(out, identification); }

AuthState AuthMachine::fail(std::string why, std::string& out) {
  // A peer that does not speak the exchange gets no verdict: it would take it for a message.
  if (expect_ != Expect::identification) append_line(out, "failure");
  failure_ = std::move(why);
  return state_ = AuthState::failed;
}

AuthState AuthMachine::on_line(std::string_view line, std::string& out) {
  if (state_ != AuthState::running) return state_;
  switch (expect_) {
    case Expect::identification:
      if (line != identification) return fail("the peer does not use a password", out);
      if (challenge_.empty()) return fail("no challenge was given to the password exchange", out);
      append_line(out, challenge_);
      expect_ = Expect::challenge;
      return state_;
    case Expect::challenge:
      // An honest peer never draws our challenge; one that repeats it wants us to answer it (4.2).
      if (line == challenge_) return fail("the peer sent our own challenge back", out);
      if (line.empty()) return fail("the peer sent an empty challenge", out);
      peer_challenge_ = line;
      if (role_ == AuthRole::connecting) append_line(out, auth_response(password_, peer_challenge_));
      expect_ = Expect::response;
      return state_;
    case Expect::response:
      if (!equal_in_constant_time(line, auth_response(password_, challenge_))) return fail("wrong password", out);
      if (role_ == AuthRole::accepting) append_line(out, auth_response(password_, peer_challenge_));
      append_line(out, "ok");
      expect_ = Expect::verdict;
      return state_;
    case Expect::verdict:
      if (line != "ok") {
        failure_ = "the peer refused our password";
        return state_ = AuthState::failed;
      }
      return state_ = AuthState::ok;
  }
  return state_;
}

}  // namespace taskmill::protocol
