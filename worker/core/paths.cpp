#include "worker/core/paths.hpp"

#include "common/base/text.hpp"

namespace taskmill::worker {

std::optional<std::string> sandbox_path(std::string_view name) {
  if (is_safe_relative_path(name)) return std::string(name);
  if (name.empty() || name.front() == '/' || name.find('\0') != std::string_view::npos) return std::nullopt;
  std::string path;
  for (const auto part : split(name, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return std::nullopt;
    if (!path.empty()) path += '/';
    path += part;
  }
  if (path.empty()) return std::nullopt;
  return path;
}

}  // namespace taskmill::worker
