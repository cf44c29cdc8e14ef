#include "common/measure/disk_meter.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace taskmill::measure {

namespace {

/// Opens a folder below `root` without leaving it, whatever links a task puts in the way.
int open_below(int root, const std::string& relative) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const char* path = relative.empty() ? "." : relative.c_str();
  const auto fd = ::syscall(SYS_openat2, root, path, &how, sizeof how);
  if (fd >= 0 || errno != ENOSYS) return static_cast<int>(fd);
  return ::openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

}  // namespace

DiskMeter::DiskMeter(std::string root, Options options) : root_(std::move(root)), options_(options) {}

DiskMeter::DiskMeter(DiskMeter&& other) noexcept
    : root_(std::move(other.root_)),
      options_(other.options_),
      root_fd_(std::move(other.root_fd_)),
      pending_(std::move(other.pending_)),
      folder_(std::move(other.folder_)),
      open_(std::exchange(other.open_, nullptr)),
      linked_(std::move(other.linked_)),
      bytes_(other.bytes_),
      files_(other.files_),
      last_(other.last_),
      in_round_(other.in_round_) {}

DiskMeter::~DiskMeter() {
  if (open_) ::closedir(open_);
}

void DiskMeter::begin_round() {
  in_round_ = true;
  bytes_ = 0;
  files_ = 0;
  pending_.clear();
  linked_.clear();
  root_fd_.reset(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root_fd_) return;
  files_ = 1;
  pending_.emplace_back();
}

bool DiskMeter::open_next() {
  while (!pending_.empty()) {
    folder_ = std::move(pending_.back());
    pending_.pop_back();
    const int fd = open_below(root_fd_.get(), folder_);
    if (fd < 0) continue;  // removed meanwhile, or not readable for us
    open_ = ::fdopendir(fd);
    if (open_) return true;
    ::close(fd);
  }
  return false;
}

void DiskMeter::count(const char* name) {
  struct stat info {};
  if (::fstatat(::dirfd(open_), name, &info, AT_SYMLINK_NOFOLLOW) != 0) return;
  ++files_;
  if (S_ISDIR(info.st_mode)) {
    if (pending_.size() < options_.max_pending) pending_.push_back(folder_.empty() ? name : folder_ + '/' + name);
    return;
  }
  if (!S_ISREG(info.st_mode)) return;
  if (options_.apparent) {
    bytes_ += info.st_size;
    return;
  }
  if (info.st_nlink > 1 && !linked_.emplace(info.st_dev, info.st_ino).second) return;
  const std::int64_t length = (info.st_size + 4095) / 4096 * 4096;
  bytes_ += std::min<std::int64_t>(length, std::int64_t{info.st_blocks} * 512);
}

bool DiskMeter::step(std::size_t entries) {
  if (!in_round_) begin_round();
  for (std::size_t seen = 0; seen < entries;) {
    if (!open_ && !open_next()) {
      in_round_ = false;
      last_ = {bytes_, files_, true};
      root_fd_.reset();
      return true;
    }
    const auto* entry = ::readdir(open_);
    if (!entry) {
      ::closedir(open_);
      open_ = nullptr;
      ++seen;  // empty folders cost as well
      continue;
    }
    if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
    count(entry->d_name);
    ++seen;
  }
  return false;
}

void DiskMeter::restart() {
  if (open_) ::closedir(open_);
  open_ = nullptr;
  in_round_ = false;
}

DiskUsage DiskMeter::finish_round() {
  while (!step()) {
  }
  return last_;
}

DiskUsage DiskMeter::usage() const {
  if (!in_round_) return last_;
  return {std::max(bytes_, last_.bytes), std::max(files_, last_.files), last_.complete};
}

}  // namespace taskmill::measure
