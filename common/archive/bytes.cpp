#include "common/archive/bytes.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {
constexpr std::size_t read_size = std::size_t{512} * 1024;
}

Error system_error(std::string_view what, std::string_view name, int number) {
  std::string text(what);
  if (!name.empty()) text.append(" ").append(name);
  return make_error(text + ": " + std::strerror(number));
}

std::uint64_t free_space(int fd) {
  struct statvfs info {};
  if (::fstatvfs(fd, &info) != 0) return 0;
  return std::uint64_t{info.f_bavail} * info.f_frsize;
}

Error write_error(std::string_view name, int number, int fd, std::uint64_t written) {
  if (number != ENOSPC && number != EDQUOT) return system_error("cannot write", name, number);
  std::string text = number == EDQUOT ? "disk quota reached" : "disk full";
  text.append(" while writing ").append(name);
  text += ": " + human_bytes(written) + " written, " + human_bytes(free_space(fd)) + " free";
  return make_error(text);
}

bool write_fully(int fd, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return true;
}

Expected<Bytes> MemorySource::next() {
  const Bytes piece = rest_.first(std::min(step_, rest_.size()));
  rest_ = rest_.subspan(piece.size());
  return piece;
}

FileSource::FileSource(os::UniqueFd fd, std::string name)
    : fd_(std::move(fd)), name_(std::move(name)), buffer_(read_size) {}

Expected<std::unique_ptr<FileSource>> FileSource::open(const std::string& path) {
  os::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error("cannot open", path, errno);
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::make_unique<FileSource>(std::move(fd), path);
}

Expected<Bytes> FileSource::next() {
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer_.data(), buffer_.size());
    if (got >= 0) return Bytes(buffer_.data(), static_cast<std::size_t>(got));
    if (errno != EINTR) return system_error("cannot read", name_, errno);
  }
}

Status FileSink::write(Bytes bytes) {
  if (!write_fully(fd_.get(), bytes)) return write_error(name_, errno, fd_.get(), written_);
  written_ += bytes.size();
  return {};
}

Status copy(ByteSource& from, ByteSink& to) {
  for (;;) {
    auto piece = from.next();
    if (!piece) return piece.error();
    if (piece->empty()) return {};
    if (auto wrote = to.write(*piece); !wrote) return wrote.error();
  }
}

Expected<std::string> read_file(const std::string& path, std::uint64_t limit) {
  auto source = FileSource::open(path);
  if (!source) return source.error();
  std::string text;
  for (;;) {
    auto piece = (*source)->next();
    if (!piece) return piece.error();
    if (piece->empty()) return {boost::system::in_place_value, std::move(text)};
    if (text.size() + piece->size() > limit) return make_error(path + " is larger than " + human_bytes(limit));
    text.append(piece->data(), piece->size());
  }
}

}  // namespace taskmill::archive
