#include "common/catalog/core/lexer.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace taskmill::catalog {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

void append_utf8(std::string& out, unsigned code) {
  const auto put = [&out](unsigned byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0U | code >> 6U);
    put(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    put(0xE0U | code >> 12U);
    put(0x80U | (code >> 6U & 0x3FU));
    put(0x80U | (code & 0x3FU));
  } else {
    put(0xF0U | code >> 18U);
    put(0x80U | (code >> 12U & 0x3FU));
    put(0x80U | (code >> 6U & 0x3FU));
    put(0x80U | (code & 0x3FU));
  }
}

}  // namespace

Token Lexer::take() {
  Token taken = std::move(token_);
  advance();
  return taken;
}

bool Lexer::accept(std::string_view punctuation) {
  if (!token_.is(punctuation)) return false;
  advance();
  return true;
}

std::string Lexer::complaint() const {
  const std::string where = "line " + std::to_string(line_) + ": ";
  if (token_.kind == Token::Kind::end) return where + "unexpected end";
  if (token_.kind == Token::Kind::bad) return where + token_.text;
  return where + "unexpected '" + token_.text.substr(0, 40) + "'";
}

void Lexer::bad(std::string reason) {
  token_.kind = Token::Kind::bad;
  token_.text = std::move(reason);
  at_ = text_.size();
}

void Lexer::skip_blanks() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '\n') ++line_;
    if (c == '#') {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f') {
      ++at_;
    } else {
      return;
    }
  }
}

void Lexer::advance() {
  if (token_.kind == Token::Kind::bad) return;
  token_.text.clear();
  skip_blanks();
  if (at_ >= text_.size()) {
    token_.kind = Token::Kind::end;
    return;
  }
  const char c = text_[at_];
  if (c == '"') return read_string();
  if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]))) return read_number();
  if (is_letter(c)) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
    token_.kind = Token::Kind::symbol;
    token_.text = text_.substr(begin, at_ - begin);
    return;
  }
  read_punctuation();
}

void Lexer::read_number() {
  const std::size_t begin = at_;
  bool real = false;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    const bool exponent_sign = (c == '+' || c == '-') && at_ > begin && (text_[at_ - 1] | 0x20) == 'e';
    if (c == '.' || (c | 0x20) == 'e' || exponent_sign) {
      real = true;
    } else if (!is_digit(c)) {
      break;
    }
    ++at_;
  }
  const char* first = text_.data() + begin;
  const char* last = text_.data() + at_;
  token_.text = std::string(first, last);
  if (!real) {
    const auto [end, error] = std::from_chars(first, last, token_.integer);
    if (error == std::errc{} && end == last) {
      token_.kind = Token::Kind::integer;
      return;
    }
  }
  const auto [end, error] = std::from_chars(first, last, token_.real);
  if (error != std::errc{} || end != last || !std::isfinite(token_.real)) return bad("invalid number");
  token_.kind = Token::Kind::real;
}

unsigned Lexer::read_hex4(bool& ok) {
  unsigned code = 0;
  if (at_ + 4 > text_.size()) {
    ok = false;
    return 0;
  }
  const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
  ok = error == std::errc{} && end == text_.data() + at_ + 4;
  at_ += 4;
  return code;
}

void Lexer::read_unicode_escape() {
  bool ok = true;
  unsigned code = read_hex4(ok);
  if (!ok) return bad("invalid \\u escape");
  if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
    at_ += 2;
    const unsigned low = read_hex4(ok);
    if (!ok || low < 0xDC00 || low > 0xDFFF) return bad("invalid surrogate pair");
    code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
  } else if (code >= 0xD800 && code < 0xE000) {
    code = 0xFFFD;  // half of a pair: not a character
  }
  append_utf8(token_.text, code);
}

void Lexer::read_string() {
  token_.kind = Token::Kind::string;
  ++at_;
  while (at_ < text_.size()) {
    // Take everything up to the next special character in one piece.
    const std::size_t stop = text_.find_first_of("\"\\\n", at_);
    if (stop == std::string_view::npos) break;
    token_.text.append(text_, at_, stop - at_);
    at_ = stop + 1;
    const char c = text_[stop];
    if (c == '"') return;
    if (c == '\n') {
      ++line_;
      token_.text += '\n';
      continue;
    }
    if (at_ >= text_.size()) break;
    const char escaped = text_[at_++];
    switch (escaped) {
      case 'b':
        token_.text += '\b';
        break;
      case 'f':
        token_.text += '\f';
        break;
      case 'n':
        token_.text += '\n';
        break;
      case 'r':
        token_.text += '\r';
        break;
      case 't':
        token_.text += '\t';
        break;
      case 'u':
        read_unicode_escape();
        if (token_.kind == Token::Kind::bad) return;
        break;
      case '"':
      case '\\':
      case '/':
        token_.text += escaped;
        break;
      default:
        return bad("invalid escape in a string");
    }
  }
  bad("the string has no end");
}

void Lexer::read_punctuation() {
  static constexpr std::array<std::string_view, 6> pairs = {"==", "!=", "<=", ">=", "&&", "||"};
  static constexpr std::string_view singles = "<>!+-*/%[](){},:;.";
  token_.kind = Token::Kind::punctuation;
  for (const auto pair : pairs) {
    if (text_.substr(at_, 2) == pair) {
      token_.text = pair;
      at_ += 2;
      return;
    }
  }
  if (singles.find(text_[at_]) == std::string_view::npos) return bad("unexpected character");
  token_.text = text_[at_++];
}

}  // namespace taskmill::catalog
