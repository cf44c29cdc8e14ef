#include "common/catalog/core/value.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "common/base/json_writer.hpp"

namespace taskmill::catalog {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

unsigned byte_at(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }

// Length of the valid UTF-8 sequence at `i`, 0 when there is none (overlong forms and surrogates are wrong too).
std::size_t utf8_length(std::string_view text, std::size_t i) {
  const unsigned first = byte_at(text, i);
  if (first < 0x80) return 1;
  std::size_t length = 0;
  unsigned code = 0;
  unsigned least = 0;
  if ((first & 0xE0U) == 0xC0U) {
    length = 2;
    code = first & 0x1FU;
    least = 0x80;
  } else if ((first & 0xF0U) == 0xE0U) {
    length = 3;
    code = first & 0x0FU;
    least = 0x800;
  } else if ((first & 0xF8U) == 0xF0U) {
    length = 4;
    code = first & 0x07U;
    least = 0x10000;
  } else
    return 0;
  if (i + length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    const unsigned next = byte_at(text, i + k);
    if ((next & 0xC0U) != 0x80U) return 0;
    code = code << 6U | (next & 0x3FU);
  }
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  return code >= least && code <= 0x10FFFF && !surrogate ? length : 0;
}

void print_double(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  // 16 digits, as the old printer writes; an integral double comes out as an integer.
  std::array<char, 40> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::general, 16).ptr;
  out.append(buffer.data(), end);
}

struct Printer {
  std::string& out;

  void operator()(std::monostate) const { out += "null"; }
  void operator()(bool value) const { out += value ? "true" : "false"; }
  void operator()(std::int64_t value) const {
    std::array<char, 24> buffer{};
    out.append(buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr);
  }
  void operator()(double value) const { print_double(out, value); }
  void operator()(const std::string& value) const { print_string_to(out, value); }
  void operator()(const Array& array) const {
    out += '[';
    for (std::size_t i = 0; i < array.size(); ++i) {
      if (i > 0) out += ',';
      print_to(out, array[i]);
    }
    out += ']';
  }
  void operator()(const Object& object) const {
    out += '{';
    bool first = true;
    for (const auto& [key, value] : object) {
      if (!first) out += ',';
      first = false;
      print_string_to(out, key);
      out += ':';
      print_to(out, value);
    }
    out += '}';
  }
};

}  // namespace

std::optional<double> Value::number() const {
  if (const auto* i = as_int()) return static_cast<double>(*i);
  if (const auto* d = as_double()) return *d;
  return std::nullopt;
}

const Value* Value::find(std::string_view key) const {
  if (const auto* object = as_object()) {
    for (const auto& member : *object) {
      if (member.first == key) return &member.second;
    }
  }
  return nullptr;
}

std::string_view Value::text(std::string_view key, std::string_view otherwise) const {
  const Value* value = find(key);
  const auto* text = value != nullptr ? value->as_string() : nullptr;
  return text != nullptr ? std::string_view(*text) : otherwise;
}

std::int64_t Value::integer(std::string_view key, std::int64_t otherwise) const {
  const Value* value = find(key);
  if (value == nullptr) return otherwise;
  if (const auto* i = value->as_int()) return *i;
  if (const auto* d = value->as_double()) {
    constexpr double limit = 9.2e18;
    if (std::isfinite(*d) && std::fabs(*d) < limit) return static_cast<std::int64_t>(*d);
  }
  return otherwise;
}

bool Value::flag(std::string_view key, bool otherwise) const {
  const Value* value = find(key);
  const auto* flag = value != nullptr ? value->as_bool() : nullptr;
  return flag != nullptr ? *flag : otherwise;
}

void Value::set(std::string_view key, Value value) {
  auto* object = as_object();
  if (object == nullptr) {
    data_ = Object{};
    object = as_object();
  }
  for (auto& member : *object) {
    if (member.first == key) {
      member.second = std::move(value);
      return;
    }
  }
  object->emplace_back(std::string(key), std::move(value));
}

void Value::erase(std::string_view key) {
  if (auto* object = as_object()) {
    std::erase_if(*object, [key](const Member& member) { return member.first == key; });
  }
}

void print_string_to(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x80) {
      const std::size_t length = utf8_length(text, i);
      out += length > 0 ? text.substr(i, length) : replacement;
      i += length > 0 ? length : 1;
      continue;
    }
    if (c == 0) {
      out += replacement;  // old clients end the string at \u0000 and then reject the whole document
    } else if (c == '"' || c == '\\' || c < 0x20 || c == 0x7F) {
      append_json_escape(out, c);
    } else {
      out += text[i];
    }
    ++i;
  }
  out += '"';
}

std::string clean_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    out += length > 0 ? text.substr(i, length) : replacement;
    i += length > 0 ? length : 1;
  }
  return out;
}

void print_to(std::string& out, const Value& value) {
  if (value.is_null()) return Printer{out}(std::monostate{});
  if (const auto* v = value.as_bool()) return Printer{out}(*v);
  if (const auto* v = value.as_int()) return Printer{out}(*v);
  if (const auto* v = value.as_double()) return Printer{out}(*v);
  if (const auto* v = value.as_string()) return Printer{out}(*v);
  if (const auto* v = value.as_array()) return Printer{out}(*v);
  if (const auto* v = value.as_object()) return Printer{out}(*v);
}

std::string print(const Value& value) {
  std::string out;
  print_to(out, value);
  return out;
}

std::string display(const Value& value) {
  const auto* text = value.as_string();
  return text != nullptr ? *text : print(value);
}

}  // namespace taskmill::catalog
