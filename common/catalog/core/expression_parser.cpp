#include <array>
#include <string>
#include <utility>

#include "common/catalog/core/expression_tree.hpp"
#include "common/catalog/core/lexer.hpp"

namespace taskmill::catalog {
namespace {

using Node = Expression::Node;
using MutableNode = std::shared_ptr<Node>;

constexpr std::size_t depth_limit = 64;
constexpr std::size_t node_limit = 4096;

struct OperatorName {
  std::string_view text;
  Operator op;
  int level;  ///< binding strength: or 1, and 2, comparison 3, sum 4, product 5
};
constexpr std::array<OperatorName, 15> operators = {{{"or", Operator::lor, 1},
                                                     {"||", Operator::lor, 1},
                                                     {"and", Operator::land, 2},
                                                     {"&&", Operator::land, 2},
                                                     {"==", Operator::eq, 3},
                                                     {"!=", Operator::ne, 3},
                                                     {"<", Operator::lt, 3},
                                                     {"<=", Operator::le, 3},
                                                     {">", Operator::gt, 3},
                                                     {">=", Operator::ge, 3},
                                                     {"+", Operator::add, 4},
                                                     {"-", Operator::sub, 4},
                                                     {"*", Operator::mul, 5},
                                                     {"/", Operator::div, 5},
                                                     {"%", Operator::mod, 5}}};
constexpr int loosest = 1;
constexpr int tightest = 5;

const OperatorName* operator_of(const Token& token) {
  if (token.kind != Token::Kind::punctuation && token.kind != Token::Kind::symbol) return nullptr;
  for (const auto& entry : operators) {
    if (entry.text == token.text) return &entry;
  }
  return nullptr;
}

class Parser {
 public:
  Parser(std::string_view text, bool trusted) : lexer_(text), trusted_(trusted) {}

  Expected<NodePtr> whole() {
    auto node = chain(0);
    if (node != nullptr) {
      lexer_.accept(";");
      if (lexer_.peek().kind == Token::Kind::end) return NodePtr(node);
    }
    return make_error(problem_.empty() ? lexer_.complaint() : problem_);
  }

 private:
  MutableNode make(Node::Kind kind) {
    if (++nodes_ > node_limit) {
      problem_ = "the expression is too long";
      return nullptr;
    }
    auto node = std::make_shared<Node>();
    node->kind = kind;
    return node;
  }

  // One run of operands and operators without parentheses around parts of it: the unit in which lost parentheses
  // make the text ambiguous.
  struct Run {
    std::vector<MutableNode> operands;
    std::vector<const OperatorName*> operators;
  };

  MutableNode chain(std::size_t depth) {
    if (depth > depth_limit) {
      problem_ = "the expression is nested too deeply";
      return nullptr;
    }
    Run run;
    bool loose_prefix = false;  // "not a == b": does `not` cover "a" or all of it?
    while (true) {
      bool prefixed = false;
      auto operand = unary(depth, prefixed);
      if (operand == nullptr) return nullptr;
      run.operands.push_back(std::move(operand));
      const auto* next = operator_of(lexer_.peek());
      if (next == nullptr) break;
      if (prefixed) loose_prefix = true;
      lexer_.take();
      run.operators.push_back(next);
      if (run.operators.size() > node_limit) {
        problem_ = "the expression is too long";
        return nullptr;
      }
    }
    if (!trusted_ && (loose_prefix || is_ambiguous(run))) return make(Node::Kind::doubt);
    return fold(run, 0, run.operands.size(), loosest);
  }

  static bool is_ambiguous(const Run& run) {
    bool any_and = false;
    bool any_or = false;
    int comparisons = 0;
    const OperatorName* arithmetic = nullptr;
    for (const auto* entry : run.operators) {
      any_and = any_and || entry->op == Operator::land;
      any_or = any_or || entry->op == Operator::lor;
      if (entry->level <= 2) {
        comparisons = 0;
        arithmetic = nullptr;
      } else if (entry->level == 3) {
        if (++comparisons > 1) return true;
        arithmetic = nullptr;
      } else {
        const bool associative = entry->op == Operator::add;
        if (arithmetic != nullptr && (arithmetic->op != entry->op || !associative)) return true;
        arithmetic = entry;
      }
    }
    return any_and && any_or;
  }

