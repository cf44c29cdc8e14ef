// The command line of poncho_package_run (environments.md section 2), as Coffea and the Python API write it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::package_run {

enum class Action { run, help, help_creation };

struct Options {
  Action action = Action::run;
  std::string environment;               ///< archive or directory
  std::optional<std::string> unpack_to;  ///< else a temporary directory
  std::optional<int> wait_seconds;       ///< else 300 s without progress of the one who unpacks
  std::string identity;                  ///< SHA-256 of the tar stream inside, where the caller knows it
  bool debug = false;
  std::vector<std::string> command;
};

/// `arguments` without the program's name.
Expected<Options> parse_options(const std::vector<std::string>& arguments);

extern const char* const usage_text;
extern const char* const creation_text;

}  // namespace taskmill::package_run
