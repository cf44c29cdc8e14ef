#include "common/measure/core/json_scan.hpp"

#include <utility>

#include "common/base/text.hpp"

namespace taskmill::measure {

namespace {

constexpr int max_depth = 8;
constexpr int max_values = 100'000;

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool value(JsonValue& out, int depth) {
    if (depth > max_depth || ++values_ > max_values) return false;
    skip();
    if (rest_.empty()) return false;
    switch (rest_.front()) {
      case '{':
        return object(out, depth);
      case '[':
        return array(out, depth);
      case '"':
        out.kind = JsonValue::Kind::string;
        return string(out.string);
      case 't':
        out.kind = JsonValue::Kind::boolean;
        out.boolean = true;
        return word("true");
      case 'f':
        out.kind = JsonValue::Kind::boolean;
        return word("false");
      case 'n':
        return word("null");
      default:
        return number(out);
    }
  }
  bool at_end() {
    skip();
    return rest_.empty();
  }

 private:
  void skip() {
    const auto n = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(n == std::string_view::npos ? rest_.size() : n);
  }
  bool take(char c) {
    skip();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool word(std::string_view expected) {
    if (rest_.substr(0, expected.size()) != expected) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  bool number(JsonValue& out) {
    const auto end = rest_.find_first_of(",]} \t\r\n");
    const auto parsed = parse_number(rest_.substr(0, end));
    if (!parsed) return false;
    out.kind = JsonValue::Kind::number;
    out.number = *parsed;
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end);
    return true;
  }
  bool array(JsonValue& out, int depth) {
    out.kind = JsonValue::Kind::array;
    rest_.remove_prefix(1);
    if (take(']')) return true;
    do {
      if (!value(out.items.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take(']');
  }
  bool object(JsonValue& out, int depth) {
    out.kind = JsonValue::Kind::object;
    rest_.remove_prefix(1);
    if (take('}')) return true;
    do {
      auto& member = out.members.emplace_back();
      skip();
      if (rest_.empty() || rest_.front() != '"' || !string(member.name) || !take(':')) return false;
      if (!value(member.value, depth + 1)) return false;
    } while (take(','));
    return take('}');
  }
  bool string(std::string& out) {
    rest_.remove_prefix(1);
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (!escape(out)) return false;
    }
    return false;
  }
  bool escape(std::string& out) {
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    switch (c) {
      case 'n':
        out += '\n';
        return true;
      case 't':
        out += '\t';
        return true;
      case 'r':
        out += '\r';
        return true;
      case 'b':
        out += '\b';
        return true;
      case 'f':
        out += '\f';
        return true;
      case 'u':
        return unicode(out);
      default:
        out += c;
        return true;
    }
  }
  bool unicode(std::string& out) {
    if (rest_.size() < 4) return false;
    unsigned code = 0;
    for (const char c : rest_.substr(0, 4)) {
      const auto digit =
          std::string_view("0123456789abcdef").find(static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c));
      if (digit == std::string_view::npos) return false;
      code = code * 16 + static_cast<unsigned>(digit);
    }
    rest_.remove_prefix(4);
    if (code < 0x80)
      out += static_cast<char>(code);
    else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
    return true;
  }

  std::string_view rest_;
  int values_ = 0;
};

}  // namespace

const JsonValue* JsonValue::find(std::string_view key) const {
  for (const auto& [name, value] : members)
    if (name == key) return &value;
  return nullptr;
}

std::optional<double> JsonValue::number_of(std::string_view key) const {
  const auto* value = find(key);
  if (!value || value->kind != Kind::number) return std::nullopt;
  return value->number;
}

std::optional<JsonValue> parse_json(std::string_view text) {
  Scanner scanner(text);
  JsonValue value;
  if (!scanner.value(value, 0) || !scanner.at_end()) return std::nullopt;
  return value;
}

}  // namespace taskmill::measure
