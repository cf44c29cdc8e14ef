// Puts foremen below their managers: the name gets one '>' and a dash for each further level.
#pragma once

#include <functional>
#include <vector>

#include "common/catalog/core/value.hpp"

namespace taskmill::tools {

/// The records in printing order, with `project` of foremen prefixed: managers that `wanted` selects, each with all its
/// foremen; then selected foremen whose manager is not among the records, unchanged.
std::vector<catalog::Value> nest_foremen(std::vector<catalog::Value> records,
                                         const std::function<bool(const catalog::Value&)>& wanted);

}  // namespace taskmill::tools
