#include "common/os/tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "common/os/fd.hpp"

namespace taskmill::os {
namespace {

constexpr int max_open_depth = 48;

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using DirPtr = std::unique_ptr<DIR, DirCloser>;

class Remover {
 public:
  Remover(int top, const std::atomic<bool>* stop) : top_(top), stop_(stop) {}

  void remove(int directory, const std::string& name, int depth) {
    if (stopped()) return;
    if (::unlinkat(directory, name.c_str(), 0) == 0) return note_removed();
    if (errno == ENOENT) return;
    if (errno == EACCES ||
        errno == EPERM) {  // the parent forbids it; EPERM also means "is a directory" on some systems
      ::fchmod(directory, 0700);
      if (::unlinkat(directory, name.c_str(), 0) == 0) return note_removed();
    }
    struct stat status {};
    if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode)) {
      return note_failed();
    }
    if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0) return note_removed();
    if (depth >= max_open_depth && move_up(directory, name)) return;
    remove_content(directory, name, depth);
    if (stopped()) return;
    if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0) return note_removed();
    note_failed();
  }

  // Trees deeper than we have descriptors for were flattened into the top directory.
  void remove_moved() {
    while (!moved_.empty() && !stopped()) {
      const auto name = moved_.back();
      moved_.pop_back();
      remove(top_, name, 0);
    }
  }

  Removal result;

 private:
  bool stopped() const { return stop_ != nullptr && stop_->load(std::memory_order_relaxed); }
  void note_removed() { ++result.removed; }
  void note_failed() {
    ++result.failed;
    if (!result.first_error) result.first_error = errno_code();
  }

  bool move_up(int directory, const std::string& name) {
    const auto flat = ".deep." + std::to_string(::getpid()) + "." +
                      std::to_string(reinterpret_cast<std::uintptr_t>(this)) + "." + std::to_string(++count_);
    if (::renameat(directory, name.c_str(), top_, flat.c_str()) != 0) return false;
    moved_.push_back(flat);
    return true;
  }

  void remove_content(int parent, const std::string& name, int depth) {
    constexpr int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = ::openat(parent, name.c_str(), flags);
    if (fd < 0 && errno == EACCES) {
      ::fchmodat(parent, name.c_str(), 0700, 0);
      fd = ::openat(parent, name.c_str(), flags);
    }
    if (fd < 0) return note_failed();
    const DirPtr dir(::fdopendir(fd));
    if (!dir) {
      ::close(fd);
      return note_failed();
    }
    while (const dirent* entry = ::readdir(dir.get())) {
      if (!is_dots(entry->d_name)) remove(fd, entry->d_name, depth + 1);
      if (stopped()) return;
    }
  }

  int top_;
  const std::atomic<bool>* stop_;
  std::vector<std::string> moved_;
  std::uint64_t count_ = 0;
};

std::uint64_t size_below(int directory, const char* name, std::uint64_t& entries_left, int depth) {
  struct stat status {};
  if (entries_left == 0 || ::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  --entries_left;
  if (S_ISREG(status.st_mode)) return static_cast<std::uint64_t>(status.st_size);
  if (!S_ISDIR(status.st_mode) || depth > max_open_depth) return 0;
  const int fd = ::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return 0;
  const DirPtr dir(::fdopendir(fd));
  if (!dir) {
    ::close(fd);
    return 0;
  }
  std::uint64_t sum = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (!is_dots(entry->d_name)) sum += size_below(fd, entry->d_name, entries_left, depth + 1);
  }
  return sum;
}

}  // namespace

Removal remove_tree(int directory, const std::string& name, const std::atomic<bool>* stop) {
  Remover remover(directory, stop);
  remover.remove(directory, name, 0);
  remover.remove_moved();
  return remover.result;
}

std::uint64_t tree_size(int directory, const std::string& name, std::uint64_t max_entries) {
  std::uint64_t left = max_entries;
  return size_below(directory, name.c_str(), left, 0);
}

}  // namespace taskmill::os
