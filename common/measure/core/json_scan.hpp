// A bounded reader for the small JSON texts of measurements and summaries. Pure; no exceptions, no recursion of the
// peer's choosing: nesting is limited, sizes are limited by the caller's text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace taskmill::measure {

struct JsonMember;

struct JsonValue {
  enum class Kind : unsigned char { null, boolean, number, string, array, object } kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<JsonValue> items;     ///< array
  std::vector<JsonMember> members;  ///< object, in order

  [[nodiscard]] const JsonValue* find(std::string_view key) const;
  [[nodiscard]] std::optional<double> number_of(std::string_view key) const;
};

struct JsonMember {
  std::string name;
  JsonValue value;
};

/// nullopt on malformed text, nesting deeper than 8 or more than 100,000 values. Trailing blanks are allowed.
std::optional<JsonValue> parse_json(std::string_view text);

}  // namespace taskmill::measure
