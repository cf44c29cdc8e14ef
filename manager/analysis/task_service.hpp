// What the executor needs of a manager: a narrow interface, so that tests and simulations can stand in for it.
#pragma once

#include <cstddef>
#include <string>

#include "common/base/ids.hpp"
#include "common/base/result.hpp"
#include "manager/core/task_spec.hpp"

namespace taskmill::manager::analysis {

class TaskService {
 public:
  virtual ~TaskService() = default;
  /// The task's number, or one line that says what is wrong with it.
  virtual Expected<TaskId> submit(const TaskSpec& spec) = 0;
  virtual void cancel(TaskId task) = 0;
  /// A cached file at the workers is no longer needed (a partial result that was merged).
  virtual void forget_cached(const std::string& local_path) = 0;
  /// Tasks that keep all workers busy: more than this many in flight only wait in the queue.
  [[nodiscard]] virtual std::size_t wanted_in_flight() const = 0;
};

}  // namespace taskmill::manager::analysis
