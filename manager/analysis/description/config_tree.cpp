#include "manager/analysis/description/config_tree.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/base/nearest_word.hpp"
#include "common/base/unique_keys.hpp"

namespace taskmill::manager::analysis {
namespace {

ConfigNode from_toml(const toml::node& node) {
  ConfigNode result;
  result.line = static_cast<int>(node.source().begin.line);
  if (const auto* table = node.as_table()) {
    ConfigNode::Table entries;
    for (const auto& [key, value] : *table) {
      entries.push_back({std::string(key.str()), from_toml(value)});
      if (entries.back().node.line == 0) entries.back().node.line = static_cast<int>(key.source().begin.line);
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const auto& a, const auto& b) { return a.node.line < b.node.line; });
    result.value = std::move(entries);
  } else if (const auto* array = node.as_array()) {
    ConfigNode::List list;
    for (const auto& element : *array) list.push_back(from_toml(element));
    result.value = std::move(list);
  } else if (const auto text = node.value_exact<std::string>()) {
    result.value = *text;
  } else if (const auto flag = node.value_exact<bool>()) {
    result.value = *flag;
  } else if (const auto integer = node.value_exact<std::int64_t>()) {
    result.value = *integer;
  } else if (const auto number = node.value_exact<double>()) {
    result.value = *number;
  } else {
    std::ostringstream written;  // dates and times, as they stand
    written << toml::node_view<const toml::node>(node);
    result.value = written.str();
  }
  return result;
}

// JSON parsers keep no lines; keys are found again in the text, each behind its parent.
class JsonLines {
 public:
  explicit JsonLines(std::string_view text) : text_(text) {}
  std::size_t find(const std::string& key, std::size_t from) const {
    const auto at = text_.find(nlohmann::json(key).dump(), from);
    return at == std::string_view::npos ? from : at;
  }
  int line(std::size_t position) const {
    return 1 + static_cast<int>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(position), '\n'));
  }

 private:
  std::string_view text_;
};

ConfigNode from_json(const nlohmann::ordered_json& json, const JsonLines& lines, std::size_t position) {
  ConfigNode result;
  result.line = lines.line(position);
  if (json.is_object()) {
    ConfigNode::Table entries;
    for (const auto& [key, value] : json.items()) {
      position = lines.find(key, position);
      entries.push_back({key, from_json(value, lines, position)});
    }
    result.value = std::move(entries);
  } else if (json.is_array()) {
    ConfigNode::List list;
    for (const auto& element : json) list.push_back(from_json(element, lines, position));
    result.value = std::move(list);
  } else if (json.is_string()) {
    result.value = json.get<std::string>();
  } else if (json.is_boolean()) {
    result.value = json.get<bool>();
  } else if (json.is_number_integer()) {
    result.value = json.get<std::int64_t>();
  } else if (json.is_number()) {
    result.value = json.get<double>();
  }
  return result;
}

Expected<ConfigNode> parse_json(const std::string& file_name, std::string_view text) {
  try {
    UniqueKeys<nlohmann::ordered_json> keys;
    const auto json = nlohmann::ordered_json::parse(text, std::ref(keys));
    const JsonLines lines(text);
    if (keys.twice.empty()) return from_json(json, lines, 0);
    const auto again = lines.find(keys.twice, lines.find(keys.twice, 0) + 1);
    return make_error(file_name + ":" + std::to_string(lines.line(again)) + ": " + keys.twice +
                      ": given twice; keep one");
  } catch (const nlohmann::json::parse_error& error) {
    const auto at = std::min<std::size_t>(error.byte, text.size());
    std::string what = error.what();
    if (const auto colon = what.rfind(": "); colon != std::string::npos) what = what.substr(colon + 2);
    return make_error(file_name + ":" + std::to_string(JsonLines(text).line(at)) + ": not JSON: " + what);
  }
}

}  // namespace

Expected<ConfigNode> parse_config(const std::string& file_name, std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '{') return parse_json(file_name, text);
  try {
    return from_toml(toml::parse(text));
  } catch (const toml::parse_error& error) {
    return make_error(file_name + ":" + std::to_string(error.source().begin.line) +
                      ": not TOML: " + std::string(error.description()));
  }
}

void ConfigProblem::report(int line, const std::string& key, const std::string& what) {
  if (found()) return;
  text_ = file_name_ + ":" + std::to_string(line) + ": " + key + ": " + what;
}

