// Removing and measuring trees, by descriptor and without following links.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <set>

#include "common/archive/safe_tree.hpp"

namespace taskmill::archive {

Expected<os::UniqueFd> open_file_beneath(int at, const std::string& path) {
  os::UniqueFd here(::fcntl(at, F_DUPFD_CLOEXEC, 0));
  std::string_view rest = path;
  for (std::size_t slash = rest.find('/'); here && slash != std::string_view::npos; slash = rest.find('/')) {
    const std::string name(rest.substr(0, slash));
    here.reset(::openat(here.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    rest.remove_prefix(slash + 1);
  }
  if (here) here.reset(::openat(here.get(), std::string(rest).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!here && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) return system_error("cannot open", path, errno);
  return here;
}

namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Listing = std::unique_ptr<DIR, CloseDirectory>;

/// Calls `each(fd of the directory, name)` for every entry.
Status for_each_entry(os::UniqueFd directory, const std::string& shown,
                      const std::function<Status(int, const std::string&, unsigned char)>& each) {
  Listing listing(::fdopendir(directory.get()));
  if (!listing) return system_error("cannot list", shown, errno);
  directory.release();
  while (const dirent* entry = ::readdir(listing.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (auto done = each(::dirfd(listing.get()), name, entry->d_type); !done) return done;
  }
  return {};
}

}  // namespace

Status remove_tree(int at, const std::string& name) {
  if (::unlinkat(at, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return system_error("cannot remove", name, errno);
  os::UniqueFd directory(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory && errno == EACCES && ::fchmodat(at, name.c_str(), 0700, 0) == 0) {
    directory.reset(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!directory) return errno == ENOENT ? Status{} : Status(system_error("cannot open", name, errno));
  ::fchmod(directory.get(), 0700);
  auto emptied = for_each_entry(std::move(directory), name, [](int here, const std::string& entry, unsigned char) {
    return remove_tree(here, entry);
  });
  if (!emptied) return emptied;
  if (::unlinkat(at, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return system_error("cannot remove", name, errno);
  }
  return {};
}

Status set_writable(int at, const std::string& name, bool writable) {
  struct stat info {};
  if (::fstatat(at, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return system_error("cannot examine", name, errno);
  if (S_ISLNK(info.st_mode)) return {};
  const mode_t mode = writable ? (info.st_mode & 07777U) | 0200U : info.st_mode & 07555U;
  if (writable && ::fchmodat(at, name.c_str(), mode, 0) != 0) return system_error("cannot change", name, errno);
  if (S_ISDIR(info.st_mode)) {
    auto directory = open_directory(at, name);
    if (!directory) return directory.error();
    auto below = for_each_entry(std::move(*directory), name, [&](int here, const std::string& entry, unsigned char) {
      return set_writable(here, entry, writable);
    });
    if (!below) return below;
  }
  if (!writable && ::fchmodat(at, name.c_str(), mode, 0) != 0) return system_error("cannot change", name, errno);
  return {};
}

namespace {

Status add_sizes(os::UniqueFd directory, const std::string& shown, TreeSize& total,
                 std::set<std::pair<dev_t, ino_t>>& linked) {
  return for_each_entry(std::move(directory), shown, [&](int here, const std::string& name, unsigned char) -> Status {
    struct stat info {};
    if (::fstatat(here, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno == ENOENT ? Status{} : Status(system_error("cannot examine", name, errno));
    }
    ++total.entries;
    if (S_ISDIR(info.st_mode)) {
      auto below = open_directory(here, name);
      if (!below) return below.error();
      return add_sizes(std::move(*below), name, total, linked);
    }
    if (info.st_nlink > 1 && !linked.emplace(info.st_dev, info.st_ino).second) return {};
    total.bytes += static_cast<std::uint64_t>(info.st_blocks) * 512U;
    return {};
  });
}

}  // namespace

Expected<TreeSize> tree_size(int at, const std::string& name) {
  auto directory = open_directory(at, name);
  if (!directory) return directory.error();
  TreeSize total;
  std::set<std::pair<dev_t, ino_t>> linked;
  if (auto done = add_sizes(std::move(*directory), name, total, linked); !done) return done.error();
  return total;
}

}  // namespace taskmill::archive
