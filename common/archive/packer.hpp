// Packs a directory as an environment archive (plain tar stream): the same tree gives the same bytes, on
// any machine and in any order of its directory listings. Sorted names, owner 0, whole seconds, hard links
// kept; sockets, fifos and devices are refused.
#pragma once

#include <string>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

struct PackReport {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  ///< of the files
};

/// Writes the stream into `sink` and closes it. A file that shrinks meanwhile is an error.
Expected<PackReport> pack_tree(const std::string& directory, ByteSink& sink);

}  // namespace taskmill::archive
