// The description of an analysis: what `work_queue_manager analyze FILE` reads (docs/analysis.md has the schema).
//
// Names are those of Coffea's executor where it has one. Paths are relative to the directory of the file. Units: memory
// and disk in MB, times in seconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/resources.hpp"
#include "common/base/result.hpp"
#include "manager/analysis/core/planner.hpp"

namespace taskmill::manager::analysis {

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct SourceFile {
  std::string location;  ///< absolute path, or URL
  bool is_url = false;   ///< handed to the task as it is
};

struct DatasetDescription {
  std::string name;
  std::string tree;  ///< ROOT: path of the TTree; empty takes the default
  std::vector<SourceFile> files;
  Pairs metadata;
};

/// A phase runs a built-in of analysis_tool or a command template.
struct PhaseDescription {
  std::string builtin;  ///< preprocess: auto, csv, jsonl, parquet, root; accumulate: histograms, sum, concat
  std::string command;
  std::vector<std::pair<std::string, std::string>> inputs;  ///< local path → name in the sandbox, cached
  Resources resources;                                      ///< overrides of the run's
  std::optional<double> wall_time_s;
};

enum class ResourcesMode : std::uint8_t { fixed, automatic, max_throughput };
/// What is done about the resources of a task: nothing, measured, measured and held to its box.
enum class ResourceMonitor : std::uint8_t { off, measure, watchdog };
enum class StragglerPolicy : std::uint8_t { none, terminate, replicate };

struct Description {
  std::string name;
  std::string file_name;  ///< of the description itself, for messages
  std::string directory;  ///< its directory: relative paths start here
  std::vector<DatasetDescription> datasets;
  PhaseDescription preprocess, process, accumulate;
  PlannerSettings planner;
  Resources resources;
  ResourcesMode resources_mode = ResourcesMode::automatic;
  ResourceMonitor resource_monitor = ResourceMonitor::watchdog;
  StragglerPolicy stragglers = StragglerPolicy::none;
  double fast_terminate_factor = 0;  ///< of the mean, with StragglerPolicy::terminate
  std::string environment_file, x509_proxy, checkpoint, output, report;
  std::int64_t xrootd_timeout = 60;
  Pairs environment;            ///< variables for every task
  bool skip_header = true;      ///< accumulate concat: keep one header line
  bool keep_on_workers = true;  ///< partial results are merged where they were made
};

/// Reads and checks everything that can be checked before a task runs (files exist, templates are sound).
Expected<Description> read_description(const std::string& path);
/// The same from text; `directory` is where relative paths start.
Expected<Description> parse_description(const std::string& file_name, const std::string& directory,
                                        std::string_view text);

}  // namespace taskmill::manager::analysis
