#include "common/os/curl.hpp"

#include "common/os/host_info.hpp"

namespace taskmill::os {
Expected<std::vector<std::string>> curl_words(const std::string& url, const std::string& target) {
  auto curl = find_program("curl");
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
