#include "common/catalog/core/expression.hpp"

#include <algorithm>
#include <cmath>

#include "common/catalog/core/expression_tree.hpp"

namespace taskmill::catalog {
namespace {

using Node = Expression::Node;

constexpr std::size_t largest_text = 64U << 10;  ///< a string or list made by an expression; beyond is doubt

// What a node evaluates to: a value (own or borrowed from the record), an error, or doubt.
struct Outcome {
  enum class Kind : std::uint8_t { value, error, doubt };
  Kind kind = Kind::doubt;
  const Value* borrowed = nullptr;
  Value own;
  std::string error;

  static Outcome of(Value value) {
    Outcome out;
    out.kind = Kind::value;
    out.own = std::move(value);
    return out;
  }
  static Outcome view(const Value& value) {
    Outcome out;
    out.kind = Kind::value;
    out.borrowed = &value;
    return out;
  }
  static Outcome failed(std::string text) {
    Outcome out;
    out.kind = Kind::error;
    out.error = std::move(text);
    return out;
  }
  [[nodiscard]] bool is_value() const { return kind == Kind::value; }
  [[nodiscard]] const Value& get() const { return borrowed != nullptr ? *borrowed : own; }
};

Truth truth_of(const Outcome& outcome) {
  if (outcome.kind == Outcome::Kind::doubt) return Truth::doubt;
  if (outcome.kind == Outcome::Kind::error) return Truth::failed;
  const auto* flag = outcome.get().as_bool();
  if (flag == nullptr) return Truth::failed;
  return *flag ? Truth::yes : Truth::no;
}

bool same(const Value& left, const Value& right) {
  const auto a = left.number();
  const auto b = right.number();
  if (a && b) {
    const auto* i = left.as_int();
    const auto* k = right.as_int();
    return i != nullptr && k != nullptr ? *i == *k : *a == *b;
  }
  return left == right;
}

Outcome compare(Operator op, const Value& left, const Value& right) {
  if (op == Operator::eq) return Outcome::of(same(left, right));
  if (op == Operator::ne) return Outcome::of(!same(left, right));
  int order = 0;
  if (const auto a = left.number(), b = right.number(); a && b) {
    const auto* i = left.as_int();
    const auto* k = right.as_int();
    if (i != nullptr && k != nullptr)
      order = *i < *k ? -1 : static_cast<int>(*i > *k);
    else
      order = *a < *b ? -1 : static_cast<int>(*a > *b);
  } else if (left.as_string() != nullptr && right.as_string() != nullptr) {
    order = left.as_string()->compare(*right.as_string());
  } else {
    return Outcome::failed("mismatched types for a comparison");
  }
  switch (op) {
    case Operator::lt:
      return Outcome::of(order < 0);
    case Operator::le:
      return Outcome::of(order <= 0);
    case Operator::gt:
      return Outcome::of(order > 0);
    default:
      return Outcome::of(order >= 0);
  }
}

Outcome integer_arithmetic(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::add:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::sub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::mul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    default:
      if (b == 0) return Outcome::failed("division by zero");
      if (b == -1) {  // the one quotient that overflows
        overflow = op == Operator::div && __builtin_sub_overflow(std::int64_t{0}, a, &result);
        break;
      }
      result = op == Operator::div ? a / b : a % b;
  }
  return overflow ? Outcome{} : Outcome::of(result);
}

Outcome arithmetic(Operator op, const Value& left, const Value& right) {
  if (left.as_int() != nullptr && right.as_int() != nullptr) {
    return integer_arithmetic(op, *left.as_int(), *right.as_int());
  }
  if (const auto a = left.number(), b = right.number(); a && b) {
    switch (op) {
      case Operator::add:
        return Outcome::of(*a + *b);
      case Operator::sub:
        return Outcome::of(*a - *b);
      case Operator::mul:
        return Outcome::of(*a * *b);
      case Operator::div:
        return *b == 0 ? Outcome::failed("division by zero") : Outcome::of(*a / *b);
      default:
        return *b == 0 ? Outcome::failed("division by zero") : Outcome::of(std::fmod(*a, *b));
    }
  }
  if (op == Operator::add && left.as_string() != nullptr && right.as_string() != nullptr) {
    if (left.as_string()->size() + right.as_string()->size() > largest_text) return Outcome{};
    return Outcome::of(*left.as_string() + *right.as_string());
  }
  if (op == Operator::add && left.as_array() != nullptr && right.as_array() != nullptr) return Outcome{};
  return Outcome::failed("mismatched types for an operator");
}

Outcome element(const Value& target, const Value& position) {
  if (const auto* array = target.as_array(); array != nullptr && position.as_int() != nullptr) {
    auto at = *position.as_int();
    const auto size = static_cast<std::int64_t>(array->size());
    if (at < 0) at += size;
    if (at < 0 || at >= size) return Outcome::failed("index out of range");
    return Outcome::of((*array)[static_cast<std::size_t>(at)]);
  }
  if (target.as_object() != nullptr && position.as_string() != nullptr) {
    const Value* value = target.find(*position.as_string());
    return value != nullptr ? Outcome::of(*value) : Outcome::failed(*position.as_string() + ": key not found");
  }
  return Outcome::failed("this cannot be indexed");
}

class Evaluator {
 public:
  explicit Evaluator(const Value& record) : record_(record) {}

