// The resources of a summary, in the order, with the names, units and decimals that its readers know
// (resource-monitor.md section 4).
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace taskmill::monitor {

enum class Resource : std::size_t {
  start,
  end,
  wall_time,
  cpu_time,
  memory,
  virtual_memory,
  swap_memory,
  disk,
  bytes_read,
  bytes_written,
  bytes_received,
  bytes_sent,
  bandwidth,
  gpus,
  cores,
  cores_avg,
  machine_cpus,
  machine_load,
  context_switches,
  max_concurrent_processes,
  total_processes,
  total_files,
  fs_nodes,
  workers
};
constexpr std::size_t resource_count = 24;

struct ResourceInfo {
  std::string_view name, unit;
  int decimals;  ///< 0: whole numbers, cut
};
const ResourceInfo& info(Resource resource);
std::optional<Resource> find_resource(std::string_view name);

/// One value per resource; empty means not known (and is left out of the summary).
class Values {
 public:
  std::optional<double>& operator[](Resource r) { return values_[static_cast<std::size_t>(r)]; }
  const std::optional<double>& operator[](Resource r) const { return values_[static_cast<std::size_t>(r)]; }

 private:
  std::array<std::optional<double>, resource_count> values_;
};

/// Calls `visit(resource)` for each, in order.
template <class Visit>
void for_each_resource(const Visit& visit) {
  for (std::size_t i = 0; i < resource_count; ++i) visit(static_cast<Resource>(i));
}

/// The resources whose limit is passed: limit not negative, value above 0 and above the limit; cores forgive 0.25.
Values exceeded_limits(const Values& limits, const Values& used);

}  // namespace taskmill::monitor
