#include "common/base/text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

namespace taskmill {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// wire-protocol.md 3.1: 0x01-0x20 " % ' < > \ 0x7B-0x7F 0x80-0xFF (and NUL, which no name may hold).
bool needs_escape(unsigned char c) {
  if (c <= 0x20 || c >= 0x7B) return true;
  return c == '"' || c == '%' || c == '\'' || c == '<' || c == '>' || c == '\\';
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

std::optional<std::int64_t> scaled(std::int64_t value, std::int64_t factor) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(value, factor, &result)) return std::nullopt;
  return result;
}

}  // namespace

std::string_view next_token(std::string_view& rest) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  std::size_t begin = 0;
  while (begin < rest.size() && is_blank(rest[begin])) ++begin;
  std::size_t end = begin;
  while (end < rest.size() && !is_blank(rest[end])) ++end;
  const auto token = rest.substr(begin, end - begin);
  rest.remove_prefix(end);
  return token;
}

std::optional<std::int64_t> parse_int(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<std::uint32_t> parse_octal(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<double> parse_number(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

void append_percent_encoded(std::string& out, std::string_view raw) {
  static constexpr char digits[] = "0123456789ABCDEF";
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    if (needs_escape(byte)) {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
}

bool append_percent_decoded(std::string& out, std::string_view encoded) {
  const std::size_t before = out.size();
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] != '%') {
      out += encoded[i];
      continue;
    }
    const int high = i + 2 < encoded.size() ? hex_digit(encoded[i + 1]) : -1;
    const int low = i + 2 < encoded.size() ? hex_digit(encoded[i + 2]) : -1;
    if (high < 0 || low < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

std::string percent_encode(std::string_view raw) {
  std::string out;
  out.reserve(raw.size());
  append_percent_encoded(out, raw);
  return out;
}

std::optional<std::string> percent_decode(std::string_view encoded) {
  std::string out;
  out.reserve(encoded.size());
  if (!append_percent_decoded(out, encoded)) return std::nullopt;
  return out;
}

std::string base64_encode(std::string_view raw) {
  static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((raw.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < raw.size(); i += 3) {
    std::uint32_t chunk = 0;
    const std::size_t n = raw.size() - i < 3 ? raw.size() - i : 3;
    for (std::size_t k = 0; k < 3; ++k) {
      chunk = chunk << 8 | (k < n ? static_cast<unsigned char>(raw[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) out += k <= n ? alphabet[(chunk >> (18 - 6 * k)) & 63] : '=';
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = base64_value(c);
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return out;
}

std::optional<std::int64_t> parse_metric(std::string_view text) {
  text = trim(text);
  std::int64_t factor = 1;
  if (!text.empty()) {
    static constexpr std::string_view suffixes = "kmgtp";
    const char last = static_cast<char>(text.back() | 0x20);
    if (const auto at = suffixes.find(last); at != std::string_view::npos) {
      factor = std::int64_t{1} << (10 * (at + 1));
      text.remove_suffix(1);
    }
  }
  const auto value = parse_int(trim(text));
  return value ? scaled(*value, factor) : std::nullopt;
}

std::optional<std::int64_t> parse_duration_seconds(std::string_view text) {
  text = trim(text);
  std::int64_t factor = 1;
  if (!text.empty()) {
    switch (text.back() | 0x20) {
      case 's':
        text.remove_suffix(1);
        break;
      case 'm':
        factor = 60;
        text.remove_suffix(1);
        break;
      case 'h':
        factor = 3600;
        text.remove_suffix(1);
        break;
      case 'd':
        factor = 86400;
        text.remove_suffix(1);
        break;
      default:
        break;
    }
  }
  const auto value = parse_int(trim(text));
  return value ? scaled(*value, factor) : std::nullopt;
}

bool is_safe_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

bool is_safe_relative_path(std::string_view path) {
  while (true) {
    const auto slash = path.find('/');
    if (!is_safe_name(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string_view trim(std::string_view text) {
  static constexpr std::string_view blanks = " \t\r\n\v\f";
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::string shell_quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> units = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return buffer.data();
}

}  // namespace taskmill
