// Control lines of the wire (wire-protocol.md 2): found in the input, cleaned, and cut into fields.
//
// A line ends at LF. Every CR in it is dropped, and a NUL ends what is interpreted. Nothing here allocates in
// steady state: lines are views of the input, or of a scratch buffer when they had to be cleaned.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocol/session.hpp"

namespace taskmill::protocol {

struct TakenLine {
  enum class State : std::uint8_t { partial, complete, too_long };
  State state = State::partial;
  std::size_t consumed = 0;  ///< with the LF; 0 unless complete
  std::string_view text;     ///< in the input or in the scratch buffer
};

/// `limit`: longest line without LF and CRs. A line with as many CRs again is too long as well.
TakenLine take_line(std::span<const char> input, std::size_t limit, std::string& scratch);

/// A field that holds an encoded name. Old senders write a control character as "% A" (3.1): a blank between '%'
/// and a hexadecimal digit belongs to the name.
std::string_view next_name(std::string_view& rest);
/// Replaces `out` by the decoded name. Understands "% A". False on any other malformed escape.
bool decode_name(std::string_view encoded, std::string& out);

/// Next token as an integer; a number that does not fit into Int is none.
template <std::integral Int>
std::optional<Int> next_int(std::string_view& rest);
/// Next token as a number whose fraction is dropped ("2.000000" from version 11, "+3").
std::optional<double> next_number(std::string_view& rest);
std::optional<unsigned> next_mode(std::string_view& rest);

std::string_view skip_blanks(std::string_view text);

/// The line, shortened and printable, and what is wrong with it: for Step::detail.
std::string describe(std::string_view line, std::string_view why);

/// What parsing one line gave.
template <class Message>
struct Parsed {
  Problem problem = Problem::none;
  std::string_view why;    ///< a literal
  std::uint64_t body = 0;  ///< bytes that follow the line
  std::optional<Message> message;
};

}  // namespace taskmill::protocol
