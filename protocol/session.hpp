// What both sessions share: the step a caller makes, and the reasons for which a peer is dropped.
//
// Usage, the same for both ends:
//
//   while (!input.empty()) {
//     if (auto n = session.body_left()) {            // the next bytes are a body, not lines
//       … give min(n, input.size()) bytes to whatever wants them, or let the shell splice them …
//       session.body_taken(count);
//     } else {
//       auto step = session.next(input);             // consumes whole lines only
//       input = input.subspan(step.consumed);
//       if (step.failed()) close the connection, log step.problem
//       if (step.message) handle it (views are valid until the next call)
//       else if (step.consumed == 0) break;          // a partial line: keep the bytes, wait for more
//     }
//   }
//   send whatever session.take_output() holds
//
// No call blocks, reads a clock or throws on peer input.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace taskmill::protocol {

enum class Problem : unsigned char {
  none,
  line_too_long,
  unknown_message,  ///< also an empty line, or a reply without its request
  malformed,        ///< a known verb with bad arguments
  unsafe_name,      ///< a path that leaves the cache or the requested name
  too_large,        ///< a length over its limit (protocol/limits.hpp)
  auth_failed,
  auth_missing,     ///< the peer did not speak the password exchange we require
  auth_unexpected,  ///< the peer wants a password exchange and we have no password
};
const char* problem_text(Problem problem);

template <class Message>
struct Step {
  std::size_t consumed = 0;
  std::optional<Message> message;
  Problem problem = Problem::none;
  std::string detail;  ///< the offending line (shortened, printable) and what was wrong
  [[nodiscard]] bool failed() const { return problem != Problem::none; }
};

}  // namespace taskmill::protocol
