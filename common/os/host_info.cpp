#include "common/os/host_info.hpp"

#include <sys/utsname.h>

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

}  // namespace taskmill::os
