// Filters of the catalog: the expression language of catalog.md 4.4, evaluated so that a server never drops a
// record its client would have shown.
//
// Old clients print their expression without parentheses before they send it, and apply their own tree to what they
// get. So wherever the text could stem from more than one tree (mixed and/or, `not` before a longer term, chains
// of equal operators), or uses something we do not evaluate, the answer is `doubt`, and doubt keeps the record.
//
//   auto filter = Expression::parse(text);          // error: not the language at all (400 Invalid query text)
//   if (filter->test(record) != Truth::no) …        // yes or doubt: serve it
//
// Reading a filter or testing it touches nothing but its arguments; recursion and work are bounded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/catalog/core/value.hpp"

namespace taskmill::catalog {

/// `failed`: an undefined name or operands that do not fit; every client treats it as not true.
enum class Truth : std::uint8_t { no, yes, failed, doubt };

class Expression {
 public:
  struct Node;

  /// `trusted` is for a filter typed by our own user: parentheses are where he put them, so precedence is what the
  /// manual promises (`and` before `or`) and nothing is ambiguous.
  static Expected<Expression> parse(std::string_view text, bool trusted = false);

  [[nodiscard]] Truth test(const Value& record) const;
  /// True when the record should be served.
  [[nodiscard]] bool keeps(const Value& record) const {
    const Truth truth = test(record);
    return truth == Truth::yes || truth == Truth::doubt;
  }
  /// The value of the expression, or an error text ("line 1, NAME: undefined symbol").
  [[nodiscard]] Expected<Value> evaluate(const Value& record) const;
  /// True for the constant `true`, the filter of every old worker.
  [[nodiscard]] bool is_always() const;
  /// True when every reader of the language understands the same by it (nothing in it is doubt).
  [[nodiscard]] bool is_unambiguous() const;

 private:
  std::shared_ptr<const Node> root_;
};

}  // namespace taskmill::catalog
