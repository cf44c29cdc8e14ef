// Builds a directory tree below one descriptor from names that nobody vouches for.
//
// Invariants, whatever the input: nothing outside the root is created, changed or linked to; no path is
// walked through a symbolic link; no device, fifo, set-uid, set-gid or sticky bit appears. Links that
// lead out are refused, except the one that every Python virtual environment has: bin/python* naming an
// interpreter by absolute path (it is stored, and never followed by us).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

struct TreeLimits {
  std::size_t path = 4095;
  std::size_t name = 255;
  std::size_t depth = 128;
};

/// "./a//b/" → "a/b"; "." → "". Fails for absolute paths, "..", NUL and lengths over the limits.
Expected<std::string> normal_path(std::string_view path, const TreeLimits& limits);

enum class LinkVerdict { inside, needs_check, outside };
/// Judges a link's target by its text, from the directory depth of the link. needs_check: it has ".."
/// behind a name, so only the finished tree can tell.
LinkVerdict judge_link(std::string_view link_path, std::string_view target);

struct FileAttributes {
  std::uint32_t mode = 0644;
  timespec mtime{};
};

class SafeTree {
 public:
  /// `root` is an open directory and must outlive this object.
  SafeTree(int root, TreeLimits limits) : root_(root), limits_(limits) {}

  /// Paths here are raw member names. Missing parents are made.
  Status make_directory(std::string_view path, const FileAttributes& attributes);
  /// A new empty file, open for writing; replaces an earlier file or link of that name.
  Expected<os::UniqueFd> create_file(std::string_view path);
  Status make_symlink(std::string_view path, std::string_view target, timespec mtime);
  /// `existing` must be a regular file or link of this tree.
  Status make_hard_link(std::string_view path, std::string_view existing);

  /// After the last member: verifies the links that could not be judged by their text.
  Status check_links();
  /// Gives directories their modes and times (innermost first). read_only takes all write permission.
  Status seal_directories(bool read_only);

  [[nodiscard]] std::uint64_t directories() const { return directories_.size(); }

 private:
  struct Directory {
    std::string path;
    FileAttributes attributes;
  };
  struct Place {
    int parent;
    std::string name;
    std::string path;
  };
  Expected<Place> place(std::string_view raw);
  Expected<int> open_parent(std::string_view path);
  Expected<os::UniqueFd> walk(std::string_view path, bool create);
  Status remove_old(const Place& where);

  int root_;
  TreeLimits limits_;
  os::UniqueFd cached_fd_;
  std::string cached_path_;
  std::vector<Directory> directories_;
  std::vector<std::string> doubtful_links_;
};

/// Opens a directory for walking, without following a link in the last component.
Expected<os::UniqueFd> open_directory(int at, const std::string& path);
/// Opens a file for reading by a path below `at` that must not pass any link; an empty descriptor when there
/// is no such file (or a link is in the way).
Expected<os::UniqueFd> open_file_beneath(int at, const std::string& path);
/// Removes `name` below `at`, trees without write permission included; nothing there is success.
Status remove_tree(int at, const std::string& name);
/// Gives or takes the owner's write permission in a whole tree (not of `name`'s parent).
Status set_writable(int at, const std::string& name, bool writable);
/// Bytes in blocks and entries below a directory (hard links counted once).
struct TreeSize {
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};
Expected<TreeSize> tree_size(int at, const std::string& name);

}  // namespace taskmill::archive
