#include "common/os/curl.hpp"

#include <unistd.h>

#include <cstdlib>

#include "common/base/text.hpp"

namespace taskmill::os {
namespace {

std::string find_in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  for (const auto directory : split(path == nullptr ? "/usr/bin:/bin" : path, ':')) {
    auto candidate = (directory.empty() ? "." : std::string(directory)) + "/" + program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

}  // namespace

Expected<std::vector<std::string>> curl_words(const std::string& url, const std::string& target) {
  auto curl = find_in_path("curl");
  if (curl.empty()) return make_error("cannot fetch '" + url + "': the program curl is not installed here");
  std::vector<std::string> words{std::move(curl), "-q",
                                 "-sSL",          "--fail",
                                 "--proto",       "=http,https,ftp,ftps,file",
                                 "--proto-redir", "=http,https,ftp,ftps",
                                 "--speed-limit", "1",
                                 "--speed-time",  "120"};
  if (!target.empty()) words.insert(words.end(), {"-o", target});
  words.insert(words.end(), {"--", url});
  return {boost::system::in_place_value, std::move(words)};
}

}  // namespace taskmill::os
