// A JSON value as the catalog knows it: integers stay integers, object keys keep their order, a key occurs once.
//
// Reading is done by core/expression.hpp (the same grammar serves records and filters); this is the value and its
// way out. print() writes compact JSON that old clients can read too: raw UTF-8, \u only for control characters,
// NUL and bytes that are not UTF-8 replaced by U+FFFD (catalog.md section 2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace taskmill::catalog {

class Value;
using Array = std::vector<Value>;
using Member = std::pair<std::string, Value>;
using Object = std::vector<Member>;  ///< in order of appearance, keys unique

class Value {
 public:
  Value() = default;
  Value(std::nullptr_t) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(int value) : data_(std::int64_t{value}) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::move(value)) {}
  Value(std::string_view value) : data_(std::string(value)) {}
  Value(const char* value) : data_(std::string(value)) {}
  Value(Array value) : data_(std::move(value)) {}
  Value(Object value) : data_(std::move(value)) {}

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  [[nodiscard]] const bool* as_bool() const { return std::get_if<bool>(&data_); }
  [[nodiscard]] const std::int64_t* as_int() const { return std::get_if<std::int64_t>(&data_); }
  [[nodiscard]] const double* as_double() const { return std::get_if<double>(&data_); }
  [[nodiscard]] const std::string* as_string() const { return std::get_if<std::string>(&data_); }
  [[nodiscard]] const Array* as_array() const { return std::get_if<Array>(&data_); }
  [[nodiscard]] Array* as_array() { return std::get_if<Array>(&data_); }
  [[nodiscard]] const Object* as_object() const { return std::get_if<Object>(&data_); }
  [[nodiscard]] Object* as_object() { return std::get_if<Object>(&data_); }
  /// Integer or double.
  [[nodiscard]] std::optional<double> number() const;

  // --- objects; all are harmless on other values ---
  [[nodiscard]] const Value* find(std::string_view key) const;
  [[nodiscard]] std::string_view text(std::string_view key, std::string_view otherwise = {}) const;
  /// Integer, or a double cut towards zero when it fits; else `otherwise`.
  [[nodiscard]] std::int64_t integer(std::string_view key, std::int64_t otherwise = 0) const;
  [[nodiscard]] bool flag(std::string_view key, bool otherwise = false) const;
  /// Replaces or appends. Makes an object of anything else.
  void set(std::string_view key, Value value);
  void erase(std::string_view key);

  bool operator==(const Value&) const = default;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> data_;
};

/// Compact JSON.
std::string print(const Value& value);
void print_to(std::string& out, const Value& value);
/// Strings as they are, everything else as JSON: what tables and text forms show.
std::string display(const Value& value);
/// A quoted JSON string.
void print_string_to(std::string& out, std::string_view text);
/// Valid UTF-8: each wrong byte becomes U+FFFD.
std::string clean_utf8(std::string_view text);

}  // namespace taskmill::catalog
