#include "common/archive/activation.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

using Map = std::map<std::string, std::string, std::less<>>;

Map to_map(const Variables& variables) {
  Map map;
  for (const std::string& entry : variables) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos && equals > 0) map[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return map;
}

const std::string* find(const Map& map, std::string_view name) {
  const auto it = map.find(name);
  return it == map.end() ? nullptr : &it->second;
}

/// The shell's own bookkeeping, not an effect of activation.
bool is_shell_noise(std::string_view name) {
  return name == "_" || name == "SHLVL" || name == "PWD" || name == "OLDPWD" || name == "BASHOPTS" ||
         name == "SHELLOPTS";
}

/// One observation: the variable before and after.
struct Seen {
  const std::string* before;
  const std::string* after;
};

bool same(const std::string* a, const std::string* b) {
  return (a == nullptr) == (b == nullptr) && (a == nullptr || *a == *b);
}

/// before + old + after, with the old value at `at`, from a run in which the variable was set.
VariableRule rule_around(const std::string& name, const Seen& seen, std::size_t at) {
  VariableRule rule;
  rule.name = name;
  rule.around_old = true;
  rule.before = seen.after->substr(0, at);
  rule.after = seen.after->substr(at + seen.before->size());
  return rule;
}

std::string wrapped(const VariableRule& rule, const std::string& old) { return rule.before + old + rule.after; }

/// nullopt: no rule explains both runs.
std::optional<VariableRule> explain(const std::string& name, const Seen& first, const Seen& second) {
  if (same(first.after, second.after)) {
    VariableRule constant;
    constant.name = name;
    if (first.after != nullptr) constant.value = *first.after;
    return constant;
  }
  if (second.before == nullptr || second.after == nullptr || second.before->empty()) return std::nullopt;
  // The old value may also occur by chance in what was added; the first run tells which place is meant.
  std::size_t at = second.after->rfind(*second.before);
  for (; at != std::string::npos; at = at == 0 ? std::string::npos : second.after->rfind(*second.before, at - 1)) {
    VariableRule rule = rule_around(name, second, at);
    if (first.before == nullptr) {
      // Not set before: whatever came out is the value for that case, for instance without the separator.
      if (first.after != nullptr) rule.value = *first.after;
      return rule;
    }
    if (first.after == nullptr || wrapped(rule, *first.before) != *first.after) continue;
    rule.value = rule.before + rule.after;
    return rule;
  }
  return std::nullopt;
}

}  // namespace

Activation derive_activation(const Variables& base1, const Variables& result1, const Variables& base2,
                             const Variables& result2) {
  const Map before1 = to_map(base1);
  const Map after1 = to_map(result1);
  const Map before2 = to_map(base2);
  const Map after2 = to_map(result2);
  std::set<std::string> names;
  for (const Map* map : {&before1, &after1, &before2, &after2}) {
    for (const auto& [name, value] : *map) names.insert(name);
  }
  Activation activation;
  activation.replayable = true;
  for (const std::string& name : names) {
    if (is_shell_noise(name)) continue;
    const Seen first{find(before1, name), find(after1, name)};
    const Seen second{find(before2, name), find(after2, name)};
    if (same(first.before, first.after) && same(second.before, second.after)) continue;
    auto rule = explain(name, first, second);
    if (!rule) {
      activation.replayable = false;
      activation.reason = "the value of " + name + " depends on where it is activated";
      activation.rules.clear();
      return activation;
    }
    activation.rules.push_back(std::move(*rule));
  }
  return activation;
}

bool can_replay(const Activation& activation, const Variables& variables) {
  if (!activation.replayable) return false;
  return std::none_of(variables.begin(), variables.end(), [](const std::string& entry) {
    return entry.starts_with("CONDA_PREFIX=") || entry.starts_with("VIRTUAL_ENV=");
  });
}

Variables apply_activation(const Activation& activation, Variables variables) {
  for (const VariableRule& rule : activation.rules) {
    const std::string start = rule.name + "=";
    const auto it =
        std::find_if(variables.begin(), variables.end(), [&](const std::string& v) { return v.starts_with(start); });
    std::optional<std::string> value = rule.value;
    if (rule.around_old && it != variables.end()) value = wrapped(rule, it->substr(start.size()));
    if (!value && it != variables.end()) variables.erase(it);
    if (!value) continue;
    if (it != variables.end()) {
      *it = start + *value;
    } else {
      variables.push_back(start + *value);
    }
  }
  return variables;
}

namespace {

constexpr std::string_view text_version = "taskmill activation 1";

void put(std::string& text, std::string_view field) { text.append(percent_encode(field)).append(" "); }

std::optional<VariableRule> rule_from_line(std::string_view line) {
  const auto words = split(line, ' ');
  if (words.size() < 6 || words[0] != "rule" || words[2].empty() || words[2].size() > 2) return std::nullopt;
  std::vector<std::string> fields;
  for (const std::string_view word : words) {
    auto decoded = percent_decode(word);
    if (!decoded) return std::nullopt;
    fields.push_back(std::move(*decoded));
  }
  VariableRule rule;
  rule.name = fields[1];
  if (fields[2].starts_with('v')) rule.value = fields[3];
  rule.around_old = fields[2].ends_with('o');
  rule.before = fields[4];
  rule.after = fields[5];
  return rule;
}

}  // namespace

std::string to_text(const Activation& activation) {
  std::string text(text_version);
  text += "\n";
  if (!activation.replayable) return text + "source " + percent_encode(activation.reason) + "\nend\n";
  for (const VariableRule& rule : activation.rules) {
    text += "rule ";
    put(text, rule.name);
    text += rule.value ? "v" : "-";
    text += rule.around_old ? "o " : " ";
    put(text, rule.value.value_or(""));
    put(text, rule.before);
    put(text, rule.after);
    text += "\n";
  }
  return text + "end\n";
}

std::optional<Activation> activation_from_text(std::string_view text) {
  const auto lines = split(text, '\n');
  if (lines.size() < 2 || lines[0] != text_version) return std::nullopt;
  Activation activation;
  activation.replayable = true;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (lines[i] == "end") return activation;
    if (lines[i].starts_with("source ")) {
      activation.replayable = false;
      activation.reason = percent_decode(lines[i].substr(7)).value_or("");
      continue;
    }
    auto rule = rule_from_line(lines[i]);
    if (!rule) return std::nullopt;
    activation.rules.push_back(std::move(*rule));
  }
  return std::nullopt;  // cut short
}

}  // namespace taskmill::archive
