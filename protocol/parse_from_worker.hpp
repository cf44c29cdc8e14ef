// One line W>M to one message. Pure: the session says in which exchange the connection is.
//
// Old managers compare prefixes ("aliveXYZ" is `alive`), so this does too; where both could fit, the order of
// wire-protocol.md 2 decides. Asynchronous lines are accepted anywhere, the items of a reply only inside theirs.
#pragma once

#include <string>
#include <string_view>

#include "protocol/from_worker.hpp"
#include "protocol/line.hpp"

namespace taskmill::protocol {

struct FromWorkerContext {
  enum class Exchange : std::uint8_t { none, results, get };
  Exchange exchange = Exchange::none;  ///< of the oldest unanswered request
  std::string_view get_name;           ///< cache name of that request
  int version = 0;                     ///< of the greeting; 0 before it
  bool frames = false;
  std::string* scratch = nullptr;  ///< for decoded fields
};

Parsed<FromWorker> parse_from_worker(std::string_view line, const FromWorkerContext& context);

}  // namespace taskmill::protocol
