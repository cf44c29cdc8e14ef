#include "common/os/file.hpp"

#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "common/base/text.hpp"

namespace taskmill::os {
namespace {

// Before Linux 5.6 there is no openat2: go down one component at a time, following nothing.
Result<UniqueFd> open_walking(int directory, const char* path, int flags, mode_t mode) {
  if (!is_safe_relative_path(path)) return code_of(EXDEV);
  UniqueFd held;
  int at = directory;
  const auto parts = split(path, '/');
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    UniqueFd next(::openat(at, std::string(parts[i]).c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return errno_code();
    held = std::move(next);
    at = held.get();
  }
  UniqueFd file(::openat(at, std::string(parts.back()).c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!file) return errno_code();
  return file;
}

}  // namespace

Result<UniqueFd> open_beneath(int directory, const char* path, int flags, mode_t mode, Links links) {
  static std::atomic<bool> missing{false};
  if (!missing.load(std::memory_order_relaxed)) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
    how.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    if (links == Links::refuse) how.resolve |= RESOLVE_NO_SYMLINKS;
    // EAGAIN: something was renamed meanwhile and the kernel could not tell; it says to try again.
    for (int attempt = 0; attempt < 16; ++attempt) {
      const auto fd = static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof how));
      if (fd >= 0) return UniqueFd(fd);
      if (errno != EAGAIN && errno != EINTR) break;
    }
    // EPERM: some container filters answer so for calls they do not know.
    if (errno != ENOSYS && errno != EPERM) return errno_code();
    if (errno == ENOSYS) missing.store(true, std::memory_order_relaxed);
  }
  return open_walking(directory, path, flags, mode);
}

Result<UniqueFd> make_parents(int directory, const std::string& path, std::string& leaf) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) {
    leaf = path;
    return UniqueFd();
  }
  leaf = path.substr(slash + 1);
  UniqueFd held;
  int at = directory;
  for (const auto part : split(std::string_view(path).substr(0, slash), '/')) {
    const std::string name(part);
    if (::mkdirat(at, name.c_str(), 0777) != 0 && errno != EEXIST) return errno_code();
    UniqueFd next(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return errno_code();
    held = std::move(next);
    at = held.get();
  }
  return held;
}

ErrorCode write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_code();
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> read_some(int file, std::size_t limit) {
  std::string text;
  while (text.size() < limit) {
    const auto old_size = text.size();
    const auto want = std::min<std::size_t>(limit - old_size, 64U << 10);
    text.resize(old_size + want);
    const ssize_t got = ::read(file, text.data() + old_size, want);
    if (got < 0 && errno == EINTR) {
      text.resize(old_size);
      continue;
    }
    if (got < 0) return errno_code();
    text.resize(old_size + static_cast<std::size_t>(got));
    if (got == 0) break;
  }
  return text;
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_code();
  return read_some(file.get(), limit);
}

ErrorCode copy_file(int from, int to_directory, const char* to_name, mode_t mode, const std::atomic<bool>* stop) {
  const UniqueFd to(::openat(to_directory, to_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!to) return errno_code();
  if (::fchmod(to.get(), mode) != 0) return errno_code();
  if (::ioctl(to.get(), FICLONE, from) == 0) return {};
  off_t in = 0;
  while (true) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) return code_of(ECANCELED);
    const ssize_t n = ::copy_file_range(from, &in, to.get(), nullptr, 8U << 20, 0);
    if (n == 0) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && in == 0) break;  // not between these file systems
    if (n < 0) return errno_code();
  }
  std::vector<char> buffer(256U << 10);
  while (true) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) return code_of(ECANCELED);
    const ssize_t n = ::pread(from, buffer.data(), buffer.size(), in);
    if (n == 0) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_code();
    if (const auto error = write_all(to.get(), {buffer.data(), static_cast<std::size_t>(n)})) return error;
    in += n;
  }
}

bool can_clone(int directory) {
  const UniqueFd from(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  const UniqueFd to(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!from || !to) return false;
  if (write_all(from.get(), std::string(4096, 'x'))) return false;
  return ::ioctl(to.get(), FICLONE, from.get()) == 0;
}

std::string secret_letters(std::size_t length) {
  std::string letters;
  letters.reserve(length);
  std::array<unsigned char, 64> bytes{};
  while (letters.size() < length) {
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) continue;
    for (const auto byte : bytes) {
      if (byte < 234 && letters.size() < length) letters += static_cast<char>('a' + byte % 26);  // 234 = 9 * 26
    }
  }
  return letters;
}

}  // namespace taskmill::os