  // Left-associative folding of operands [begin, end) at `level` and tighter.
  MutableNode fold(Run& run, std::size_t begin, std::size_t end, int level) {
    if (end - begin == 1) return run.operands[begin];
    if (level > tightest) return nullptr;
    MutableNode left;
    std::size_t start = begin;
    const OperatorName* pending = nullptr;
    for (std::size_t i = begin; i < end; ++i) {
      const bool at_end = i + 1 == end;
      if (!at_end && run.operators[i]->level != level) continue;
      auto part = fold(run, start, i + 1, level + 1);
      if (part == nullptr) return nullptr;
      left = left == nullptr ? part : binary(pending->op, left, part);
      if (left == nullptr) return nullptr;
      if (!at_end) pending = run.operators[i];
      start = i + 1;
    }
    return left;
  }

  MutableNode binary(Operator op, NodePtr left, NodePtr right) {
    auto node = make(Node::Kind::binary);
    if (node == nullptr) return nullptr;
    node->op = op;
    node->children = {std::move(left), std::move(right)};
    return node;
  }

  MutableNode unary(std::size_t depth, bool& prefixed) {
    const bool is_not = lexer_.peek().is("!") || lexer_.peek().is_symbol("not");
    if (!is_not && !lexer_.peek().is("-") && !lexer_.peek().is("+")) return postfix(depth);
    if (depth > depth_limit) {
      problem_ = "the expression is nested too deeply";
      return nullptr;
    }
    const bool minus = lexer_.peek().is("-");
    const bool plus = lexer_.peek().is("+");
    lexer_.take();
    // In a user's own text `not a == b` negates the comparison, as the words say.
    MutableNode operand;
    if (is_not && trusted_) {
      operand = not_operand(depth + 1);
    } else {
      bool inner = false;
      operand = unary(depth + 1, inner);
    }
    if (operand == nullptr || plus) return operand;
    if (minus && operand->kind == Node::Kind::literal) return negated(operand);
    // -x and "not (…)" followed by an operator: the old printer writes not (a and b) as "not a and b".
    prefixed = is_not;
    auto node = make(Node::Kind::unary);
    if (node == nullptr) return nullptr;
    node->op = minus ? Operator::negate : Operator::lnot;
    node->children = {operand};
    return node;
  }

  MutableNode not_operand(std::size_t depth) {
    Run run;
    while (true) {
      bool prefixed = false;
      auto operand = unary(depth, prefixed);
      if (operand == nullptr) return nullptr;
      run.operands.push_back(std::move(operand));
      const auto* next = operator_of(lexer_.peek());
      if (next == nullptr || next->level <= 2) break;
      lexer_.take();
      run.operators.push_back(next);
    }
    return fold(run, 0, run.operands.size(), loosest);
  }

  static MutableNode negated(MutableNode node) {
    if (const auto* integer = node->value.as_int())
      node->value = Value(-*integer);
    else if (const auto* real = node->value.as_double())
      node->value = Value(-*real);
    else
      node->kind = Node::Kind::doubt;
    return node;
  }

  MutableNode postfix(std::size_t depth) {
    auto node = primary(depth);
    while (node != nullptr && lexer_.peek().is("[")) {
      lexer_.take();
      node = index_of(node, depth);
    }
    return node;
  }

  MutableNode index_of(const MutableNode& target, std::size_t depth) {
    MutableNode position;
    if (!lexer_.peek().is(":")) {
      position = chain(depth + 1);
      if (position == nullptr) return nullptr;
    }
    const bool slice = lexer_.accept(":");
    if (slice && !lexer_.peek().is("]") && chain(depth + 1) == nullptr) return nullptr;
    if (!lexer_.accept("]")) return nullptr;
    auto node = make(slice ? Node::Kind::doubt : Node::Kind::index);
    if (node != nullptr && !slice) node->children = {target, position};
    return node;
  }

