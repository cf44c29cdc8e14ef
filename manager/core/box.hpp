// The box: the resources a task gets at a worker (manager.md section 9), in exact integer arithmetic.
//
// Cores are counted in thousandths so that sums never drift. `Label` is a request as the category sees it
// (10.2): negative fields unspecified. box_for() is a pure function of the worker's size, the labels and a few
// switches; fits() compares a box with what a worker has left.
#pragma once

#include <array>
#include <cstdint>

#include "common/base/resources.hpp"

namespace taskmill::manager {

constexpr std::int64_t milli = 1000;

/// Amounts, never negative. Cores in thousandths.
struct Box {
  std::int64_t cores = 0, memory = 0, disk = 0, gpus = 0;
  bool operator==(const Box&) const = default;
  Box& operator+=(const Box& other);
  Box& operator-=(const Box& other);
};
Resources to_resources(const Box& box);
/// Negative becomes 0; fractions of a thousandth of a core round up.
Box to_box(const Resources& resources);

struct BoxRules {
  bool proportional = true;
  bool whole_tasks = true;
  double multiplier = 1.0;
  bool ramp_down = false;  ///< in force for this decision (9.4)
};

/// `max_label` is A, `min_label` is B of section 9.1; `worker` the largest values it reported; `in_use` only matters
/// with ramp_down.
Box box_for(const Box& worker, const Resources& max_label, const Resources& min_label, const BoxRules& rules,
            const Box& in_use = {});

/// Can it ever run on an idle worker of this size?
bool fits_idle(const Box& box, const Box& total);
/// 8.3 point 5.
bool fits(const Box& box, const Box& total, const Box& in_use, double multiplier);

// Four resources as an array, for code that treats them alike.
enum : std::size_t { at_cores = 0, at_memory = 1, at_disk = 2, at_gpus = 3 };
using Four = std::array<double, 4>;
inline Four to_four(const Resources& r) {
  return {r.cores, static_cast<double>(r.memory), static_cast<double>(r.disk), static_cast<double>(r.gpus)};
}
Resources from_four(const Four& f);
constexpr std::array<const char*, 4> resource_names = {"cores", "memory", "disk", "gpus"};

/// Every field of `by` that is specified replaces the one of `base`.
Resources overridden(const Resources& base, const Resources& by);
/// Field by field the larger one.
Resources raised(const Resources& base, const Resources& to);

}  // namespace taskmill::manager
