// The file that says an unpacked environment is complete, and which one it is. Text, one field a line,
// "end" last; replaced atomically.
#pragma once

#include <optional>
#include <string>

#include "common/archive/digest.hpp"

namespace taskmill::archive {

struct ReadyMarker {
  Digest digest;
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
  std::string prefix;   ///< the path it was relocated to
  std::string boot;     ///< boot id of the machine when it was written
  bool synced = false;  ///< flushed to disk: survives a crash of the machine
};

std::string to_text(const ReadyMarker& marker);
std::optional<ReadyMarker> ready_marker_from_text(std::string_view text);
/// This boot of this machine; "unknown" when it cannot be read.
std::string boot_id();
/// Writes a file below `at` under a temporary name, then renames it.
Status write_atomically(int at, const std::string& name, std::string_view text);

}  // namespace taskmill::archive
