// The command line of work_queue_factory.
#pragma once

#include "tools/factory/config.hpp"

namespace taskmill::tools {

/// Returns -1 to go on, else the exit status (help, version or a usage error was printed).
int parse_factory(int argc, char** argv, FactoryConfig& config);

}  // namespace taskmill::tools
