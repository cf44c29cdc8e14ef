#include "common/catalog/core/reader.hpp"

#include <unordered_set>

#include "common/base/text.hpp"
#include "common/catalog/core/lexer.hpp"

namespace taskmill::catalog {
namespace {

class Reader {
 public:
  Reader(std::string_view text, ReaderLimits limits) : lexer_(text), limits_(limits) {}

  Expected<Value> document() {
    Value value;
    if (!read(value, 0)) return make_error(problem_.empty() ? lexer_.complaint() : problem_);
    return value;
  }

 private:
  bool fail(const char* problem) {
    problem_ = "line " + std::to_string(lexer_.line()) + ": " + problem;
    return false;
  }

  bool read(Value& out, std::size_t depth) {
    if (depth > limits_.depth) return fail("nested too deeply");
    if (++values_ > limits_.values) return fail("too many values");
    const auto& token = lexer_.peek();
    switch (token.kind) {
      case Token::Kind::integer:
        out = Value(token.integer);
        break;
      case Token::Kind::real:
        out = Value(token.real);
        break;
      case Token::Kind::string:
        out = Value(lexer_.take().text);
        return true;
      case Token::Kind::symbol:
        if (token.text == "true" || token.text == "false")
          out = Value(token.text == "true");
        else if (token.text == "null")
          out = Value();
        else
          return fail("the record is not constant");
        break;
      case Token::Kind::punctuation:
        if (lexer_.accept("{")) return read_object(out, depth);
        if (lexer_.accept("[")) return read_array(out, depth);
        if (lexer_.accept("-")) return read_negative(out);
        return false;
      default:
        return false;
    }
    lexer_.take();
    return true;
  }

  bool read_negative(Value& out) {
    const auto& token = lexer_.peek();
    if (token.kind == Token::Kind::integer)
      out = Value(-token.integer);
    else if (token.kind == Token::Kind::real)
      out = Value(-token.real);
    else
      return fail("a minus sign needs a number");
    lexer_.take();
    return true;
  }

  bool read_array(Value& out, std::size_t depth) {
    Array array;
    while (!lexer_.accept("]")) {
      if (!read(array.emplace_back(), depth + 1)) return false;
      if (!lexer_.accept(",") && !lexer_.peek().is("]")) return false;
    }
    out = Value(std::move(array));
    return true;
  }

  bool read_object(Value& out, std::size_t depth) {
    Object object;
    std::unordered_set<std::string> seen;  // filled only when scanning the object gets slow
    constexpr std::size_t scan_limit = 64;
    while (!lexer_.accept("}")) {
      if (lexer_.peek().kind != Token::Kind::string) return false;
      std::string key = lexer_.take().text;
      if (!lexer_.accept(":")) return false;
      Value value;
      if (!read(value, depth + 1)) return false;
      bool fresh = true;
      if (object.size() < scan_limit) {
        for (const auto& member : object) fresh = fresh && member.first != key;
      } else {
        if (seen.empty()) {
          for (const auto& member : object) seen.insert(member.first);
        }
        fresh = seen.insert(key).second;
      }
      if (fresh) object.emplace_back(std::move(key), std::move(value));
      if (!lexer_.accept(",") && !lexer_.peek().is("}")) return false;
    }
    out = Value(std::move(object));
    return true;
  }

  Lexer lexer_;
  ReaderLimits limits_;
  std::size_t values_ = 0;
  std::string problem_;
};

Value legacy_value(std::string_view text) {
  if (const auto integer = parse_int(text)) return Value(*integer);
  if (const auto number = parse_number(text)) return Value(*number);
  return Value(text);
}

bool is_plain_key(std::string_view key) {
  for (const char c : key) {
    if (c <= ' ' || c > '~' || c == '"' || c == '\\') return false;
  }
  return true;
}

Expected<Value> read_legacy(std::string_view text, ReaderLimits limits) {
  Object object;
  constexpr std::size_t most_lines = 1000;
  for (auto line : split(text, '\n')) {
    line = trim(line);
    if (line.empty()) continue;
    const auto key = next_token(line);
    if (!is_plain_key(key)) return make_error("this is neither JSON nor lines of \"key value\"");
    if (object.size() >= std::min(most_lines, limits.values)) return make_error("too many lines");
    bool fresh = true;
    for (const auto& member : object) fresh = fresh && member.first != key;
    if (fresh) object.emplace_back(std::string(key), legacy_value(trim(line)));
  }
  if (object.empty()) return make_error("the record is empty");
  return Value(std::move(object));
}

}  // namespace

Expected<Value> read_value(std::string_view text, ReaderLimits limits) { return Reader(text, limits).document(); }

Expected<Value> read_record(std::string_view text, ReaderLimits limits) {
  const auto start = trim(text);
  if (start.empty()) return make_error("the record is empty");
  if (start.front() == '[') return make_error("a record is one object, not an array");
  if (start.front() != '{') return read_legacy(text, limits);
  auto value = read_value(start, limits);
  if (value && value->as_object() == nullptr) return make_error("a record is one object");
  return value;
}

}  // namespace taskmill::catalog
