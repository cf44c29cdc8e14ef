// Small pieces of text work shared by wire, catalog and files. No locale, no allocation where a view
// will do, no exceptions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace taskmill {

/// Next blank-separated token; advances `rest` behind it. Empty when there is none.
std::string_view next_token(std::string_view& rest);

/// Whole-string integer, optional sign. nullopt on junk or overflow.
std::optional<std::int64_t> parse_int(std::string_view text);
/// Whole-string octal number, leading zeros allowed.
std::optional<std::uint32_t> parse_octal(std::string_view text);
/// Whole-string decimal number ("12", "1.500000", "-3"); no inf, no nan.
std::optional<double> parse_number(std::string_view text);

/// Name encoding of wire-protocol.md section 3.1 (with correct two-digit escapes).
std::string percent_encode(std::string_view raw);
/// Decodes; nullopt on a malformed escape.
std::optional<std::string> percent_decode(std::string_view encoded);
/// The same for buffers that are reused. A malformed escape returns false and leaves `out` as it was.
void append_percent_encoded(std::string& out, std::string_view raw);
bool append_percent_decoded(std::string& out, std::string_view encoded);

std::string base64_encode(std::string_view raw);
/// Standard or URL-safe alphabet, padding optional. nullopt on junk.
std::optional<std::string> base64_decode(std::string_view text);

/// "12", "10K", "3M", "2G" (binary suffixes, either case). nullopt on junk or overflow.
std::optional<std::int64_t> parse_metric(std::string_view text);
/// "30", "30s", "5m", "2h", "1d" in seconds. nullopt on junk.
std::optional<std::int64_t> parse_duration_seconds(std::string_view text);

/// A path that stays inside its root: not empty, not absolute, no empty, "." or ".." component, no NUL.
bool is_safe_relative_path(std::string_view path);
/// One component that is_safe_relative_path accepts and that holds no '/'.
bool is_safe_name(std::string_view name);

std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
/// 'it'\''s' : one word for /bin/sh.
std::string shell_quote(std::string_view text);
/// "1.5 GB", "312 kB": for people.
std::string human_bytes(std::uint64_t bytes);

}  // namespace taskmill
