#include "common/catalog/core/regex.hpp"

#include <regex.h>

#include <array>

namespace taskmill::catalog {

struct Regex::Compiled {
  regex_t regex{};
  bool ready = false;
  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() {
    if (ready) regfree(&regex);
  }
};

Expected<Regex> Regex::compile(std::string_view shown, const std::string& pattern) {
  if (pattern.find('\0') != std::string::npos) return make_error("a regular expression cannot hold a NUL byte");
  auto compiled = std::make_shared<Compiled>();
  const int result = regcomp(&compiled->regex, pattern.c_str(), REG_EXTENDED | REG_NOSUB);
  if (result != 0) {
    std::array<char, 200> reason{};
    regerror(result, &compiled->regex, reason.data(), reason.size());
    return make_error("'" + std::string(shown) + "' is not a regular expression: " + reason.data());
  }
  compiled->ready = true;
  Regex regex;
  regex.compiled_ = std::move(compiled);
  regex.pattern_ = shown;
  return regex;
}

Expected<Regex> Regex::whole(std::string_view pattern) {
  // Compile the bare pattern first: "a)(b" must be an error and not become valid inside our group.
  if (auto bare = compile(pattern, std::string(pattern)); !bare) return bare;
  return compile(pattern, "^(" + std::string(pattern) + ")$");
}

Expected<Regex> Regex::anywhere(std::string_view pattern) { return compile(pattern, std::string(pattern)); }

Expected<Regex> Regex::untrusted(std::string_view pattern) {
  constexpr std::size_t longest = 512;
  if (pattern.size() > longest) return make_error("the regular expression is too long");
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '{') return make_error("counted repeats are not evaluated here");
    if (pattern[i] == '\\' && i + 1 < pattern.size() && pattern[i + 1] >= '0' && pattern[i + 1] <= '9') {
      return make_error("back references are not evaluated here");
    }
  }
  return compile(pattern, std::string(pattern));
}

bool Regex::matches(const std::string& text) const {
  return compiled_ != nullptr && regexec(&compiled_->regex, text.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace taskmill::catalog
