// `work_queue_manager analyze FILE`: a dataset in, one merged result out (docs/analysis.md).
//
// Exit status: 0 every event is in the result, 1 something is missing (the accounting says what and why), 2 bad input,
// 130 interrupted (what was done is merged and written).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "manager/api/manager.hpp"

namespace taskmill::manager {

struct AnalyzeOptions {
  std::string description;  ///< TOML or JSON file
  bool verbose = false;
  std::string output, report;     ///< override those of the description
  std::string snapshot;           ///< file of --snapshot …
  Duration snapshot_every{0};     ///< … and its period; 0: no snapshots
  std::string work_directory;     ///< empty: OUTPUT.work
  std::string count_cache;        ///< empty: the user's cache directory
  std::string program_directory;  ///< where analysis_tool, resource_monitor and poncho_package_run lie
  /// Called once the manager listens (port file, local workers); not empty: what went wrong, and the end.
  std::function<std::string(Manager&)> on_listening;
};

int run_analysis(const AnalyzeOptions& options, ManagerOptions manager_options);

}  // namespace taskmill::manager
