// What every fuzzer of a session checks: no crash, and the same understanding however the bytes are cut.
// The first byte of an input holds switches: 1 version 9, 2 frames agreed, 4 requests outstanding, 8 password.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "protocol/limits.hpp"
#include "tests/support/protocol_driver.hpp"

namespace taskmill::fuzzing {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

template <class MakeDriver>
void check_splits(std::string_view stream, const MakeDriver& make) {
  auto whole = make();
  whole.feed(stream);
  auto pieces = make();
  // Piece lengths from the bytes themselves: 1 to 16.
  for (std::size_t at = 0; at < stream.size();) {
    const auto length = std::min<std::size_t>(stream.size() - at, 1 + (static_cast<unsigned char>(stream[at]) & 15U));
    pieces.feed(stream.substr(at, length));
    at += length;
  }
  require(whole.events == pieces.events, "messages do not depend on the pieces");
  require(whole.output == pieces.output, "answers do not depend on the pieces");
  require(whole.failed == pieces.failed, "failure does not depend on the pieces");
}

struct Switches {
  bool version_9 = false, frames = false, requests = false, password = false;
};

inline Switches take_switches(std::string_view& stream) {
  if (stream.empty()) return {};
  const auto bits = static_cast<unsigned char>(stream.front());
  stream.remove_prefix(1);
  return {(bits & 1U) != 0, (bits & 2U) != 0, (bits & 4U) != 0, (bits & 8U) != 0};
}

}  // namespace taskmill::fuzzing
