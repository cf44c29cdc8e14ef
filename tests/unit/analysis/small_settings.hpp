// Settings for planners of tests: chunks of 100 events, three partial results to a merge.
#pragma once

#include "manager/analysis/core/planner.hpp"

namespace taskmill::manager::analysis {

inline PlannerSettings small_settings() {
  PlannerSettings settings;
  settings.chunksize = 100;
  settings.treereduction = 3;
  return settings;
}

}  // namespace taskmill::manager::analysis
