// Writes what the manager sends into the cache: files, and directories entry by entry. An object gets its name only
// when it is complete; until then it is below in/ under a temporary name.
//
// A failure (disk full, …) does not break the conversation: the object is remembered as failed, its remaining bytes
// are still taken from the stream by the caller (descriptor -1), and end_*() tells what went wrong.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"
#include "worker/host/sandbox.hpp"
#include "worker/host/workspace.hpp"

namespace taskmill::worker {

/// A top-level object that is complete, or has failed.
struct StoredObject {
  std::string name;
  bool directory = false;
  unsigned mode = 0644;
  std::uint64_t size = 0;
  std::uint64_t entries = 1;
  std::string problem;               ///< empty: it is in the cache
  std::vector<std::string> trashed;  ///< names in trash/ to delete
};

class CacheWriter {
 public:
  explicit CacheWriter(Workspace& workspace) : space_(workspace) {}

  /// A file whose bytes are all here.
  std::optional<StoredObject> whole_file(std::string_view path, unsigned mode, std::string_view bytes);
  /// Where the bytes of a file go; -1: nowhere, it has failed.
  int begin_file(std::string_view path, unsigned mode, std::uint64_t length);
  std::optional<StoredObject> end_file(ErrorCode error);

  void begin_directory(std::string_view path);
  void symlink(std::string_view path, std::string_view target);
  std::optional<StoredObject> end_directory();
  /// The connection has ended in the middle.
  void abandon(std::vector<std::string>& trashed);

 private:
  struct Place {
    int directory = -1;
    std::string leaf;
  };
  Place place_of(std::string_view path);
  void note(ErrorCode error, std::string_view path);
  StoredObject finish_object();

  Workspace& space_;
  StoredObject object_;    ///< the top-level object being received
  std::string temporary_;  ///< its name below in/
  std::vector<os::UniqueFd> open_directories_;
  os::UniqueFd file_;
  Place executable_;  ///< of the file that is open, if it can be started as a program
  std::uint64_t file_size_ = 0;
};

}  // namespace taskmill::worker
