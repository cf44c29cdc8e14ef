#include "common/os/host_info.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "common/base/text.hpp"

namespace taskmill::os {

std::string host_name() {
  utsname names{};
  ::uname(&names);
  std::string node = names.nodename;
  if (node.empty() || node == "unknown") node = "localhost";
  for (char& c : node) {
    if (static_cast<unsigned char>(c) <= ' ') c = '_';
  }
  return node;
}

std::string os_name() {
  utsname names{};
  ::uname(&names);
  return names.sysname;
}

std::string machine_name() {
  utsname names{};
  ::uname(&names);
  return names.machine;
}

std::string find_program(const std::string& name) {
  const auto usable = [](const std::filesystem::path& path) {
    std::error_code error;
    return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
  };
  std::error_code error;
  if (name.find('/') != std::string::npos) {
    const auto path = std::filesystem::absolute(name, error);
    return !error && usable(path) ? path.string() : std::string();
  }
  const char* path = std::getenv("PATH");
  for (const auto directory : split(path == nullptr ? "/usr/bin:/bin" : path, ':')) {
    const auto candidate = std::filesystem::absolute(directory.empty() ? "." : directory, error) / name;
    if (!error && !name.empty() && usable(candidate)) return candidate.string();
  }
  return {};
}

}  // namespace taskmill::os
