#include "tools/monitor/resource_table.hpp"

namespace taskmill::monitor {

namespace {

constexpr std::array<ResourceInfo, resource_count> table = {{
    {"start", "s", 6},
    {"end", "s", 6},
    {"wall_time", "s", 6},
    {"cpu_time", "s", 6},
    {"memory", "MB", 0},
    {"virtual_memory", "MB", 0},
    {"swap_memory", "MB", 0},
    {"disk", "MB", 0},
    {"bytes_read", "MB", 0},
    {"bytes_written", "MB", 0},
    {"bytes_received", "MB", 0},
    {"bytes_sent", "MB", 0},
    {"bandwidth", "Mbps", 3},
    {"gpus", "gpus", 0},
    {"cores", "cores", 3},
    {"cores_avg", "cores", 3},
    {"machine_cpus", "cores", 3},
    {"machine_load", "procs", 0},
    {"context_switches", "switches", 0},
    {"max_concurrent_processes", "procs", 0},
    {"total_processes", "procs", 0},
    {"total_files", "files", 0},
    {"fs_nodes", "nodes", 0},
    {"workers", "workers", 0},
}};
constexpr double cores_forgiven = 0.25;

}  // namespace

const ResourceInfo& info(Resource resource) { return table[static_cast<std::size_t>(resource)]; }

std::optional<Resource> find_resource(std::string_view name) {
  for (std::size_t i = 0; i < table.size(); ++i)
    if (table[i].name == name) return static_cast<Resource>(i);
  return std::nullopt;
}

Values exceeded_limits(const Values& limits, const Values& used) {
  Values out;
  for_each_resource([&](Resource r) {
    if (!limits[r] || *limits[r] < 0 || !used[r] || *used[r] <= 0) return;
    const double forgiven = r == Resource::cores ? cores_forgiven : 0;
    if (*used[r] - forgiven > *limits[r]) out[r] = *limits[r];
  });
  return out;
}

}  // namespace taskmill::monitor