Section::Section(const ConfigNode& node, std::string path, ConfigProblem& problem)
    : table_(std::get_if<ConfigNode::Table>(&node.value)), line_(node.line), path_(std::move(path)), problem_(problem) {
  static const ConfigNode::Table nothing;
  if (table_ != nullptr) return;
  table_ = &nothing;
  problem_.report(line_, path_, "a table is expected");
}

const ConfigNode* Section::find(const std::string& key) {
  known_.push_back(key);
  for (const auto& [name, node] : *table_) {
    if (name == key) return &node;
  }
  return nullptr;
}

void Section::complain(const std::string& key, const std::string& what) {
  int line = line_;
  for (const auto& [name, node] : *table_) {
    if (name == key) line = node.line;
  }
  problem_.report(line, full(key), what);
}

std::optional<std::string> Section::text(const std::string& key) {
  const auto* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (const auto* value = std::get_if<std::string>(&node->value)) return *value;
  complain(key, "text in quotes is expected");
  return std::nullopt;
}

std::optional<bool> Section::flag(const std::string& key) {
  const auto* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (const auto* value = std::get_if<bool>(&node->value)) return *value;
  complain(key, "true or false is expected");
  return std::nullopt;
}

std::optional<std::int64_t> Section::integer(const std::string& key, std::int64_t least) {
  const auto* node = find(key);
  if (node == nullptr) return std::nullopt;
  const auto* value = std::get_if<std::int64_t>(&node->value);
  if (value != nullptr && *value >= least) return *value;
  complain(key, "a whole number of at least " + std::to_string(least) + " is expected");
  return std::nullopt;
}

std::optional<double> Section::number(const std::string& key, double least) {
  const auto* node = find(key);
  if (node == nullptr) return std::nullopt;
  std::optional<double> number;
  if (const auto* real = std::get_if<double>(&node->value)) number = *real;
  if (const auto* whole = std::get_if<std::int64_t>(&node->value)) number = static_cast<double>(*whole);
  if (number && *number >= least) return number;
  std::ostringstream what;
  what << "a number of at least " << least << " is expected";
  complain(key, what.str());
  return std::nullopt;
}

std::vector<std::string> Section::texts(const std::string& key) {
  const auto* node = find(key);
  if (node == nullptr) return {};
  if (const auto* single = std::get_if<std::string>(&node->value)) return {*single};
  std::vector<std::string> list;
  if (const auto* values = std::get_if<ConfigNode::List>(&node->value)) {
    for (const auto& value : *values) {
      if (const auto* word = std::get_if<std::string>(&value.value)) list.push_back(*word);
    }
    if (list.size() == values->size()) return list;
  }
  complain(key, "a list of texts is expected");
  return {};
}

std::vector<std::pair<std::string, std::string>> Section::pairs(const std::string& key) {
  const auto* node = find(key);
  if (node == nullptr) return {};
  const auto* entries = std::get_if<ConfigNode::Table>(&node->value);
  std::vector<std::pair<std::string, std::string>> result;
  if (entries == nullptr) {
    complain(key, "a table of names and values is expected");
    return result;
  }
  for (const auto& [name, entry] : *entries) {
    std::ostringstream written;
    if (const auto* word = std::get_if<std::string>(&entry.value))
      written << *word;
    else if (const auto* flag_value = std::get_if<bool>(&entry.value))
      written << (*flag_value ? "true" : "false");
    else if (const auto* whole = std::get_if<std::int64_t>(&entry.value))
      written << *whole;
    else if (const auto* real = std::get_if<double>(&entry.value))
      written << *real;
    else
      problem_.report(entry.line, full(key) + "." + name, "text or a number is expected");
    result.emplace_back(name, written.str());
  }
  return result;
}

std::optional<Section> Section::section(const std::string& key) {
  const auto* node = find(key);
  if (node == nullptr) return std::nullopt;
  return Section(*node, full(key), problem_);
}

void Section::done() {
  for (const auto& [name, node] : *table_) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const auto near = nearest_word(name, known_);
    problem_.report(node.line, full(name),
                    near.empty() ? "unknown key" : "unknown key; did you mean \"" + near + "\"?");
    return;
  }
}

}  // namespace taskmill::manager::analysis
