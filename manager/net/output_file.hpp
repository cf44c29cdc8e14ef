// Where a fetched output goes: one declared local path, a file or a tree, written so that a peer cannot leave it.
//
// A file is written under a temporary name beside its target and renamed when it is complete, so nobody ever sees
// half of it. Files are created with 0777 minus the umask (manager.md 4.2). Entries of a tree are reached from the
// root one component at a time with O_NOFOLLOW: a symbolic link inside an existing tree is never followed or
// written through. A declared path that is itself a link to a file is resolved once (it is the user's own link);
// devices such as /dev/null are written directly and never replaced.
//
// Every call returns an error code of the local system; nothing here knows about workers. Temporary names of an
// output that was never finished are removed by the destructor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::manager {

class OutputFile {
 public:
  /// `reserve`: bytes that must stay free on the file system; a body that would not fit is refused (ENOSPC).
  explicit OutputFile(std::string local_path, std::uint64_t reserve = 0);
  ~OutputFile();
  OutputFile(OutputFile&&) = delete;
  OutputFile& operator=(OutputFile&&) = delete;

  /// Opens a temporary file for the entry (`relative` empty: the declared path itself). One entry at a time.
  Result<int> begin_file(std::string_view relative, std::uint64_t length);
  /// Renames the temporary file of begin_file() to its place.
  ErrorCode finish_file();
  /// Drops the temporary file of begin_file(), if any.
  void abandon_file();
  /// Creates a directory (existing ones are kept; an existing link or file is an error).
  ErrorCode make_directory(std::string_view relative);

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  ErrorCode open_parent();
  ErrorCode open_root();
  Result<os::UniqueFd> open_directory(std::string_view relative);

  std::string path_;
  std::uint64_t reserve_;
  std::string name_;        ///< last component of the declared path
  os::UniqueFd parent_;     ///< directory that holds the declared path
  os::UniqueFd root_;       ///< the declared path, once it is known to be a directory
  os::UniqueFd directory_;  ///< directory of the entry being written
  os::UniqueFd file_;
  std::string temporary_;  ///< empty when written directly
  std::string final_;
};

/// Creates every missing directory above `path`. Existing links to directories are accepted: they are the user's.
ErrorCode create_parents(const std::string& path);

/// Writes one piece of a watched output at its offset and cuts the file there (manager.md 12.2, WATCH).
/// Never through a link.
Result<os::UniqueFd> open_watched(const std::string& path, std::uint64_t offset, std::uint64_t length);

}  // namespace taskmill::manager