  Outcome run(const Node& node) const {
    switch (node.kind) {
      case Node::Kind::literal:
        return Outcome::view(node.value);
      case Node::Kind::symbol: {
        const Value* value = record_.find(node.name);
        return value != nullptr ? Outcome::view(*value) : Outcome::failed(node.name + ": undefined symbol");
      }
      case Node::Kind::unary:
        return unary(node);
      case Node::Kind::binary:
        return binary(node);
      case Node::Kind::index: {
        const auto target = run(*node.children[0]);
        const auto position = run(*node.children[1]);
        if (auto problem = first_problem(target, position)) return std::move(*problem);
        return element(target.get(), position.get());
      }
      case Node::Kind::call:
        return call(node);
      case Node::Kind::array:
        return array(node);
      case Node::Kind::doubt:
        break;
    }
    return Outcome{};
  }

 private:
  static std::optional<Outcome> first_problem(const Outcome& a, const Outcome& b) {
    for (const auto* outcome : {&a, &b}) {
      if (outcome->kind == Outcome::Kind::error) return Outcome::failed(outcome->error);
    }
    if (!a.is_value() || !b.is_value()) return Outcome{};
    return std::nullopt;
  }

  Outcome unary(const Node& node) const {
    auto operand = run(*node.children[0]);
    if (!operand.is_value()) return operand;
    if (node.op == Operator::lnot) {
      const auto* flag = operand.get().as_bool();
      return flag != nullptr ? Outcome::of(!*flag) : Outcome::failed("not needs true or false");
    }
    return arithmetic(Operator::sub, Value(0), operand.get());
  }

  // Anything true decides an `or`, anything false an `and`, whatever the other side is: an undefined name on the
  // left must not hide a record that the right side selects.
  Outcome logic(const Node& node) const {
    const bool is_or = node.op == Operator::lor;
    auto left = run(*node.children[0]);
    const Truth a = truth_of(left);
    const Truth decisive = is_or ? Truth::yes : Truth::no;
    if (a == decisive) return Outcome::of(is_or);
    auto right = run(*node.children[1]);
    const Truth b = truth_of(right);
    if (b == decisive) return Outcome::of(is_or);
    if (a == Truth::failed || b == Truth::failed) {
      if (is_or && (a == Truth::doubt || b == Truth::doubt)) return Outcome{};
      const auto& wrong = a == Truth::failed ? left : right;
      return Outcome::failed(wrong.error.empty() ? "and/or need true or false" : wrong.error);
    }
    if (a == Truth::doubt || b == Truth::doubt) return Outcome{};
    return Outcome::of(!is_or);
  }

  Outcome binary(const Node& node) const {
    if (node.op == Operator::land || node.op == Operator::lor) return logic(node);
    const auto left = run(*node.children[0]);
    const auto right = run(*node.children[1]);
    if (auto problem = first_problem(left, right)) return std::move(*problem);
    if (node.op <= Operator::ge) return compare(node.op, left.get(), right.get());
    return arithmetic(node.op, left.get(), right.get());
  }

