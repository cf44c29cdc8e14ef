#include "manager/core/monitor_command.hpp"

#include <cstdio>

#include "common/base/text.hpp"

namespace taskmill::manager {
namespace {

void add_limit(std::string& out, const char* name, const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  out += " -L '";
  out += name;
  out += ": ";
  out += text;
  out += '\'';
}

}  // namespace

void monitor_command(const Monitoring& monitoring, const MonitoredTask& task, std::string& out) {
  out += "./";
  out += monitor_remote_name;
  out += " --no-pprint --with-output-files=";
  out += monitor_remote_name;
  if (monitoring.interval_s > 0) out += " --interval " + std::to_string(monitoring.interval_s);
  if (task.end_time_s > 0) add_limit(out, "end", "%.6f", task.end_time_s);
  if (task.wall_time_s > 0) add_limit(out, "wall_time", "%.6f", task.wall_time_s);
  add_limit(out, "memory", "%.0f", static_cast<double>(task.box.memory));
  add_limit(out, "disk", "%.0f", static_cast<double>(task.box.disk));
  add_limit(out, "gpus", "%.0f", static_cast<double>(task.box.gpus));
  add_limit(out, "cores", "%.3f", static_cast<double>(task.box.cores) / 1000.0);
  if (!monitoring.watchdog) out += " --measure-only";
  if (monitoring.full) out += " --with-time-series";
  out += " -V 'task_id: " + std::to_string(task.id) + "'";
  out += " -V " + shell_quote("category: " + std::string(task.category));
  out += " --sh \"";
  for (const char c : task.command) {
    if (c == '"' || c == '$' || c == '`' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

std::string monitor_summary_path(const Monitoring& monitoring, std::uint32_t task_id) {
  std::string path = monitoring.directory.empty() ? "." : monitoring.directory;
  path += "/wq-" + std::to_string(monitoring.process_id) + "-task-" + std::to_string(task_id) + ".summary";
  return path;
}

}  // namespace taskmill::manager
