#include "manager/net/journal.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/base/text.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t read_size = 1U << 20;
constexpr std::size_t longest_line = 4096;

std::uint32_t crc32(std::string_view text) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> values{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1U) != 0 ? 0xEDB88320U ^ (c >> 1U) : c >> 1U;
      values[i] = c;
    }
    return values;
  }();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : text) crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU] ^ (crc >> 8U);
  return crc ^ 0xFFFFFFFFU;
}

std::string crc_text(std::string_view text) {
  std::array<char, 12> hex{};
  std::snprintf(hex.data(), hex.size(), "%08x", crc32(text));
  return hex.data();
}

// The line without its checksum; empty when it is damaged.
std::string_view checked(std::string_view line) {
  const auto star = line.rfind(" *");
  if (star == std::string_view::npos || line.substr(star + 2) != crc_text(line.substr(0, star))) return {};
  return line.substr(0, star);
}

}  // namespace

Expected<std::unique_ptr<Journal>> Journal::open(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST) {
    return make_error("cannot make the journal directory " + directory + ": " + std::strerror(errno));
  }
  const auto path = directory + "/journal.log";
  os::UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!file) return make_error("cannot open the journal " + path + ": " + std::strerror(errno));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    return make_error("the journal " + path + " is in use by another manager; wait for it, or give another --journal");
  }
  std::unique_ptr<Journal> journal(new Journal(std::move(file)));
  if (const auto error = journal->read()) return make_error("cannot read the journal " + path + ": " + error.message());
  return journal;
}

ErrorCode Journal::read() {
  std::string text;
  off_t good = 0;  // everything before is whole and correct
  while (true) {
    const auto kept = text.size();
    text.resize(kept + read_size);
    const ssize_t n = ::read(file_.get(), text.data() + kept, read_size);
    if (n < 0 && errno != EINTR) return errno_code();
    text.resize(kept + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    std::size_t start = 0;
    bool damaged = false;
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', start)) {
      std::string_view line = checked(std::string_view(text).substr(start, end - start));
      if (line.empty()) {
        damaged = true;
        break;
      }
      const auto kind = next_token(line);
      const std::string key(next_token(line));
      if (kind == "D" && next_token(line) == "0" && next_token(line) == "0") done_.insert(key);
      good += static_cast<off_t>(end + 1 - start);
      start = end + 1;
    }
    text.erase(0, start);
    if (damaged || n == 0 || text.size() > longest_line) break;
  }
  if (::ftruncate(file_.get(), good) != 0 || ::lseek(file_.get(), good, SEEK_SET) < 0) return errno_code();
  return {};
}

void Journal::add(std::string line) {
  line += " *" + crc_text(line) + "\n";
  pending_ += line;
}

void Journal::submitted(const std::string& key, TaskId task) { add("S " + key + " " + std::to_string(task.value())); }

void Journal::finished(const std::string& key, int result, int status) {
  add("D " + key + " " + std::to_string(result) + " " + std::to_string(status));
}

ErrorCode Journal::flush() {
  std::string_view rest(pending_);
  while (!rest.empty()) {
    const ssize_t n = ::write(file_.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const auto error = errno_code();
      pending_.erase(0, pending_.size() - rest.size());
      return error;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
    unsynced_ = true;
  }
  pending_.clear();
  return {};
}

void Journal::sync() const { ::fdatasync(file_.get()); }

}  // namespace taskmill::manager
