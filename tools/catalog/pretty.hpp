// Records for people, in the very form catalog_query has always printed them.
#pragma once

#include <string>

#include "common/catalog/core/value.hpp"

namespace taskmill::tools {

/// A line end, then the value over several lines, two more blanks per level.
void pretty_print_to(std::string& out, const catalog::Value& value, int indent);

}  // namespace taskmill::tools
