// Task lists for `run`: one JSON object per line, or a command template applied to each line of a file.
//
// Every problem is one line: "tasks.jsonl:3: outputs[0].when: unknown; use always, success or failure". Reading goes on
// behind a wrong line, so that all of them can be shown; nothing runs unless the caller decides so. docs/cli/
// work_queue_manager.md holds the list of fields.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"
#include "manager/core/task_spec.hpp"

namespace taskmill::manager {

struct TaskLine {
  TaskSpec spec;
  std::size_t line = 0;  ///< in the file, from 1
};

struct TaskList {
  std::vector<TaskLine> tasks;
  std::vector<std::string> problems;
};

/// One task from its JSON text; the error lacks file and line.
Expected<TaskSpec> parse_task(std::string_view json);
/// The same without the quick way for plain lines (plain_task_line.hpp).
Expected<TaskSpec> parse_task_in_full(std::string_view json);

/// Completes a task that was read; empty, or what is wrong with it.
using PrepareTask = std::function<std::string(TaskSpec&)>;

/// Reads all lines; empty lines and lines that begin with '#' are skipped. `name` stands in front of problems, which
/// come in the order of the lines.
TaskList read_task_list(std::istream& in, const std::string& name, const PrepareTask& prepare = {});

/// `words`: the command; in each, "{}" is replaced by the line (quoted for the shell), "{#}" by its number. A command
/// without "{}" gets the line as its last word.
TaskList tasks_for_each_line(std::istream& in, const std::string& name, const std::vector<std::string>& words,
                             const PrepareTask& prepare = {});

}  // namespace taskmill::manager
