#include "common/measure/proc_reader.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include "common/base/text.hpp"
#include "common/os/fd.hpp"

namespace taskmill::measure {

namespace {
constexpr std::size_t first_buffer = 4096;
constexpr std::size_t largest_file = 1 << 20;
constexpr int max_threads = 64;

/// Reads `path` into `buffer`, growing it as needed; the number of bytes, or nullopt.
std::optional<std::size_t> read_into(const char* path, Content content, std::vector<char>& buffer) {
  const os::UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return std::nullopt;
  if (buffer.empty()) buffer.resize(first_buffer);
  std::size_t used = 0;
  for (;;) {
    const auto n = ::read(fd.get(), buffer.data() + used, buffer.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) return used;
    used += static_cast<std::size_t>(n);
    if (used < buffer.size()) {
      if (content == Content::value) return used;
      continue;
    }
    if (used >= largest_file) return used;
    buffer.resize(buffer.size() * 2);
  }
}

struct Digits {
  explicit Digits(std::int64_t value) {
    const auto result = std::to_chars(text, text + sizeof text, value);
    length = static_cast<std::size_t>(result.ptr - text);
  }
  char text[24];
  std::size_t length = 0;
  operator std::string_view() const { return {text, length}; }  // NOLINT: reads as text
};

}  // namespace

ProcReader::ProcReader(std::string proc) : proc_(std::move(proc)) {}

std::optional<std::string_view> ProcReader::read(const char* relative, Content content) {
  path_.assign(proc_).append("/").append(relative);
  const auto size = read_into(path_.c_str(), content, buffer_);
  if (!size) return std::nullopt;
  return std::string_view(buffer_.data(), *size);
}

std::optional<ProcStat> ProcReader::stat(std::int64_t pid) {
  char name[48];
  std::snprintf(name, sizeof name, "%lld/stat", static_cast<long long>(pid));
  const auto text = read(name);
  return text ? parse_stat(*text) : std::nullopt;
}

std::optional<ProcStatus> ProcReader::status(std::int64_t pid) {
  char name[48];
  std::snprintf(name, sizeof name, "%lld/status", static_cast<long long>(pid));
  const auto text = read(name);
  if (!text) return std::nullopt;
  return parse_status(*text);
}

std::optional<ProcIo> ProcReader::io(std::int64_t pid) {
  char name[48];
  std::snprintf(name, sizeof name, "%lld/io", static_cast<long long>(pid));
  const auto text = read(name);
  return text ? parse_io(*text) : std::nullopt;
}

std::optional<ProcRollup> ProcReader::rollup(std::int64_t pid) {
  char name[48];
  std::snprintf(name, sizeof name, "%lld/smaps_rollup", static_cast<long long>(pid));
  const auto text = read(name);
  return text ? parse_smaps_rollup(*text) : std::nullopt;
}

void ProcReader::append_children(std::int64_t pid, std::int64_t thread, std::vector<std::int64_t>& out) {
  char name[80];
  std::snprintf(name, sizeof name, "%lld/task/%lld/children", static_cast<long long>(pid),
                static_cast<long long>(thread));
  const auto text = read(name, Content::list);
  if (!text) return;
  const auto found = parse_children(*text);
  out.insert(out.end(), found.begin(), found.end());
}

std::vector<std::int64_t> ProcReader::children(std::int64_t pid, std::int64_t threads) {
  std::vector<std::int64_t> out;
  if (threads <= 1) {
    append_children(pid, pid, out);
    return out;
  }
  path_.assign(proc_).append("/").append(Digits(pid)).append("/task");
  DIR* folder = ::opendir(path_.c_str());
  if (!folder) return out;
  int seen = 0;
  while (const auto* entry = ::readdir(folder)) {
    const auto thread = parse_int(entry->d_name);
    if (!thread) continue;
    append_children(pid, *thread, out);
    if (++seen >= max_threads) break;
  }
  ::closedir(folder);
  return out;
}

std::optional<std::string> read_small_file(const std::string& path) {
  std::vector<char> buffer;
  const auto size = read_into(path.c_str(), Content::list, buffer);
  if (!size) return std::nullopt;
  return std::string(buffer.data(), *size);
}

}  // namespace taskmill::measure
