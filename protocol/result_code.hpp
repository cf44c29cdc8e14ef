// Result codes of a task (wire-protocol.md 14, manager.md 2.3) and the bits of a file's flags (8.1).
#pragma once

#include <string_view>

namespace taskmill::protocol {

enum class ResultCode : int {
  success = 0,
  input_missing = 1,
  output_missing = 2,
  stdout_missing = 4,
  signal = 8,
  resource_exhaustion = 16,
  task_timeout = 24,
  unknown = 32,
  forsaken = 40,
  max_retries = 48,
  task_max_run_time = 56,
  disk_alloc_full = 64,
  rmonitor_error = 72,
  output_transfer_error = 80,
};

/// "SUCCESS", "INPUT_MISS", … as the old programs print them; "UNKNOWN" for any other number.
std::string_view result_text(ResultCode code);
/// The rule of manager.md 2.3: codes of 8 and more replace, 1, 2 and 4 never hide them.
ResultCode combine_results(ResultCode old_code, ResultCode new_code);

namespace file_flag {
constexpr int cache = 1;
constexpr int symlink = 2;
constexpr int preexist = 4;
constexpr int watch = 16;
constexpr int failure_only = 32;
constexpr int success_only = 64;
}  // namespace file_flag

/// Outputs may be wanted of failed tasks only, or of successful ones.
constexpr bool output_is_wanted(int flags, bool succeeded) {
  if ((flags & file_flag::failure_only) != 0) return !succeeded;
  return (flags & file_flag::success_only) == 0 || succeeded;
}

}  // namespace taskmill::protocol
