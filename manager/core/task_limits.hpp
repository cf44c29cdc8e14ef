// What a native worker is told to stop a task for (docs/measurement.md, Limits): a pure function of box and policy.
//
// A limit is the box, as with the old resource monitor: it is never below what was asked. By default only what
// somebody asked for, or what was learned, is enforced: a share given in proportion binds nobody.
#pragma once

#include "manager/core/box.hpp"
#include "manager/core/category.hpp"
#include "manager/core/config.hpp"
#include "manager/core/spec_table.hpp"
#include "protocol/to_worker.hpp"

namespace taskmill::manager {

protocol::TaskLimits limits_of(const Config& config, const Category& category, const Resources& request, const Box& box,
                               Duration max_running_time);
inline protocol::TaskLimits limits_of(const Config& config, const Category& category, const SpecHeader& spec,
                                      const Box& box) {
  return limits_of(config, category, spec.resources(), box, Duration(spec.max_running_us));
}

/// "it ran longer than the 3 s it was given"
std::string wall_limit_text(Duration max_running_time);

}  // namespace taskmill::manager
