// Removal of file trees that somebody else made: read-only directories, any depth, links never followed.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "common/base/result.hpp"

namespace taskmill::os {

struct Removal {
  std::uint64_t removed = 0;  ///< entries
  std::uint64_t failed = 0;
  ErrorCode first_error;
};

/// "." or "..", which every listing holds.
inline bool is_dots(const char* name) { return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)); }

/// Removes `name` below `directory`, whatever it is. Directories that forbid it are made writable first. Depth costs
/// no stack and few descriptors. `stop` ends a long removal early.
Removal remove_tree(int directory, const std::string& name, const std::atomic<bool>* stop = nullptr);

/// Sum of the sizes of regular files in a tree, links not followed. At most `max_entries` are looked at.
std::uint64_t tree_size(int directory, const std::string& name, std::uint64_t max_entries = ~0ULL);

}  // namespace taskmill::os
