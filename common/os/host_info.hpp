// Names of this machine, as a worker announces them, and its programs. (What it offers is in
// common/measure/host_resources.hpp.)
#pragma once

#include <string>

namespace taskmill::os {

/// The node name; never empty, without blanks, and never "unknown", which old managers take for "has not greeted yet".
std::string host_name();
std::string os_name();       ///< uname -s
std::string machine_name();  ///< uname -m

/// The absolute path of an executable: `name` is looked up in PATH unless it has a slash. Empty: there is none.
std::string find_program(const std::string& name);

}  // namespace taskmill::os
