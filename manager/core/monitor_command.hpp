// The command line under which a legacy worker runs a task when it is to be measured (manager.md 11.2).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "manager/core/box.hpp"
#include "manager/core/config.hpp"

namespace taskmill::manager {

struct MonitoredTask {
  std::uint32_t id = 0;
  std::string_view command, category;
  Box box;
  double wall_time_s = 0;  ///< 0: no limit
  double end_time_s = 0;   ///< Unix seconds; 0: none
};

inline constexpr const char* monitor_remote_name = "cctools-monitor";
inline constexpr const char* monitor_summary_name = "cctools-monitor.summary";

/// Appended to `out`. The command and the category are quoted completely.
void monitor_command(const Monitoring& monitoring, const MonitoredTask& task, std::string& out);
/// DIR/wq-PID-task-ID.summary
std::string monitor_summary_path(const Monitoring& monitoring, std::uint32_t task_id);

}  // namespace taskmill::manager
