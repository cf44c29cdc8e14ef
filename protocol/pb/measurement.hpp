// Measurements as messages and back, for both ends of the capability `measure`.
//
// What is not known stays absent in both directions. Reading trusts nothing: numbers that make no sense become "not
// known", lists are cut.
#pragma once

#include <cstdint>

#include "common/measure/core/measurement.hpp"
#include "protocol/pb/extension.pb.h"

namespace taskmill::protocol {

/// `started_us`: moment of the start by the sender's clock; for display only.
pb::TaskMeasurement to_message(const measure::Measurement& m, std::int64_t task_id, std::int64_t started_us,
                               Duration cores_window);
measure::Measurement from_message(const pb::TaskMeasurement& message);

}  // namespace taskmill::protocol
