#include "tools/factory/sizing.hpp"

#include <algorithm>
#include <cmath>

#include "common/base/text.hpp"

namespace taskmill::tools {
namespace {

std::int64_t clean(std::int64_t value) { return std::clamp<std::int64_t>(value, 0, std::int64_t{1} << 40); }

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return b > 0 ? (a + b - 1) / b : a; }

// Calls visit(amount, per_worker) for each resource that both sides name.
template <class Visit>
void for_each_resource(const Resources& amount, const Resources& worker, Visit visit) {
  if (amount.cores > 0 && worker.cores > 0) visit(static_cast<std::int64_t>(std::ceil(amount.cores / worker.cores)));
  if (amount.memory > 0 && worker.memory > 0) visit(ceil_div(amount.memory, worker.memory));
  if (amount.disk > 0 && worker.disk > 0) visit(ceil_div(amount.disk, worker.disk));
  if (amount.gpus > 0 && worker.gpus > 0) visit(ceil_div(amount.gpus, worker.gpus));
}

std::int64_t capacity_in_workers(const ManagerDemand& manager, const SizingRules& rules, std::int64_t per_worker) {
  std::int64_t tasks = rules.use_capacity ? manager.capacity_weighted : manager.capacity_tasks;
  // A capacity in cores says more than "one task, one core"; a number the user gave says more than both.
  const bool known_by_cores = manager.capacity.cores > 0 && rules.worker.cores > 0;
  if (rules.tasks_per_worker > 0 || !known_by_cores) tasks = ceil_div(tasks, per_worker);
  for_each_resource(manager.capacity, rules.worker, [&](std::int64_t workers) { tasks = std::min(tasks, workers); });
  return tasks;
}

}  // namespace

ManagerDemand read_demand(const catalog::Value& record) {
  ManagerDemand demand;
  demand.project = record.text("project");
  demand.name = record.text("name");
  demand.owner = record.text("owner");
  demand.port = record.integer("port");
  demand.protocol = static_cast<int>(std::clamp<std::int64_t>(record.integer("protocol", 9), 0, 1000));
  demand.speaks_our_protocol = demand.protocol == 9 || demand.protocol == 11;
  if (const auto* list = record.find("protocols"); list != nullptr && list->as_array() != nullptr) {
    for (const auto& version : *list->as_array()) {
      demand.speaks_our_protocol =
          demand.speaks_our_protocol || version == catalog::Value(9) || version == catalog::Value(11);
    }
  }
  const auto count = [&](const char* key) { return clean(record.integer(key)); };
  demand.workers = count("workers");
  demand.tasks_waiting = count("tasks_waiting");
  demand.tasks_left = count("tasks_left");
  demand.tasks_on_workers =
      record.find("tasks_on_workers") != nullptr ? count("tasks_on_workers") : count("tasks_running");
  demand.capacity_tasks = count("capacity_tasks");
  demand.capacity_weighted = count("capacity_weighted");
  demand.capacity = {static_cast<double>(count("capacity_cores")), count("capacity_memory"), count("capacity_disk"),
                     count("capacity_gpus")};
  demand.total = {static_cast<double>(count("tasks_total_cores")), count("tasks_total_memory"),
                  count("tasks_total_disk"), count("tasks_total_gpus")};
  const auto* blocked = record.find("workers_blocked");
  if (blocked != nullptr && blocked->as_array() != nullptr) {
    for (const auto& host : *blocked->as_array()) {
      if (host.as_string() != nullptr) demand.blocked_hosts.push_back(*host.as_string());
    }
  } else if (blocked != nullptr && blocked->as_string() != nullptr) {
    std::string_view rest = *blocked->as_string();
    for (auto host = next_token(rest); !host.empty(); host = next_token(rest)) demand.blocked_hosts.emplace_back(host);
  }
  return demand;
}

std::int64_t workers_for(const ManagerDemand& manager, const SizingRules& rules, bool count_running) {
  if (!manager.speaks_our_protocol) return 0;
  const auto cores = static_cast<std::int64_t>(rules.worker.cores);
  const std::int64_t per_worker =
      rules.tasks_per_worker > 0 ? rules.tasks_per_worker : std::max<std::int64_t>(1, cores);
  std::int64_t need = manager.tasks_waiting + manager.tasks_left + (count_running ? manager.tasks_on_workers : 0);
  need = ceil_div(need, per_worker);
  for_each_resource(manager.total, rules.worker, [&](std::int64_t workers) { need = std::max(need, workers); });
  const auto capacity = capacity_in_workers(manager, rules, per_worker);
  if (rules.use_capacity && capacity > 0) need = std::min(need, capacity);
  return need;
}

Decision decide(const std::vector<ManagerDemand>& managers, const std::vector<ManagerDemand>& foremen, bool for_foremen,
                std::int64_t submitted, const SizingRules& rules) {
  Decision decision;
  for (const auto& manager : managers) {
    decision.needed += workers_for(manager, rules, !for_foremen);
    decision.connected += manager.workers;
  }
  std::int64_t foreign = 0;
  for (const auto& foreman : foremen) {
    decision.needed += workers_for(foreman, rules, true);
    foreign += foreman.workers;
  }
  // The foremen themselves are workers of the managers.
  decision.connected += std::max<std::int64_t>(0, foreign - static_cast<std::int64_t>(foremen.size()));
  decision.needed = std::min(decision.needed, rules.max_workers);
  if (rules.min_was_given || !managers.empty()) decision.needed = std::max(decision.needed, rules.min_workers);

  std::int64_t fresh = decision.needed - submitted;
  decision.waiting = submitted - decision.connected;
  if (decision.waiting < 0) {  // workers of somebody else: they reduce our share
    fresh += decision.waiting;
    decision.waiting = 0;
  }
  if (rules.workers_per_cycle > 0 && fresh + decision.waiting > rules.workers_per_cycle) {
    fresh = std::max<std::int64_t>(0, rules.workers_per_cycle - decision.waiting);
  }
  decision.requested = std::max<std::int64_t>(0, fresh);
  return decision;
}

}  // namespace taskmill::tools
