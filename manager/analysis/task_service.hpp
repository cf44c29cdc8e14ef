// What the executor needs of a manager: a narrow interface, so that tests and simulations can stand in for it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "common/base/ids.hpp"
#include "common/base/result.hpp"
#include "manager/analysis/core/chunk_size.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/task_spec.hpp"

namespace taskmill::manager::analysis {

class TaskService {
 public:
  virtual ~TaskService() = default;
  /// The task's number, or one line that says what is wrong with it.
  virtual Expected<TaskId> submit(const TaskSpec& spec) = 0;
  /// Takes back a task that has not begun; one that runs goes on. on_finished() follows either way.
  virtual void cancel_waiting(TaskId task) = 0;
  /// A file at the manager that no later task names: workers may drop their copies.
  virtual void forget(const std::string& path) = 0;
  /// What became of outputs that were kept at workers (OutputSpec::keep), since the last call.
  struct Kept {
    std::string path;
    ReportKind what = ReportKind::kept_lost;  ///< kept_fetched, kept_lost, kept_failed
  };
  virtual std::vector<Kept> take_kept() = 0;
  /// It comes to its path. False: no worker keeps it (any more).
  virtual bool fetch_kept(const std::string& path) = 0;
  /// How long the connected workers will stay.
  [[nodiscard]] virtual std::vector<WorkerLife> worker_lives() const = 0;
  /// Cores of all connected workers.
  [[nodiscard]] virtual std::size_t total_cores() const = 0;
  /// Tasks that keep all workers busy: more than this many in flight only wait in the queue.
  [[nodiscard]] virtual std::size_t wanted_in_flight() const = 0;
};

}  // namespace taskmill::manager::analysis
