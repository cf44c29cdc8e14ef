#include "common/archive/packer.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <map>

#include "common/archive/safe_tree.hpp"
#include "common/archive/tar_writer.hpp"

namespace taskmill::archive {

namespace {

class TreePacker {
 public:
  explicit TreePacker(ByteSink& sink) : writer_(sink), buffer_(std::size_t{512} * 1024) {}

  Status directory(os::UniqueFd fd, const std::string& path) {
    auto names = sorted_names(std::move(fd), path);
    if (!names) return names.error();
    for (const std::string& name : names->names) {
      if (auto done = member(names->fd.get(), name, path.empty() ? name : path + "/" + name); !done) return done;
    }
    return {};
  }

  Expected<PackReport> finish() {
    if (auto done = writer_.finish(); !done) return done.error();
    return report_;
  }

 private:
  struct Names {
    os::UniqueFd fd;
    std::vector<std::string> names;
  };

  static Expected<Names> sorted_names(os::UniqueFd fd, const std::string& path) {
    Names result;
    result.fd.reset(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    DIR* listing = ::fdopendir(fd.get());
    if (listing == nullptr || !result.fd) return system_error("cannot list", path, errno);
    fd.release();
    while (const dirent* entry = ::readdir(listing)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") result.names.emplace_back(name);
    }
    ::closedir(listing);
    std::sort(result.names.begin(), result.names.end());
    return result;
  }

  Status member(int at, const std::string& name, const std::string& path) {
    struct stat info {};
    if (::fstatat(at, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return system_error("cannot examine", path, errno);
    TarEntry entry;
    entry.path = path;
    entry.mode = info.st_mode & 0777U;
    entry.mtime.tv_sec = info.st_mtim.tv_sec;
    ++report_.entries;
    if (S_ISDIR(info.st_mode)) {
      entry.kind = EntryKind::directory;
      entry.mtime = {};  // changes with every file made or removed inside, and nothing reads it
      if (auto done = writer_.add(entry); !done) return done;
      auto below = open_directory(at, name);
      if (!below) return below.error();
      return directory(std::move(*below), path);
    }
    if (S_ISLNK(info.st_mode)) return symlink(at, name, std::move(entry));
    if (S_ISREG(info.st_mode)) return file(at, name, std::move(entry), info);
    return make_error("cannot pack " + path + ": it is neither a file, a directory nor a link");
  }

  Status symlink(int at, const std::string& name, TarEntry entry) {
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlinkat(at, name.c_str(), target.data(), target.size());
    if (size < 0) return system_error("cannot read link", entry.path, errno);
    entry.kind = EntryKind::symlink;
    entry.target.assign(target.data(), static_cast<std::size_t>(size));
    entry.mode = 0777;
    return writer_.add(entry);
  }

  Status file(int at, const std::string& name, TarEntry entry, const struct stat& info) {
    if (info.st_nlink > 1) {
      const auto [earlier, is_new] = links_.emplace(std::pair(info.st_dev, info.st_ino), entry.path);
      if (!is_new) {
        entry.kind = EntryKind::hard_link;
        entry.target = earlier->second;
        return writer_.add(entry);
      }
    }
    const os::UniqueFd fd(::openat(at, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return system_error("cannot open", entry.path, errno);
    entry.kind = EntryKind::file;
    entry.size = static_cast<std::uint64_t>(info.st_size);
    report_.bytes += entry.size;
    if (auto done = writer_.add(entry); !done) return done;
    for (std::uint64_t left = entry.size; left > 0;) {
      const ssize_t got = ::read(fd.get(), buffer_.data(), std::min<std::uint64_t>(buffer_.size(), left));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return system_error("cannot read", entry.path, errno);
      if (got == 0) return make_error(entry.path + " became shorter while it was packed");
      if (auto done = writer_.data({buffer_.data(), static_cast<std::size_t>(got)}); !done) return done;
      left -= static_cast<std::uint64_t>(got);
    }
    return {};
  }

  TarWriter writer_;
  std::vector<char> buffer_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
  PackReport report_;
};

}  // namespace

Expected<PackReport> pack_tree(const std::string& directory, ByteSink& sink) {
  os::UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error("cannot open directory", directory, errno);
  TreePacker packer(sink);
  if (auto done = packer.directory(std::move(fd), ""); !done) return done.error();
  return packer.finish();
}

}  // namespace taskmill::archive
