#include "worker/host/cache_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "common/os/file.hpp"

namespace taskmill::worker {
namespace {

constexpr int directory_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr int new_file_flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

std::string_view leaf_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// A program cannot be started while anybody has it open for writing, and a task that was being started while we wrote
// has our descriptor until it closes what it inherited. So: until nobody has. A lease is only given then.
void wait_for_writers(int directory, const std::string& leaf) {
  const os::UniqueFd file(::openat(directory, leaf.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return;
  constexpr timespec pause{0, 100'000};
  constexpr int most_pauses = 10'000;  // a second and more: such a task would be stuck in the kernel
  for (int i = 0; i < most_pauses; ++i) {
    if (::fcntl(file.get(), F_SETLEASE, F_RDLCK) == 0) {
      ::fcntl(file.get(), F_SETLEASE, F_UNLCK);
      return;
    }
    if (errno != EAGAIN) return;  // no leases on this file system
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace

CacheWriter::Place CacheWriter::place_of(std::string_view path) {
  if (!open_directories_.empty()) return {open_directories_.back().get(), std::string(leaf_of(path))};
  object_ = StoredObject{};
  object_.name = path;
  temporary_ = space_.next_name();
  return {space_.in(), temporary_};
}

void CacheWriter::note(ErrorCode error, std::string_view path) {
  if (object_.problem.empty()) object_.problem = "cannot store '" + std::string(path) + "': " + error.message();
}

std::optional<StoredObject> CacheWriter::whole_file(std::string_view path, unsigned mode, std::string_view bytes) {
  const int fd = begin_file(path, mode, bytes.size());
  return end_file(fd < 0 ? ErrorCode{} : os::write_all(fd, bytes));
}

int CacheWriter::begin_file(std::string_view path, unsigned mode, std::uint64_t length) {
  const Place place = place_of(path);
  file_size_ = length;
  if (open_directories_.empty()) object_.mode = mode;
  if (!object_.problem.empty() || place.directory < 0) return -1;
  file_.reset(::openat(place.directory, place.leaf.c_str(), new_file_flags, storage_mode(mode)));
  if (!file_) note(errno_code(), path);
  executable_ = (mode & 0111U) != 0 ? place : Place{};
  return file_.get();
}

std::optional<StoredObject> CacheWriter::end_file(ErrorCode error) {
  if (error) note(error, object_.name);
  const bool written = file_.valid();
  file_.reset();
  if (written && executable_.directory >= 0) wait_for_writers(executable_.directory, executable_.leaf);
  object_.size += file_size_;
  if (!open_directories_.empty()) {
    ++object_.entries;
    return std::nullopt;
  }
  return finish_object();
}

void CacheWriter::begin_directory(std::string_view path) {
  const Place place = place_of(path);
  if (open_directories_.empty()) object_.directory = true;
  os::UniqueFd fd;
  if (object_.problem.empty()) {
    if (::mkdirat(place.directory, place.leaf.c_str(), 0777) == 0) {
      fd.reset(::openat(place.directory, place.leaf.c_str(), directory_flags));
    }
    if (!fd) note(errno_code(), path);
  }
  if (!open_directories_.empty()) ++object_.entries;
  open_directories_.push_back(std::move(fd));
}

void CacheWriter::symlink(std::string_view path, std::string_view target) {
  const Place place = place_of(path);
  ++object_.entries;
  if (!object_.problem.empty()) return;
  if (::symlinkat(std::string(target).c_str(), place.directory, place.leaf.c_str()) != 0) note(errno_code(), path);
}

std::optional<StoredObject> CacheWriter::end_directory() {
  if (!open_directories_.empty()) open_directories_.pop_back();
  if (!open_directories_.empty()) return std::nullopt;
  return finish_object();
}

StoredObject CacheWriter::finish_object() {
  const Places places{space_.top(), space_.cache(), space_.trash()};
  if (object_.problem.empty()) {
    const auto trash_name = space_.next_name();
    bool went = false;
    const auto error = replace_in_cache(places, space_.in(), temporary_, object_.name, trash_name, went);
    if (went) object_.trashed.push_back(trash_name);
    if (error) note(error, object_.name);
  }
  if (!object_.problem.empty()) {
    const auto trash_name = space_.next_name();
    if (::renameat(space_.in(), temporary_.c_str(), space_.trash(), trash_name.c_str()) == 0) {
      object_.trashed.push_back(trash_name);
    }
  }
  temporary_.clear();
  return std::exchange(object_, StoredObject{});
}

void CacheWriter::abandon(std::vector<std::string>& trashed) {
  file_.reset();
  open_directories_.clear();
  if (!temporary_.empty()) {
    const auto trash_name = space_.next_name();
    if (::renameat(space_.in(), temporary_.c_str(), space_.trash(), trash_name.c_str()) == 0)
      trashed.push_back(trash_name);
  }
  temporary_.clear();
  object_ = StoredObject{};
}

}  // namespace taskmill::worker
