#include "common/archive/safe_tree.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

constexpr mode_t directory_while_building = 0700;

std::string_view last_name(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string_view parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

/// bin/python, bin/python3.11 → /usr/bin/python3: how a virtual environment names its interpreter.
bool is_interpreter_link(std::string_view link_path, std::string_view target) {
  if (!link_path.starts_with("bin/python") || link_path.find('/', 4) != std::string_view::npos) return false;
  return target.starts_with('/') && last_name(target).starts_with("python") &&
         target.find("/../") == std::string_view::npos;
}

}  // namespace

Expected<std::string> normal_path(std::string_view path, const TreeLimits& limits) {
  const std::string shown(path.substr(0, 200));
  if (path.find('\0') != std::string_view::npos) return make_error("a member's name holds a NUL byte");
  if (path.size() > limits.path) {
    return make_error("member name of " + std::to_string(path.size()) + " bytes, at most " +
                      std::to_string(limits.path) + " are accepted: " + shown + "…");
  }
  if (path.starts_with('/')) return make_error("member with an absolute path: " + shown);
  std::string normal;
  std::size_t depth = 0;
  for (const std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return make_error("member that leads out of the archive: " + shown);
    if (part.size() > limits.name) return make_error("member with a name over 255 bytes: " + shown);
    if (!normal.empty()) normal += '/';
    normal += part;
    ++depth;
  }
  if (depth > limits.depth) {
    return make_error("member " + std::to_string(depth) + " directories deep, at most " + std::to_string(limits.depth) +
                      " are accepted: " + shown);
  }
  return {boost::system::in_place_value, std::move(normal)};
}

LinkVerdict judge_link(std::string_view link_path, std::string_view target) {
  if (target.empty() || target.size() >= PATH_MAX || target.find('\0') != std::string_view::npos) {
    return LinkVerdict::outside;
  }
  if (target.starts_with('/')) {
    return is_interpreter_link(link_path, target) ? LinkVerdict::inside : LinkVerdict::outside;
  }
  long depth = 0;
  for (const char c : link_path) depth += c == '/' ? 1 : 0;
  bool seen_name = false;
  bool doubtful = false;
  for (const std::string_view part : split(target, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      seen_name = true;
      ++depth;
      continue;
    }
    doubtful = doubtful || seen_name;
    if (--depth < 0) return LinkVerdict::outside;
  }
  return doubtful ? LinkVerdict::needs_check : LinkVerdict::inside;
}

