// One finished task as a JSON line: what `--results FILE` holds. docs/cli/work_queue_manager.md lists the fields.
//
// A field that is not known is absent, never -1. Times are seconds, memory and disk MB.
#pragma once

#include <string>
#include <string_view>

#include "manager/core/effects.hpp"
#include "manager/core/task_spec.hpp"

namespace taskmill::manager {

struct ResultRecord {
  TaskId task;
  std::size_t line = 0;  ///< of the task list; 0: not from a list
  const TaskSpec* spec = nullptr;
  const TaskOutcome* outcome = nullptr;
  std::string_view output;         ///< standard output and error, possibly cut
  std::uint64_t output_bytes = 0;  ///< in all
};

/// Appends one line with its LF.
void append_result_record(std::string& out, const ResultRecord& record);

/// True when the task ran and exited with 0.
bool is_success(const TaskOutcome& outcome);

/// What went wrong in one phrase, the same for all tasks that failed alike: "exit code 3", "OUTPUT_MISS: …".
std::string failure_cause(const TaskOutcome& outcome);

}  // namespace taskmill::manager
