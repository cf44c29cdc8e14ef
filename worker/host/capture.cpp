#include "worker/host/capture.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace taskmill::worker {
namespace {

constexpr off_t most_in_memory = 16 << 10;
constexpr std::size_t most_kept = 64;

}  // namespace

void CaptureStore::use(int directory) {
  directory_ = directory;
  free_.clear();
  ++generation_;
}

Result<Capture> CaptureStore::acquire() {
  if (!free_.empty()) {
    Capture capture = std::move(free_.back());
    free_.pop_back();
    return capture;
  }
  Capture capture;
  capture.name = std::to_string(generation_) + "." + std::to_string(++counter_);
  capture.fd.reset(::openat(directory_, capture.name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
  if (!capture.fd) return errno_code();
  return capture;
}

Captured CaptureStore::finish(Capture capture, bool clean) {
  Captured captured;
  struct stat status {};
  if (!capture.fd || ::fstat(capture.fd.get(), &status) != 0) return captured;
  captured.length = static_cast<std::uint64_t>(status.st_size);
  if (status.st_size > most_in_memory) {
    captured.file = capture.name;
    return captured;
  }
  captured.text.resize(static_cast<std::size_t>(status.st_size));
  if (status.st_size > 0) {
    const ssize_t got = ::pread(capture.fd.get(), captured.text.data(), captured.text.size(), 0);
    captured.text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    captured.length = captured.text.size();
  }
  const bool of_this_session = capture.name.starts_with(std::to_string(generation_) + ".");
  const bool empty = status.st_size == 0 || (clean && ::ftruncate(capture.fd.get(), 0) == 0);
  if (clean && empty && of_this_session && free_.size() < most_kept) {
    free_.push_back(std::move(capture));
  } else if (of_this_session) {
    ::unlinkat(directory_, capture.name.c_str(), 0);
  }
  return captured;
}

Result<std::shared_ptr<os::UniqueFd>> CaptureStore::open(Captured& captured) {
  auto fd =
      std::make_shared<os::UniqueFd>(::openat(directory_, captured.file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd->valid()) return errno_code();
  discard(captured);
  return fd;
}

void CaptureStore::discard(Captured& captured) {
  if (!captured.file.empty()) ::unlinkat(directory_, captured.file.c_str(), 0);
  captured.file.clear();
}

}  // namespace taskmill::worker
