// A configuration file as a tree of values that know their line: one reader for TOML and JSON.
//
// parse_config() decides by the first character that is not blank ('{' is JSON). Readers ask a Section for its keys;
// whatever nobody asked for is an unknown key, reported with its line and the nearest known name. The first problem
// wins; it reads "FILE:LINE: key: what is wrong and what to write instead".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::manager::analysis {

struct ConfigEntry;

struct ConfigNode {
  using List = std::vector<ConfigNode>;
  using Table = std::vector<ConfigEntry>;  ///< in file order
  std::variant<std::monostate, bool, std::int64_t, double, std::string, List, Table> value;
  int line = 0;
};

struct ConfigEntry {
  std::string name;
  ConfigNode node;
};

Expected<ConfigNode> parse_config(const std::string& file_name, std::string_view text);

/// The problem of a reading, shared by all its sections.
class ConfigProblem {
 public:
  explicit ConfigProblem(std::string file_name) : file_name_(std::move(file_name)) {}
  void report(int line, const std::string& key, const std::string& what);
  [[nodiscard]] bool found() const { return !text_.empty(); }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string file_name_;
  std::string text_;
};

/// Typed access to one table. Every getter marks its key as known; done() reports keys nobody knows.
class Section {
 public:
  Section(const ConfigNode& node, std::string path, ConfigProblem& problem);

  [[nodiscard]] const ConfigNode* find(const std::string& key);
  std::optional<std::string> text(const std::string& key);
  std::optional<bool> flag(const std::string& key);
  std::optional<std::int64_t> integer(const std::string& key, std::int64_t least);
  std::optional<double> number(const std::string& key, double least);
  /// A list of strings; a single string counts as a list of one.
  std::vector<std::string> texts(const std::string& key);
  /// Keys and values of a table of strings (numbers and booleans are written out).
  std::vector<std::pair<std::string, std::string>> pairs(const std::string& key);
  std::optional<Section> section(const std::string& key);
  void done();
  void complain(const std::string& key, const std::string& what);
  [[nodiscard]] const ConfigNode::Table& table() const { return *table_; }
  [[nodiscard]] ConfigProblem& problem() { return problem_; }
  [[nodiscard]] std::string full(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

 private:
  const ConfigNode::Table* table_;
  int line_;
  std::string path_;
  ConfigProblem& problem_;
  std::vector<std::string> known_;
};

}  // namespace taskmill::manager::analysis
