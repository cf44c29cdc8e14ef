// Runs a short helper program (bash for activation, an archive's own conda-unpack) and collects what it
// says. Blocks; for pool threads and small programs only.
#pragma once

#include <string>
#include <vector>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

struct HelperResult {
  int exit_status = 0;   ///< 128 + signal when it was killed
  std::string output;    ///< what it wrote to descriptor 3
  std::string messages;  ///< stdout and stderr together, the last 4 KiB
};

struct HelperPlan {
  std::vector<std::string> argv;         ///< argv[0] is searched in `search_path`
  std::vector<std::string> environment;  ///< NAME=VALUE
  std::string directory;                 ///< to run in
  int timeout_seconds = 300;
};

/// Fails when it cannot be started or does not end in time (it is killed with its process group).
Expected<HelperResult> run_helper(const HelperPlan& plan);

/// The last line that is not blank, for error messages.
std::string last_line(std::string_view text);

}  // namespace taskmill::archive
