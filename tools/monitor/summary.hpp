// The summary of a monitored command as JSON text, key by key what managers of both versions parse
// (resource-monitor.md section 4). Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/monitor/resource_table.hpp"

namespace taskmill::monitor {

struct Snapshot {
  std::string name;
  Values values;
};

struct Summary {
  std::vector<std::pair<std::string, std::string>> verbatim;  ///< -V fields, host, monitor_version, …, in order
  std::string command;
  int exit_status = 0;
  std::string exit_type = "normal";  ///< normal, signal, limits, running
  std::optional<int> signal;
  Values limits_exceeded;   ///< the limits themselves, as readers expect
  std::string limits_used;  ///< "memory: 309 MB used, 100 MB allowed"
  Values values;
  Values peak_times;  ///< seconds since the start
  std::vector<Snapshot> snapshots;
};

/// One line without a newline, or indented the way people know it, with one.
std::string to_json(const Summary& summary, bool pretty);
std::string to_json(const Snapshot& snapshot, bool pretty);

/// Breaks compact JSON into lines: two blanks per level, containers below their key.
std::string indent_json(const std::string& compact);

}  // namespace taskmill::monitor
