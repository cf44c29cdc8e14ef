#include "manager/net/output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdlib>
#include <memory>

#include "common/base/text.hpp"

namespace taskmill::manager {
namespace {

// Unique within the process by counter, between processes by pid; O_EXCL settles the rest.
std::string temporary_name(std::string_view final_name) {
  static std::atomic<std::uint64_t> counter{0};
  std::string name = ".";
  name.append(final_name.substr(0, 180));
  name += ".part-" + std::to_string(::getpid()) + "-" + std::to_string(++counter);
  return name;
}

bool has_room(int directory, std::uint64_t length, std::uint64_t reserve) {
  constexpr std::uint64_t not_worth_asking = 64U << 10;
  if (reserve == 0 && length < not_worth_asking) return true;
  struct statvfs info {};
  if (::fstatvfs(directory, &info) != 0) return true;
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize >= length + reserve;
}

std::string strip_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// The user's own link to a regular file is resolved; anything else stays as declared.
std::string resolve_declared(std::string path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISLNK(info.st_mode)) return path;
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  return resolved ? std::string(resolved.get()) : path;
}

std::pair<std::string, std::string> split_last(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  if (slash == 0) return {"/", path.substr(1)};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

ErrorCode create_parents(const std::string& path) {
  const auto parent = split_last(path).first;
  struct stat info {};
  if (::stat(parent.c_str(), &info) == 0) return S_ISDIR(info.st_mode) ? ErrorCode{} : code_of(ENOTDIR);
  if (errno != ENOENT) return errno_code();
  if (const auto error = create_parents(parent)) return error;
  if (::mkdir(parent.c_str(), 0777) != 0 && errno != EEXIST) return errno_code();
  return {};
}

OutputFile::OutputFile(std::string local_path, std::uint64_t reserve)
    : path_(resolve_declared(strip_trailing_slashes(std::move(local_path)))), reserve_(reserve) {}

OutputFile::~OutputFile() { abandon_file(); }

ErrorCode OutputFile::open_parent() {
  if (parent_) return {};
  if (path_.empty()) return code_of(ENOENT);
  if (const auto error = create_parents(path_)) return error;
  auto [parent, name] = split_last(path_);
  if (name.empty() || name == "." || name == "..") return code_of(EISDIR);
  parent_.reset(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent_) return errno_code();
  name_ = std::move(name);
  return {};
}

ErrorCode OutputFile::open_root() {
  if (root_) return {};
  // "." and ".." are directories the user named himself and have no parent to be created in.
  const auto name = split_last(path_).second;
  if (name.empty() || name == "." || name == "..") {
    root_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return root_ ? ErrorCode{} : errno_code();
  }
  if (const auto error = open_parent()) return error;
  if (::mkdirat(parent_.get(), name_.c_str(), 0777) != 0 && errno != EEXIST) return errno_code();
  root_.reset(::openat(parent_.get(), name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  return root_ ? ErrorCode{} : errno_code();
}

// Opens (creating what is missing) the directory `relative` below the root, component by component.
Result<os::UniqueFd> OutputFile::open_directory(std::string_view relative) {
  if (const auto error = open_root()) return error;
  os::UniqueFd at(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 0));
  if (!at) return errno_code();
  if (relative.empty()) return at;
  if (!is_safe_relative_path(relative)) return code_of(EINVAL);
  for (const auto part : split(relative, '/')) {
    const std::string name(part);
    if (::mkdirat(at.get(), name.c_str(), 0777) != 0 && errno != EEXIST) return errno_code();
    os::UniqueFd next(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!next) return errno_code();
    at = std::move(next);
  }
  return at;
}

ErrorCode OutputFile::make_directory(std::string_view relative) {
  auto directory = open_directory(relative);
  return directory.has_value() ? ErrorCode{} : directory.error();
}

Result<int> OutputFile::begin_file(std::string_view relative, std::uint64_t length) {
  abandon_file();
  if (relative.empty()) {
    if (const auto error = open_parent()) return error;
    directory_ = std::move(parent_);  // the output is this one file
    final_ = name_;
  } else {
    if (!is_safe_relative_path(relative)) return code_of(EINVAL);
    const auto slash = relative.rfind('/');
    auto directory = open_directory(slash == std::string_view::npos ? std::string_view{} : relative.substr(0, slash));
    if (!directory.has_value()) return directory.error();
    directory_ = std::move(*directory);
    final_ = relative.substr(slash == std::string_view::npos ? 0 : slash + 1);
  }
  struct stat info {};
  const bool exists = ::fstatat(directory_.get(), final_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  if (exists && S_ISDIR(info.st_mode)) return code_of(EISDIR);
  if (exists && !S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) {
    if (!relative.empty()) return code_of(EEXIST);
    file_.reset(::openat(directory_.get(), final_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (!file_) return errno_code();
    return file_.get();
  }
  if (!has_room(directory_.get(), length, reserve_)) return code_of(ENOSPC);
  temporary_ = temporary_name(final_);
  file_.reset(
      ::openat(directory_.get(), temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0777));
  if (!file_) {
    temporary_.clear();
    return errno_code();
  }
  return file_.get();
}

ErrorCode OutputFile::finish_file() {
  if (!file_) return code_of(EBADF);
  const int closed = ::close(file_.release());
  if (temporary_.empty()) return closed == 0 ? ErrorCode{} : errno_code();
  const auto close_error = closed == 0 ? ErrorCode{} : errno_code();
  if (close_error || ::renameat(directory_.get(), temporary_.c_str(), directory_.get(), final_.c_str()) != 0) {
    const auto error = close_error ? close_error : errno_code();
    ::unlinkat(directory_.get(), temporary_.c_str(), 0);
    temporary_.clear();
    return error;
  }
  temporary_.clear();
  return {};
}

void OutputFile::abandon_file() {
  file_.reset();
  if (!temporary_.empty()) ::unlinkat(directory_.get(), temporary_.c_str(), 0);
  temporary_.clear();
}

Result<os::UniqueFd> open_watched(const std::string& path, std::uint64_t offset, std::uint64_t length) {
  if (offset > LLONG_MAX - length) return code_of(EFBIG);
  if (const auto error = create_parents(path)) return error;
  os::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0777));
  if (!file) return errno_code();
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return errno_code();
  // A peer may claim any offset: a hole far behind the end would make a huge sparse file.
  if (S_ISREG(info.st_mode)) {
    if (offset > static_cast<std::uint64_t>(info.st_size)) return code_of(EINVAL);
    if (::ftruncate(file.get(), static_cast<off_t>(offset)) != 0) return errno_code();
    if (::lseek(file.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return errno_code();
  }
  return file;
}

}  // namespace taskmill::manager
