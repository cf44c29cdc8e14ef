#include "tools/catalog/pretty.hpp"

namespace taskmill::tools {

using catalog::Value;

void pretty_print_to(std::string& out, const Value& value, int indent) {
  const std::string outer = "\n" + std::string(static_cast<std::size_t>(indent), ' ');
  const std::string inner = outer + "  ";
  bool first = true;
  if (const auto* object = value.as_object()) {
    out += outer + "{";
    for (const auto& [key, member] : *object) {
      if (!first) out += ",";
      first = false;
      out += inner;
      catalog::print_string_to(out, key);
      out += ":";
      pretty_print_to(out, member, indent + 4);
    }
    out += outer + "}";
  } else if (const auto* array = value.as_array()) {
    out += outer + "[";
    for (const auto& item : *array) {
      if (!first) out += ",";
      first = false;
      out += inner;
      pretty_print_to(out, item, indent + 2);
    }
    out += outer + "]";
  } else {
    catalog::print_to(out, value);
  }
}

}  // namespace taskmill::tools
