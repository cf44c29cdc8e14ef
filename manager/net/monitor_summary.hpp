// The summary that resource_monitor leaves beside a task (manager.md 11.4), as facts for the machine.
#pragma once

#include <string>

#include "manager/core/machine.hpp"

namespace taskmill::manager {

/// Fills `measured` and `exit_status`; leaves both empty when the file is not a summary.
void read_monitor_summary(const std::string& path, Fetched& fetched);

}  // namespace taskmill::manager
