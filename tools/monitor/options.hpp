// The command line of resource_monitor (resource-monitor.md section 1), parsed into values. No side effects.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/base/result.hpp"
#include "tools/monitor/resource_table.hpp"

namespace taskmill::monitor {

struct Options {
  std::string output;  ///< template of output files; empty: resource-pid-<pid>
  int interval = 5;    ///< s, the longest time between rows and samples
  std::string shell;   ///< -c
  std::vector<std::string> command;
  Values limits;
  std::vector<std::string> limits_files;
  bool measure_only = false;
  std::vector<std::pair<std::string, std::string>> verbatim;
  std::vector<std::string> folders;  ///< --measure-dir, besides the one we start in
  bool follow_chdir = false;
  bool disk = true;
  bool series = false, files = false;
  bool pretty = true;
  bool update_summary = false;
  int attach = 0;  ///< --pid
  std::string snapshot_events;
  bool foreground = false;
  bool debug = false;
  std::string debug_file;
  bool catalog = false;  ///< a --catalog-… option was given
  bool help = false, version = false;
  std::vector<std::string> notices;
};

/// What ended the parsing: the line for the user and the exit status (1 usage, 4 a bad value).
struct UsageError {
  std::string text;
  int exit_status = 1;
};

struct ParsedOptions {
  Options options;
  std::vector<UsageError> errors;  ///< empty: all is well
};
ParsedOptions parse_options(const std::vector<std::string>& arguments);

/// "memory: 100" or "memory: 100, disk: 2000". Unknown names become notices.
Expected<void> add_limits(const std::string& text, Options& options);
/// A JSON object in summary format: `"memory": [1, "GB"]`; units are honoured, plain numbers are in the table's unit.
Expected<void> add_limits_json(const std::string& text, const std::string& file, Options& options);

const char* usage_text();

}  // namespace taskmill::monitor
