// The tree behind an Expression; private to expression_parser.cpp and expression.cpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/catalog/core/expression.hpp"
#include "common/catalog/core/regex.hpp"

namespace taskmill::catalog {

enum class Operator : std::uint8_t { eq, ne, lt, le, gt, ge, add, sub, mul, div, mod, land, lor, lnot, negate };

struct Expression::Node {
  enum class Kind : std::uint8_t {
    literal,  ///< value
    symbol,   ///< name
    unary,    ///< op children[0]
    binary,   ///< children[0] op children[1]
    index,    ///< children[0][children[1]]
    call,     ///< name(children…)
    array,    ///< [children…]
    doubt,    ///< anything we cannot be sure about
  };
  Kind kind = Kind::doubt;
  Operator op = Operator::eq;
  bool parenthesised = false;
  std::string name;
  Value value;
  std::vector<std::shared_ptr<const Node>> children;
  std::optional<Regex> regex;  ///< of like("…", x) when the pattern is a literal
};

using NodePtr = std::shared_ptr<const Expression::Node>;

/// The whole text as one tree; error when it is not the language.
Expected<NodePtr> parse_expression_tree(std::string_view text, bool trusted);

}  // namespace taskmill::catalog
