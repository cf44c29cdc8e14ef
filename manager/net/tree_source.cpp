#include "manager/net/tree_source.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "manager/net/input_job.hpp"
#include "protocol/format.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t max_depth = 128;         // open descriptors while walking
constexpr std::size_t max_entries = 1U << 22;  // names of one directory kept in memory

ErrorCode read_names(int directory, std::vector<std::string>& names) {
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return errno_code();
  DIR* stream = ::fdopendir(copy);
  if (stream == nullptr) {
    const auto error = errno_code();
    ::close(copy);
    return error;
  }
  ErrorCode error;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name(entry->d_name);
    if (name == "." || name == "..") continue;
    if (names.size() >= max_entries) {
      error = code_of(EFBIG);
      break;
    }
    names.emplace_back(name);
    errno = 0;
  }
  if (!error && errno != 0) error = errno_code();
  ::closedir(stream);
  std::sort(names.begin(), names.end(), std::greater<>());
  return error;
}

// Exactly `length` bytes are appended: the header has promised them. False when the file had fewer.
bool append_content(std::string& text, int file, std::uint64_t length) {
  const auto start = text.size();
  text.resize(start + length);
  std::uint64_t done = 0;
  while (done < length) {
    const ssize_t n = ::pread(file, text.data() + start + done, length - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::uint64_t>(n);
  }
  return true;
}

}  // namespace

TreeSource::TreeSource(os::UniqueFd directory, std::string wire_name) {
  enter(std::move(directory), std::move(wire_name), pending_text_);
}

void TreeSource::note_error(ErrorCode error, const std::string& name) {
  if (error_) return;
  error_ = error;
  for (std::size_t i = 1; i < levels_.size(); ++i) error_path_ += levels_[i].name + "/";
  error_path_ += name;
}

void TreeSource::enter(os::UniqueFd fd, std::string name, std::string& text) {
  if (!protocol::dir_begin(text, name)) return note_error(code_of(ENAMETOOLONG), name);
  Level level{std::move(fd), std::move(name), {}};
  const auto error = read_names(level.fd.get(), level.names);
  levels_.push_back(std::move(level));
  if (error) note_error(error, ".");
}

bool TreeSource::next(OutPiece& piece) {
  piece = OutPiece{};
  piece.text.swap(pending_text_);
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.names.empty()) {
      protocol::dir_end(piece.text);
      levels_.pop_back();
    } else {
      const std::string name = std::move(level.names.back());
      level.names.pop_back();
      add_entry(name, piece);
      if (piece.file) return true;
    }
    if (piece.text.size() >= small_input) return true;
  }
  return !piece.text.empty();
}

void TreeSource::add_entry(const std::string& name, OutPiece& piece) {
  struct stat info {};
  if (::fstatat(levels_.back().fd.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) note_error(errno_code(), name);  // an entry that vanished meanwhile was never part of it
    return;
  }
  if (S_ISREG(info.st_mode)) return add_file(name, piece);
  if (S_ISLNK(info.st_mode)) return add_link(name, piece);
  if (!S_ISDIR(info.st_mode)) return;
  if (levels_.size() >= max_depth) return note_error(code_of(ELOOP), name);
  os::UniqueFd fd(::openat(levels_.back().fd.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return note_error(errno_code(), name);
  enter(std::move(fd), name, piece.text);
}

void TreeSource::add_file(const std::string& name, OutPiece& piece) {
  auto file = std::make_shared<os::UniqueFd>(
      ::openat(levels_.back().fd.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!*file || ::fstat(file->get(), &info) != 0) return note_error(errno_code(), name);
  if (!S_ISREG(info.st_mode)) return;
  const auto length = static_cast<std::uint64_t>(info.st_size);
  if (!protocol::put_header(piece.text, name, length, info.st_mode & 0777U))
    return note_error(code_of(ENAMETOOLONG), name);
  bytes_ += length;
  if (length > small_input) {
    piece.file = std::move(file);
    piece.length = length;
  } else if (!append_content(piece.text, file->get(), length)) {
    note_error(code_of(EIO), name);
  }
}

void TreeSource::add_link(const std::string& name, OutPiece& piece) {
  std::string target(4096, '\0');
  const ssize_t n = ::readlinkat(levels_.back().fd.get(), name.c_str(), target.data(), target.size());
  if (n < 0) return note_error(errno_code(), name);
  target.resize(static_cast<std::size_t>(n));
  if (!protocol::symlink(piece.text, name, target)) note_error(code_of(ENAMETOOLONG), name);
}

}  // namespace taskmill::manager
