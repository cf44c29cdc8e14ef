#include "protocol/result_code.hpp"

namespace taskmill::protocol {

std::string_view result_text(ResultCode code) {
  switch (code) {
    case ResultCode::success:
      return "SUCCESS";
    case ResultCode::input_missing:
      return "INPUT_MISS";
    case ResultCode::output_missing:
      return "OUTPUT_MISS";
    case ResultCode::stdout_missing:
      return "STDOUT_MISS";
    case ResultCode::signal:
      return "SIGNAL";
    case ResultCode::resource_exhaustion:
      return "RESOURCE_EXHAUSTION";
    case ResultCode::task_timeout:
      return "END_TIME";
    case ResultCode::unknown:
      return "UNKNOWN";
    case ResultCode::forsaken:
      return "FORSAKEN";
    case ResultCode::max_retries:
      return "MAX_RETRIES";
    case ResultCode::task_max_run_time:
      return "MAX_WALL_TIME";
    case ResultCode::disk_alloc_full:
      return "DISK_FULL";
    case ResultCode::rmonitor_error:
      return "MONITOR_ERROR";
    case ResultCode::output_transfer_error:
      return "OUTPUT_TRANSFER_ERROR";
  }
  return "UNKNOWN";
}

ResultCode combine_results(ResultCode old_code, ResultCode new_code) {
  const bool soft = static_cast<int>(new_code) < 8;
  const bool old_is_hard = static_cast<int>(old_code) >= 8 && old_code != ResultCode::unknown;
  return soft && old_is_hard ? old_code : new_code;
}

}  // namespace taskmill::protocol