  MutableNode primary(std::size_t depth) {
    const auto kind = lexer_.peek().kind;
    if (kind == Token::Kind::symbol) return symbol(depth);
    if (lexer_.accept("(")) {
      auto node = chain(depth + 1);
      if (node == nullptr || !lexer_.accept(")")) return nullptr;
      return node;
    }
    if (lexer_.accept("[")) return array(depth);
    if (lexer_.accept("{")) return object(depth);
    if (kind != Token::Kind::integer && kind != Token::Kind::real && kind != Token::Kind::string) return nullptr;
    auto node = make(Node::Kind::literal);
    if (node == nullptr) return nullptr;
    auto token = lexer_.take();
    if (kind == Token::Kind::integer)
      node->value = Value(token.integer);
    else if (kind == Token::Kind::real)
      node->value = Value(token.real);
    else
      node->value = Value(std::move(token.text));
    return node;
  }

  MutableNode symbol(std::size_t depth) {
    const auto name = lexer_.take().text;
    if (name == "true" || name == "false" || name == "null") {
      auto node = make(Node::Kind::literal);
      if (node != nullptr && name != "null") node->value = Value(name == "true");
      return node;
    }
    if (lexer_.accept("(")) return call(name, depth);
    auto node = make(Node::Kind::symbol);
    if (node != nullptr) node->name = name;
    return node;
  }

  MutableNode call(const std::string& name, std::size_t depth) {
    auto node = make(Node::Kind::call);
    if (node == nullptr) return nullptr;
    node->name = name;
    while (!lexer_.accept(")")) {
      auto argument = chain(depth + 1);
      if (argument == nullptr) return nullptr;
      node->children.push_back(std::move(argument));
      if (!lexer_.accept(",") && !lexer_.peek().is(")")) return nullptr;
    }
    if (name == "like") prepare_like(*node);
    return node;
  }

  void prepare_like(Node& node) const {
    if (node.children.size() != 2 || node.children[0]->kind != Node::Kind::literal) return;
    const auto* pattern = node.children[0]->value.as_string();
    if (pattern == nullptr) return;
    auto regex = trusted_ ? Regex::anywhere(*pattern) : Regex::untrusted(*pattern);
    if (regex) node.regex = std::move(*regex);
  }

  // [a, b], and comprehensions [expr for x in list if cond], which we only recognise.
  MutableNode array(std::size_t depth) {
    auto node = make(Node::Kind::array);
    if (node == nullptr) return nullptr;
    while (!lexer_.accept("]")) {
      auto item = chain(depth + 1);
      if (item == nullptr) return nullptr;
      node->children.push_back(std::move(item));
      while (lexer_.peek().is_symbol("for")) {
        if (!comprehension(depth)) return nullptr;
        node->kind = Node::Kind::doubt;
      }
      if (!lexer_.accept(",") && !lexer_.peek().is("]")) return nullptr;
    }
    return node;
  }

  bool comprehension(std::size_t depth) {
    lexer_.take();
    if (lexer_.peek().kind != Token::Kind::symbol) return false;
    lexer_.take();
    if (!lexer_.peek().is_symbol("in")) return false;
    lexer_.take();
    if (chain(depth + 1) == nullptr) return false;
    if (!lexer_.peek().is_symbol("if")) return true;
    lexer_.take();
    return chain(depth + 1) != nullptr;
  }

  MutableNode object(std::size_t depth) {
    while (!lexer_.accept("}")) {
      if (chain(depth + 1) == nullptr || !lexer_.accept(":") || chain(depth + 1) == nullptr) return nullptr;
      if (!lexer_.accept(",") && !lexer_.peek().is("}")) return nullptr;
    }
    return make(Node::Kind::doubt);
  }

  Lexer lexer_;
  bool trusted_;
  std::size_t nodes_ = 0;
  std::string problem_;
};

}  // namespace

Expected<NodePtr> parse_expression_tree(std::string_view text, bool trusted) { return Parser(text, trusted).whole(); }

}  // namespace taskmill::catalog
