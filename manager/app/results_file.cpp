#include "manager/app/results_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace taskmill::manager {
namespace {

// Position behind the last line end.
off_t whole_lines(int file) {
  struct stat info {};
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) return -1;
  std::array<char, 65536> block{};
  for (off_t end = info.st_size; end > 0;) {
    const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(block.size()));
    const ssize_t n = ::pread(file, block.data(), static_cast<std::size_t>(end - begin), begin);
    if (n <= 0) return -1;
    for (ssize_t i = n; i > 0; --i) {
      if (block[static_cast<std::size_t>(i - 1)] == '\n') return begin + i;
    }
    end = begin;
  }
  return 0;
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(file, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

Expected<std::unique_ptr<ResultsFile>> ResultsFile::open(const std::string& path) {
  os::UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (!file) return make_error("--results " + path + ": " + std::strerror(errno));
  const off_t end = whole_lines(file.get());
  if (end >= 0 && ::ftruncate(file.get(), end) != 0)
    return make_error("--results " + path + ": " + std::strerror(errno));
  return std::unique_ptr<ResultsFile>(new ResultsFile(std::move(file), path));
}

std::string ResultsFile::flush() {
  if (pending_.empty()) return {};
  const bool written = !broken_ && write_all(file_.get(), pending_);
  const int error = errno;
  pending_.clear();
  if (written || broken_) return {};
  broken_ = true;
  return "--results " + path_ + ": " + std::strerror(error) + "; no more records are written";
}

std::string write_whole_file(const std::string& path, const std::string& text) {
  const auto temporary = path + ".part-" + std::to_string(::getpid());
  const os::UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  const bool written = file && write_all(file.get(), text);
  if (written && ::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const int error = errno;
  if (file) ::unlink(temporary.c_str());
  return path + ": " + std::strerror(error);
}

}  // namespace taskmill::manager
