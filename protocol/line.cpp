#include "protocol/line.hpp"

#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/base/text.hpp"

namespace taskmill::protocol {
namespace {

std::size_t without_cr(std::string_view text) {
  std::size_t count = text.size();
  for (const char c : text) count -= c == '\r' ? 1 : 0;
  return count;
}

bool too_long(std::string_view text, std::size_t limit) {
  return text.size() > limit && (text.size() > 2 * limit || without_cr(text) > limit);
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_blank(char c) { return c == ' ' || c == '\t'; }

// "% A" at `at`?
bool is_split_escape(std::string_view text, std::size_t at) {
  return text[at] == '%' && at + 2 < text.size() && text[at + 1] == ' ' && is_hex(text[at + 2]);
}

}  // namespace

TakenLine take_line(std::span<const char> input, std::size_t limit, std::string& scratch) {
  const std::string_view all(input.data(), input.size());
  const auto lf = all.find('\n');
  const auto raw = all.substr(0, lf);
  if (too_long(raw, limit)) return {TakenLine::State::too_long, 0, raw.substr(0, limit)};
  if (lf == std::string_view::npos) return {};
  TakenLine taken{TakenLine::State::complete, lf + 1, raw};
  if (raw.find('\r') != std::string_view::npos) {
    scratch.clear();
    for (const char c : raw) {
      if (c != '\r') scratch += c;
    }
    taken.text = scratch;
  }
  taken.text = taken.text.substr(0, taken.text.find('\0'));
  return taken;
}

std::string_view skip_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  return text;
}

std::string_view next_name(std::string_view& rest) {
  rest = skip_blanks(rest);
  std::size_t end = 0;
  while (end < rest.size() && !is_blank(rest[end])) end += is_split_escape(rest, end) ? 3 : 1;
  const auto name = rest.substr(0, end);
  rest.remove_prefix(end);
  return name;
}

bool decode_name(std::string_view encoded, std::string& out) {
  out.clear();
  while (true) {
    std::size_t at = encoded.find("% ");
    while (at != std::string_view::npos && !is_split_escape(encoded, at)) at = encoded.find("% ", at + 1);
    if (!append_percent_decoded(out, encoded.substr(0, at))) return false;
    if (at == std::string_view::npos) return true;
    const char digit = encoded[at + 2];
    out += static_cast<char>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    encoded.remove_prefix(at + 3);
  }
}

template <std::integral Int>
std::optional<Int> next_int(std::string_view& rest) {
  const auto value = parse_int(next_token(rest));
  if (!value || !std::in_range<Int>(*value)) return std::nullopt;
  return static_cast<Int>(*value);
}
template std::optional<int> next_int<int>(std::string_view&);
template std::optional<std::uint32_t> next_int<std::uint32_t>(std::string_view&);
template std::optional<std::int64_t> next_int<std::int64_t>(std::string_view&);
template std::optional<std::uint64_t> next_int<std::uint64_t>(std::string_view&);

std::optional<double> next_number(std::string_view& rest) {
  const auto token = next_token(rest);
  if (const auto whole = parse_int(token)) return static_cast<double>(*whole);
  return parse_number(token);
}

std::optional<unsigned> next_mode(std::string_view& rest) {
  const auto mode = parse_octal(next_token(rest));
  // Nobody sends set-user-id, set-group-id or sticky bits (7.3); nobody shall be able to.
  return mode ? std::optional<unsigned>(*mode & 0777U) : std::nullopt;
}

std::string describe(std::string_view line, std::string_view why) {
  static constexpr std::size_t shown = 120;
  std::string text(why);
  text += ": '";
  for (const char c : line.substr(0, shown)) text += c >= 0x20 && c < 0x7F ? c : '?';
  text += line.size() > shown ? "...'" : "'";
  return text;
}

}  // namespace taskmill::protocol
