// Names for what a file is now, so that something remembered about it is not believed once it has changed.
#pragma once

#include <string>
#include <string_view>

namespace taskmill::manager::analysis {

/// Size and time of last change; empty when there is no such file.
std::string file_identity(const std::string& path);
/// 16 hex digits, equal for equal texts (FNV-1a). For names of files; not against people who want a collision.
std::string short_hash(std::string_view text);

}  // namespace taskmill::manager::analysis
