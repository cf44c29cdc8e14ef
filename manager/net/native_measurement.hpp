// What a native worker measured, in the terms of the manager's core (which are those of summaries of resource_monitor).
#pragma once

#include <string>

#include "common/measure/core/measurement.hpp"
#include "manager/core/effects.hpp"

namespace taskmill::manager {

Measurement to_core(const measure::Measurement& measured);
/// "memory: 309 MB used, 100 MB allowed" of the limit for which the task was stopped; empty: it was not.
std::string limit_text(const measure::Measurement& measured);

}  // namespace taskmill::manager
