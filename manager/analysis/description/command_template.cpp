#include "manager/analysis/description/command_template.hpp"

#include <algorithm>

#include "common/base/text.hpp"

namespace taskmill::manager::analysis {
namespace {

bool is_allowed(std::string_view name, const std::vector<std::string>& allowed) {
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& pattern) {
    if (!pattern.ends_with('*')) return pattern == name;
    return name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
  });
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "{" : ", {") + name + "}";
  return text;
}

}  // namespace

Expected<CommandTemplate> CommandTemplate::parse(std::string_view text, const std::vector<std::string>& allowed) {
  CommandTemplate result;
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      plain += c;
      ++i;
      continue;
    }
    if (c == '}') return make_error("a '}' without its '{' (write }} for a brace of the command itself)");
    if (c != '{') {
      plain += c;
      continue;
    }
    const auto end = text.find('}', i);
    if (end == std::string_view::npos)
      return make_error("a '{' without its '}' (write {{ for a brace of the command itself)");
    const std::string name(text.substr(i + 1, end - i - 1));
    if (!is_allowed(name, allowed))
      return make_error("unknown placeholder {" + name + "}; here may stand " + listed(allowed));
    if (!plain.empty()) result.parts_.push_back({std::move(plain), false});
    plain.clear();
    result.parts_.push_back({name, true});
    i = end;
  }
  if (!plain.empty()) result.parts_.push_back({std::move(plain), false});
  return result;
}

bool CommandTemplate::uses(std::string_view name) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) { return part.is_name && part.text == name; });
}

std::string CommandTemplate::fill(const Values& values) const {
  static constexpr std::string_view plain_characters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,:/@%";
  std::string command;
  for (const auto& part : parts_) {
    if (!part.is_name) {
      command += part.text;
      continue;
    }
    const auto found = values.find(part.text);
    if (found == values.end()) continue;
    for (std::size_t i = 0; i < found->second.size(); ++i) {
      const auto& value = found->second[i];
      const bool is_plain = !value.empty() && value.find_first_not_of(plain_characters) == std::string::npos;
      command += (i == 0 ? "" : " ") + (is_plain ? value : shell_quote(value));
    }
  }
  return command;
}

}  // namespace taskmill::manager::analysis
