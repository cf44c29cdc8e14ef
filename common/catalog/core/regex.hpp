// A POSIX extended regular expression, as users of Work Queue write them. Case-sensitive.
//
// `whole()` anchors the pattern as ^(…)$, so that "a|b" means "a" or "b" and nothing longer. `untrusted()` is for
// patterns that came over the network: constructs whose cost can explode are refused.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace taskmill::catalog {

class Regex {
 public:
  /// Must match the whole string. The error names the pattern and what is wrong with it.
  static Expected<Regex> whole(std::string_view pattern);
  /// May match anywhere.
  static Expected<Regex> anywhere(std::string_view pattern);
  /// Like anywhere(); also refuses long patterns, counted repeats and back references.
  static Expected<Regex> untrusted(std::string_view pattern);

  [[nodiscard]] bool matches(const std::string& text) const;
  [[nodiscard]] const std::string& pattern() const { return pattern_; }

 private:
  struct Compiled;
  static Expected<Regex> compile(std::string_view shown, const std::string& pattern);
  std::shared_ptr<const Compiled> compiled_;
  std::string pattern_;
};

}  // namespace taskmill::catalog
