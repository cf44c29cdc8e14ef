// Which files below a directory a command opens, reads and writes, seen by inotify (--with-inotify).
//
// Bounded: at most `max_folders` directories and `max_files` files; what is beyond is not listed. Files elsewhere
// (system libraries, other mounts) are not seen.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/os/fd.hpp"

namespace taskmill::monitor {

class FileWatch {
 public:
  /// Files that begin with `own` (our summary, series, …) are not the command's.
  FileWatch(const std::string& root, std::string own);
  /// Takes what the kernel has noted since the last call.
  void drain();
  [[nodiscard]] int descriptor() const { return fd_.get(); }

  /// The `.files` text, and `["name", MB]` lists as the summary holds them (strings).
  [[nodiscard]] std::string table() const;
  [[nodiscard]] std::string inputs() const;
  [[nodiscard]] std::string outputs() const;

 private:
  struct File {
    std::uint64_t device = 0;
    std::int64_t first_size = -1, last_size = -1;
    std::int64_t opens = 0, closes = 0, reads = 0, writes = 0;
  };
  void add_folder(const std::string& relative, int depth);
  void note(const std::string& path, std::uint32_t mask);
  [[nodiscard]] std::string list(bool written) const;

  std::string root_, own_;
  os::UniqueFd fd_;
  std::map<int, std::string> folders_;
  std::map<std::string, File> files_;
  std::map<std::string, std::int64_t> sizes_before_;
};

}  // namespace taskmill::monitor
