// An analysis on a model cluster under a virtual clock: the real planner, workers of mixed speed that fail, stall and
// exhaust their memory, and a manager whose network has a limit. No processes, no sockets, no wall time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "manager/analysis/core/planner.hpp"

namespace taskmill::testing {

enum class SimStragglers : std::uint8_t { leave, terminate, replicate };

struct AnalysisSimOptions {
  std::uint64_t seed = 1;
  std::uint32_t files = 20'000;
  std::uint64_t events = 12'000'000'000;
  std::uint32_t workers = 400, cores = 4;  ///< speeds from 0.5 to 1.5, mean 1
  manager::analysis::PlannerSettings planner;
  SimStragglers stragglers = SimStragglers::leave;
  double terminate_factor = 3;  ///< fast_terminate_workers
  double stall = 0.002;         ///< chance that a task runs twenty times as long
  double lose_worker = 0.0005;  ///< chance per task that its worker is lost while it runs
  double event_s = 200e-6;      ///< mean; differs by file
  double task_s = 4;            ///< fixed cost: start, environment, opening the file
  double chunk_mb = 300;        ///< memory of a task …
  double event_mb = 0.004;      ///< … and per event; differs by file
  double box_mb = 2000;
  double partial_mb = 5;       ///< a partial result, merged or not
  double merge_mb_s = 200;     ///< speed of a merging task
  double link_mb_s = 1000;     ///< of the manager, shared
  bool partials_stay = false;  ///< partial results merged on their worker do not cross the manager
};

struct AnalysisSimResult {
  double makespan_s = 0;
  double tail_s = 0;  ///< from 95 % of the events to the end
  double useful_core_s = 0, wasted_core_s = 0, idle_core_s = 0;
  std::uint64_t chunks = 0, merges = 0, splits = 0, retries = 0, copies = 0, workers_lost = 0;
  double link_gb = 0;
  std::uint64_t events = 0;  ///< in the one result
  std::string problem;       ///< empty when every event is there once
};

AnalysisSimResult simulate_analysis(const AnalysisSimOptions& options);

}  // namespace taskmill::testing
