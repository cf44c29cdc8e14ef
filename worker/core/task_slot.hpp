// One task, from its block on the wire to the manager's `kill` (worker.md 8.1).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/time.hpp"
#include "protocol/to_worker.hpp"
#include "worker/core/cache_index.hpp"
#include "worker/core/ledger.hpp"

namespace taskmill::worker {

enum class TaskState : std::uint8_t {
  awaiting_inputs,  ///< some input is being fetched, or its environment is not there yet
  ready,            ///< waits for resources; holds none
  staging,          ///< holds resources; its sandbox is being prepared
  running,          ///< has a process
  complete,         ///< has a result, not yet asked for
  reported,         ///< the manager has the result and will kill it
  dying,            ///< the manager is done with it, its process is not yet reaped; not known by id any more
};
const char* state_text(TaskState state);

struct WatchedFile {
  std::size_t output = 0;  ///< index in description.outputs
  std::uint64_t size = 0;  ///< as seen last
  std::uint64_t sent = 0;  ///< told to the manager
  bool given_up = false;   ///< it shrank
};

struct TaskResult {
  int status = 0;
  int exit_code = 0;
  std::uint64_t execution_us = 0;
  std::uint64_t output_length = 0;
  int signal = 0;                ///< that ended it
  bool has_output = false;       ///< the host holds the captured output
  std::string output_name;       ///< pushed tasks: the cache holds it, it is too long to be pushed
  std::uint64_t push_bytes = 0;  ///< what the host holds for the push
  std::string text;              ///< instead of captured output: why the task did not run
  std::string extra;             ///< further tokens of the result line
};

/// The result of a task that did not run.
inline TaskResult no_run(int status, int exit_code, std::string text = {}) {
  TaskResult result;
  result.status = status;
  result.exit_code = exit_code;
  result.text = std::move(text);
  return result;
}

struct TaskSlot {
  TaskKey key = 0;
  protocol::TaskDescription description;
  TaskState state = TaskState::ready;
  Allocation amount;
  std::optional<Ledger::Claim> claim;
  unsigned fetches_left = 0;
  Time started{};
  std::optional<Time> limit;  ///< next time at which a limit acts
  int limit_status = 0;       ///< 56 or 24 once a limit stopped it
  bool pushed = false;        ///< came in a batch: its result is pushed
  std::vector<WatchedFile> watched;
  TaskResult result;

  /// Answered by a coprocess: the command is the name of a function.
  [[nodiscard]] bool is_function() const { return !description.coprocess.empty(); }
};

}  // namespace taskmill::worker