Expected<os::UniqueFd> open_directory(int at, const std::string& path) {
  os::UniqueFd fd(::openat(at, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return system_error("cannot open directory", path, errno);
  return fd;
}

Expected<os::UniqueFd> SafeTree::walk(std::string_view path, bool create) {
  os::UniqueFd here(::fcntl(root_, F_DUPFD_CLOEXEC, 0));
  if (!here) return system_error("cannot open", "the target directory", errno);
  std::string walked;
  for (const std::string_view part : split(path, '/')) {
    if (part.empty()) continue;
    const std::string name(part);
    walked += walked.empty() ? name : "/" + name;
    if (create && ::mkdirat(here.get(), name.c_str(), directory_while_building) == 0) {
      directories_.push_back({walked, {0755, {}}});
    } else if (create && errno != EEXIST) {
      return write_error("directory " + walked, errno, root_, 0);
    }
    os::UniqueFd below(::openat(here.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!below) {
      if (errno == ENOTDIR || errno == ELOOP) {
        return make_error("member below " + walked + ", which is not a directory in this archive");
      }
      return system_error("cannot open directory", walked, errno);
    }
    here = std::move(below);
  }
  return here;
}

Expected<int> SafeTree::open_parent(std::string_view path) {
  const std::string_view parent = parent_of(path);
  if (parent.empty()) return root_;
  if (cached_fd_ && cached_path_ == parent) return cached_fd_.get();
  auto fd = walk(parent, true);
  if (!fd) return fd.error();
  cached_fd_ = std::move(*fd);
  cached_path_ = parent;
  return cached_fd_.get();
}

Expected<SafeTree::Place> SafeTree::place(std::string_view raw) {
  auto path = normal_path(raw, limits_);
  if (!path) return path.error();
  if (path->empty()) return make_error("member without a name");
  auto parent = open_parent(*path);
  if (!parent) return parent.error();
  return Place{*parent, std::string(last_name(*path)), std::move(*path)};
}

Status SafeTree::remove_old(const Place& where) {
  if (::unlinkat(where.parent, where.name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno == EISDIR) return make_error("member " + where.path + " appears as a directory and as something else");
  return system_error("cannot replace", where.path, errno);
}

Status SafeTree::make_directory(std::string_view raw, const FileAttributes& attributes) {
  auto path = normal_path(raw, limits_);
  if (!path) return path.error();
  if (path->empty()) return {};  // the archive's own "./"
  auto where = place(*path);
  if (!where) return where.error();
  if (::mkdirat(where->parent, where->name.c_str(), directory_while_building) != 0) {
    if (errno != EEXIST) return write_error("directory " + where->path, errno, root_, 0);
    struct stat info {};
    if (::fstatat(where->parent, where->name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(info.st_mode)) {
      return make_error("member " + where->path + " appears as a directory and as something else");
    }
  }
  directories_.push_back({where->path, attributes});
  return {};
}

Expected<os::UniqueFd> SafeTree::create_file(std::string_view raw) {
  auto where = place(raw);
  if (!where) return where.error();
  constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  os::UniqueFd fd(::openat(where->parent, where->name.c_str(), flags, 0600));
  if (!fd && errno == EEXIST) {
    if (auto removed = remove_old(*where); !removed) return removed.error();
    fd.reset(::openat(where->parent, where->name.c_str(), flags, 0600));
  }
  if (!fd) return write_error(where->path, errno, root_, 0);
  return fd;
}

Status SafeTree::make_symlink(std::string_view raw, std::string_view target, timespec mtime) {
  auto where = place(raw);
  if (!where) return where.error();
  const LinkVerdict verdict = judge_link(where->path, target);
  if (verdict == LinkVerdict::outside) {
    return make_error("link that leads out of the archive: " + where->path + " -> " +
                      std::string(target.substr(0, 200)));
  }
  const std::string text(target);
  if (::symlinkat(text.c_str(), where->parent, where->name.c_str()) != 0) {
    if (errno != EEXIST) return write_error(where->path, errno, root_, 0);
    if (auto removed = remove_old(*where); !removed) return removed;
    if (::symlinkat(text.c_str(), where->parent, where->name.c_str()) != 0) {
      return write_error(where->path, errno, root_, 0);
    }
  }
  if (verdict == LinkVerdict::needs_check) doubtful_links_.push_back(where->path);
  const std::array<timespec, 2> times{mtime, mtime};
  ::utimensat(where->parent, where->name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
  return {};
}

Status SafeTree::make_hard_link(std::string_view raw, std::string_view existing) {
  auto source = normal_path(existing, limits_);
  if (!source) return source.error();
  auto from_directory = walk(parent_of(*source), false);
  const std::string from_name(last_name(*source));
  struct stat info {};
  if (!from_directory || from_name.empty() ||
      ::fstatat(from_directory->get(), from_name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return make_error("hard link to a member that did not come before it: " + std::string(raw.substr(0, 200)) + " -> " +
                      *source);
  }
  if (S_ISLNK(info.st_mode)) {
    // A second name of a link may lie at another depth, where the same target leads elsewhere.
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlinkat(from_directory->get(), from_name.c_str(), target.data(), target.size());
    if (size < 0) return system_error("cannot read link", *source, errno);
    return make_symlink(raw, {target.data(), static_cast<std::size_t>(size)}, info.st_mtim);
  }
  if (!S_ISREG(info.st_mode)) return make_error("hard link to something that is not a file: " + *source);
  auto where = place(raw);
  if (!where) return where.error();
  if (where->path == *source) return {};
  if (auto removed = remove_old(*where); !removed) return removed;
  if (::linkat(from_directory->get(), from_name.c_str(), where->parent, where->name.c_str(), 0) != 0) {
    return write_error(where->path, errno, root_, 0);
  }
  return {};
}

Status SafeTree::check_links() {
  for (const std::string& path : doubtful_links_) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    const long fd = ::syscall(SYS_openat2, root_, path.c_str(), &how, sizeof how);
    if (fd >= 0) {
      ::close(static_cast<int>(fd));
      continue;
    }
    // ENOENT: leads nowhere, and stays so. Anything else, a kernel without openat2 included, is a no.
    if (errno != ENOENT) return make_error("link that leads out of the archive: " + path);
  }
  return {};
}

Status SafeTree::seal_directories(bool read_only) {
  cached_fd_.reset();
  cached_path_.clear();
  for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) {
    // Members come parents first, so the reverse order reaches children before their parents close.
    auto fd = walk(it->path, false);
    if (!fd) continue;  // named twice, sealed already
    mode_t mode = (it->attributes.mode & 0777U) | 0500U;
    mode = read_only ? mode & ~mode_t{0222} : mode | 0200U;
    if (it->attributes.mtime.tv_sec != 0) {
      const std::array<timespec, 2> times{it->attributes.mtime, it->attributes.mtime};
      ::futimens(fd->get(), times.data());
    }
    if (::fchmod(fd->get(), mode) != 0) return system_error("cannot set permissions of", it->path, errno);
  }
  return {};
}

}  // namespace taskmill::archive
