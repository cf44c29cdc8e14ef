#include "manager/core/task_limits.hpp"

#include <cstdio>

namespace taskmill::manager {

protocol::TaskLimits limits_of(const Config& config, const Category& category, const Resources& request, const Box& box,
                               Duration max_running_time) {
  protocol::TaskLimits limits;
  if (max_running_time.count() > 0) limits.wall_time = static_cast<double>(max_running_time.count()) * 1e-6;
  if (category.settings().max_processes >= 0) limits.processes = static_cast<double>(category.settings().max_processes);
  const Enforce policy = config.monitoring.watchdog ? Enforce::always : config.enforce;
  if (policy == Enforce::never) return limits;
  const Four asked = to_four(request);
  const Four allowed = to_four(category.settings().max);
  const auto binds = [&](std::size_t resource) {
    return policy == Enforce::always || asked[resource] > 0 || allowed[resource] > 0 || category.labelled(resource);
  };
  if (binds(at_memory) && box.memory > 0) limits.memory = static_cast<double>(box.memory);
  if (binds(at_disk) && box.disk > 0) limits.disk = static_cast<double>(box.disk);
  if (binds(at_cores) && box.cores > 0) limits.cores = to_resources(box).cores;
  limits.stop_for_cores = config.enforce_cores && limits.cores;
  return limits;
}

std::string wall_limit_text(Duration max_running_time) {
  char text[80];
  std::snprintf(text, sizeof text, "it ran longer than the %g s it was given",
                static_cast<double>(max_running_time.count()) * 1e-6);
  return text;
}

}  // namespace taskmill::manager
