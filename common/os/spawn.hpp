// Starts programs without ever copying this process.
//
// One call, posix_spawn underneath: the child gets its own session (so its own process group and no
// terminal), an empty signal mask, default signal dispositions, the three standard descriptors of the plan
// and nothing else: every other descriptor is closed in the child. The call returns when the program has
// been executed or has failed to: errors of exec (not found, not executable, no interpreter) come back here.
//
// The caller keeps all descriptors of the plan. Descriptors 0-2 of this process must be open, so that no
// descriptor of a plan is itself below 3 (main() sees to that).
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::os {

struct SpawnPlan {
  const char* path = nullptr;         ///< executable, absolute or relative to `cwd`; PATH is not searched
  const char* const* argv = nullptr;  ///< null-terminated
  const char* const* envp = nullptr;  ///< null-terminated
  const char* cwd = nullptr;          ///< nullptr: stay
  int stdin_fd = -1;                  ///< all three must be open
  int stdout_fd = -1;
  int stderr_fd = -1;
};

Result<pid_t> spawn(const SpawnPlan& plan);

struct Captured {
  int wait_status = -1;
  std::string output;
};

/// Runs a small helper to its end, for at most `timeout_ms`, and returns what it printed (at most 64 KiB). Blocks:
/// for start-up only. stdin is /dev/null; a helper that takes too long is killed and errc::timed_out returned.
Result<Captured> run_and_capture(const std::vector<std::string>& argv, int timeout_ms);

}  // namespace taskmill::os