  Outcome array(const Node& node) const {
    Array items;
    for (const auto& child : node.children) {
      auto item = run(*child);
      if (!item.is_value()) return item;
      if (item.get().as_array() != nullptr || item.get().as_object() != nullptr) return Outcome{};
      items.push_back(item.get());
    }
    return Outcome::of(Value(std::move(items)));
  }

  Outcome call(const Node& node) const {
    if (node.name == "listdir" || node.name == "fetch") return Outcome::failed(node.name + " is disabled");
    if (node.name == "error") return Outcome::failed("error()");
    if (node.name == "like") return like(node);
    if (node.children.size() != 1) return Outcome{};
    auto argument = run(*node.children[0]);
    if (!argument.is_value()) return argument;
    const Value& value = argument.get();
    if (node.name == "len") return length(value);
    if (node.name == "keys" || node.name == "values") return members(value, node.name == "keys");
    if (node.name == "floor" || node.name == "ceil") {
      const auto number = value.number();
      if (!number) return Outcome::failed(node.name + " needs a number");
      return Outcome::of(node.name == "floor" ? std::floor(*number) : std::ceil(*number));
    }
    return Outcome{};
  }

  Outcome like(const Node& node) const {
    if (node.children.size() != 2) return Outcome::failed("like needs a pattern and a value");
    const auto pattern = run(*node.children[0]);
    const auto text = run(*node.children[1]);
    if (auto problem = first_problem(pattern, text)) return std::move(*problem);
    if (pattern.get().as_string() == nullptr || text.get().as_string() == nullptr) {
      return Outcome::failed("like needs two strings");
    }
    if (!node.regex || text.get().as_string()->size() > largest_text) return Outcome{};
    return Outcome::of(node.regex->matches(*text.get().as_string()));
  }

  static Outcome length(const Value& value) {
    if (const auto* array = value.as_array()) return Outcome::of(static_cast<std::int64_t>(array->size()));
    return value.as_object() != nullptr || value.as_string() != nullptr ? Outcome{}
                                                                        : Outcome::failed("len needs a list");
  }

  static Outcome members(const Value& value, bool keys) {
    const auto* object = value.as_object();
    if (object == nullptr) return Outcome::failed("keys and values need an object");
    Array items;
    if (object->size() > 1000) return Outcome{};
    for (const auto& member : *object) items.push_back(keys ? Value(member.first) : member.second);
    return Outcome::of(Value(std::move(items)));
  }

  const Value& record_;
};

}  // namespace

Expected<Expression> Expression::parse(std::string_view text, bool trusted) {
  auto tree = parse_expression_tree(text, trusted);
  if (!tree) return tree.error();
  Expression expression;
  expression.root_ = std::move(*tree);
  return expression;
}

Truth Expression::test(const Value& record) const {
  return root_ == nullptr ? Truth::doubt : truth_of(Evaluator(record).run(*root_));
}

Expected<Value> Expression::evaluate(const Value& record) const {
  if (root_ == nullptr) return make_error("empty expression");
  auto outcome = Evaluator(record).run(*root_);
  if (outcome.kind == Outcome::Kind::error) return make_error("on line 1, " + outcome.error);
  if (!outcome.is_value()) return make_error("this expression cannot be evaluated here");
  return outcome.get();
}

namespace {

// Old servers let an undefined name on the left of `or` hide the record, so `or` between names is not for them.
bool is_plain(const Node& node) {
  if (node.kind == Node::Kind::doubt || node.op == Operator::lor) return false;
  if (node.kind == Node::Kind::call && node.name != "like" && node.name != "len") return false;
  return std::all_of(node.children.begin(), node.children.end(), [](const auto& child) { return is_plain(*child); });
}

}  // namespace

bool Expression::is_unambiguous() const { return root_ != nullptr && is_plain(*root_); }

bool Expression::is_always() const {
  if (root_ == nullptr || root_->kind != Node::Kind::literal) return false;
  const auto* flag = root_->value.as_bool();
  return flag != nullptr && *flag;
}

}  // namespace taskmill::catalog
