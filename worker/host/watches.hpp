// Tells when watched output files may have grown (inotify). The caller waits for fd() to become readable, asks for the
// owners whose directories saw something, and looks at the sizes itself.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/os/fd.hpp"

namespace taskmill::worker {

class Watches {
 public:
  Watches();
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Watches the directory that holds `path` (or the nearest one above it that exists, down to `root`). Calling it
  /// again after an event moves the watch closer.
  void add(std::uint64_t owner, const std::string& root, const std::string& path);
  void remove(std::uint64_t owner);
  /// Owners with news since the last call.
  std::vector<std::uint64_t> read();

 private:
  os::UniqueFd fd_;
  std::unordered_map<int, std::vector<std::uint64_t>> owners_;  ///< by watch descriptor
};

}  // namespace taskmill::worker
