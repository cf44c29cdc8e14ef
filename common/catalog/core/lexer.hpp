// Words of the catalog's language: JSON plus comments, symbols and operators (catalog.md sections 2 and 4.4).
// Shared by the reader of records and the reader of filters. Views point into the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace taskmill::catalog {

struct Token {
  enum class Kind : std::uint8_t { end, bad, integer, real, string, symbol, punctuation };
  Kind kind = Kind::end;
  std::string text;  ///< decoded string, symbol, or the punctuation ("==", "[", …); reason when bad
  std::int64_t integer = 0;
  double real = 0;

  [[nodiscard]] bool is(std::string_view punctuation) const { return kind == Kind::punctuation && text == punctuation; }
  [[nodiscard]] bool is_symbol(std::string_view name) const { return kind == Kind::symbol && text == name; }
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { advance(); }
  [[nodiscard]] const Token& peek() const { return token_; }
  Token take();
  /// Takes the punctuation when it is next.
  bool accept(std::string_view punctuation);
  [[nodiscard]] int line() const { return line_; }
  /// "line 3: …" about the next token.
  [[nodiscard]] std::string complaint() const;

 private:
  void advance();
  void skip_blanks();
  void read_number();
  void read_string();
  void read_unicode_escape();
  unsigned read_hex4(bool& ok);
  void read_punctuation();
  void bad(std::string reason);

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  Token token_;
};

}  // namespace taskmill::catalog
