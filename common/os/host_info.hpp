// Names of this machine, as a worker announces them. (What it offers is in common/measure/host_resources.hpp.)
#pragma once

#include <string>

namespace taskmill::os {

/// The node name; never empty, without blanks, and never "unknown", which old managers take for "has not greeted yet".
std::string host_name();
std::string os_name();       ///< uname -s
std::string machine_name();  ///< uname -m

}  // namespace taskmill::os
