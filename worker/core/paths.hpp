// Names a manager gives to files of a task.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace taskmill::worker {

/// A path inside the sandbox in its plain form: "./a//b/" is "a/b". nullopt when it is absolute, empty, or holds ".."
/// or NUL.
std::optional<std::string> sandbox_path(std::string_view name);

}  // namespace taskmill::worker
