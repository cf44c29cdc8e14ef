// The loop of a factory: ask who needs workers, decide, publish, print, submit; again after a cycle.
//
// Nothing in it blocks, so a signal ends it at once. run() returns the exit status.
#pragma once

#include "tools/factory/config.hpp"

namespace taskmill::tools {

int run_factory(const FactoryConfig& config);

}  // namespace taskmill::tools
