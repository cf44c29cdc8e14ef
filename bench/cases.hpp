// The cases of work_queue_bench. Each runs every stack that can take part, adds rows to the table, and is bounded in
// time: `seconds` per measurement plus start and end of the programs.
#pragma once

#include <string>
#include <vector>

#include "bench/stacks.hpp"
#include "bench/table.hpp"

namespace taskmill::bench {

struct Context {
  std::vector<Stack> stacks;
  double seconds = 3;
  bool quick = false;  ///< smaller crowds and files
  Table table;
};

void manager_cases(Context& context);      ///< simulated workers of no cost
void connect_cases(Context& context);      ///< everybody at the same instant
void queue_depth_cases(Context& context);  ///< CPU per task and memory with many tasks queued
void disturbance_cases(
    Context& context);                ///< tasks that fit nowhere, a worker that stops reading, a long line, a long run
void worker_cases(Context& context);  ///< a real worker under a driver of no cost
void both_cases(Context& context);    ///< real manager, real worker
void transfer_cases(Context& context);  ///< large and many files through the manager

}  // namespace taskmill::bench
