// Puts foremen below their managers: the name gets one '>' and a dash for each further level.
#pragma once

#include <vector>

#include "common/catalog/core/value.hpp"

namespace taskmill::tools {

/// The same records in printing order, with `project` of foremen prefixed. A foreman whose manager is not among them
/// comes last, unchanged.
std::vector<catalog::Value> nest_foremen(std::vector<catalog::Value> records);

}  // namespace taskmill::tools
