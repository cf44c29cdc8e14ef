// One manager with a crowd of simulated workers: what several cases measure.
#pragma once

#include "bench/sim_workers.hpp"
#include "bench/stacks.hpp"
#include "bench/table.hpp"

namespace taskmill::bench {

struct Crowd {
  int workers = 1;
  int cores = 1;
};

struct CrowdOptions {
  std::uint64_t stop_after = 0;  ///< tasks; 0: nearly all of the load
  bool library = false;          ///< start_library() instead of start_manager()
  SimWorkersConfig workers{};    ///< port, numbers and version are filled in
};

/// Tasks done, CPU and turnaround of a slot, from the first task on for `seconds` (or until stop_after).
Row measure_crowd(const Stack& stack, const Crowd& crowd, const Load& load, double seconds, CrowdOptions options = {});

}  // namespace taskmill::bench
