// How many workers to keep and how many to start now: pure arithmetic on what managers publish
// (status-and-factory.md B.5).
//
// Differences from old factories, on purpose: capacity is divided by tasks-per-worker once; without
// --tasks-per-worker a worker of N cores is expected to run N one-core tasks, and when tasks declare what they need the
// sum of that decides; counters are 64 bit; managers of protocol 9 count too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/resources.hpp"
#include "common/catalog/core/value.hpp"

namespace taskmill::tools {

/// What one manager says. Missing numbers are 0.
struct ManagerDemand {
  std::string project, name, owner;
  std::int64_t port = 0;
  int protocol = 9;
  bool speaks_our_protocol = true;
  std::int64_t workers = 0;
  std::int64_t tasks_waiting = 0, tasks_left = 0, tasks_on_workers = 0;
  std::int64_t capacity_tasks = 0, capacity_weighted = 0;
  Resources capacity{0, 0, 0, 0};  ///< capacity_cores, …
  Resources total{0, 0, 0, 0};     ///< tasks_total_cores, …
  std::vector<std::string> blocked_hosts;
};
ManagerDemand read_demand(const catalog::Value& record);

struct SizingRules {
  std::int64_t min_workers = 5;
  bool min_was_given = false;  ///< the default minimum is kept only while there is a manager
  std::int64_t max_workers = 100;
  std::int64_t workers_per_cycle = 5;  ///< <= 0: no limit
  std::int64_t tasks_per_worker = -1;  ///< < 1: not given
  bool use_capacity = false;
  Resources worker{};  ///< of one worker; negative: not given
};

/// Workers one manager can use.
std::int64_t workers_for(const ManagerDemand& manager, const SizingRules& rules, bool count_running);

struct Decision {
  std::int64_t needed = 0;  ///< after the limits
  std::int64_t connected = 0;
  std::int64_t waiting = 0;    ///< started by us and not connected yet
  std::int64_t requested = 0;  ///< to start now
};
/// `foremen` is empty unless workers are started for foremen; `submitted` are our own that are alive.
Decision decide(const std::vector<ManagerDemand>& managers, const std::vector<ManagerDemand>& foremen, bool for_foremen,
                std::int64_t submitted, const SizingRules& rules);

}  // namespace taskmill::tools
