// A command with placeholders: `./hist {file} --first {first} --last {last} -o {output}`.
//
// {name} is replaced by a value quoted for the shell; {{ and }} stand for the braces themselves. Lists ({inputs})
// become several words. Unknown names are found when the description is read.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::manager::analysis {

class CommandTemplate {
 public:
  using Values = std::map<std::string, std::vector<std::string>>;

  /// `allowed`: names that may be used; a name ending in '*' allows every name that begins like it ("metadata.*").
  static Expected<CommandTemplate> parse(std::string_view text, const std::vector<std::string>& allowed);

  [[nodiscard]] bool uses(std::string_view name) const;
  /// Names used that are missing in `values` become nothing.
  [[nodiscard]] std::string fill(const Values& values) const;

 private:
  struct Part {
    std::string text;
    bool is_name = false;
  };
  std::vector<Part> parts_;
};

}  // namespace taskmill::manager::analysis
