// What a factory is told: the command line and, over it, the configuration file (status-and-factory.md B.2, B.4).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/resources.hpp"
#include "common/base/result.hpp"
#include "tools/factory/sizing.hpp"

namespace taskmill::tools {

struct FactoryConfig {
  // --- also in the configuration file ---
  std::string manager_name;
  std::string foremen_name;
  std::int64_t min_workers = 5;
  bool min_was_given = false;
  std::int64_t max_workers = 100;
  std::int64_t workers_per_cycle = 5;
  std::int64_t tasks_per_worker = -1;
  std::int64_t timeout = 300;
  std::int64_t factory_timeout = 0;
  bool capacity = false;
  bool autosize = false;
  Resources worker{};
  std::string extra_options;
  std::string condor_requirements;
  std::string factory_name;
  // --- command line only ---
  std::string batch_type;
  std::string config_file;
  std::string host;
  std::int64_t port = 0;
  std::string catalogs;
  std::string password_file;
  std::string scratch_dir;
  std::string worker_binary;
  std::vector<std::string> wrappers;
  std::vector<std::string> wrapper_inputs;
  std::string task_wrapper;
  std::vector<std::string> features;
  std::vector<std::string> environment;  ///< NAME=VALUE
  std::string batch_options;
  std::string poncho_env;
  bool ssl = false;
  bool parent_death = false;
  bool run_as_manager = false;
  std::int64_t cycle = 30;
  std::vector<std::string> debug;
  std::string debug_file;
  std::int64_t debug_rotate = 10 << 20;
};

SizingRules sizing_rules(const FactoryConfig& config);

/// Checks what every configuration must satisfy; the error is one line.
Expected<bool> check_config(const FactoryConfig& config);

/// Applies the text of a configuration file. The error names key and remedy. Unknown keys are named in `notes`.
Expected<FactoryConfig> apply_config_file(const FactoryConfig& base, const std::string& text,
                                          std::vector<std::string>& notes);

/// The lines printed after loading.
std::string describe_config(const FactoryConfig& config);

}  // namespace taskmill::tools
