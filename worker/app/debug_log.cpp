#include "worker/app/debug_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "common/os/file.hpp"

namespace taskmill::worker {
namespace {

std::string time_text() {
  timeval now{};
  ::gettimeofday(&now, nullptr);
  tm local{};
  ::localtime_r(&now.tv_sec, &local);
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "%04d/%02d/%02d %02d:%02d:%02d.%02d", local.tm_year + 1900, local.tm_mon + 1,
                local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec, static_cast<int>(now.tv_usec / 10000));
  return text.data();
}

void put_line(int fd, std::string_view text) {
  std::string line(text);
  line += '\n';
  (void)os::write_all(fd, line);
}

}  // namespace

DebugLog::DebugLog(std::string program) : program_(std::move(program)) {}

DebugLog::~DebugLog() {
  if (fd_ > 2) ::close(fd_);
}

std::string DebugLog::open(const std::string& target, std::int64_t rotate_at) {
  if (target.empty() || target == ":stderr") return {};
  if (target == ":stdout") {
    fd_ = 1;
    return {};
  }
  const int fd = ::open(target.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0660);
  if (fd < 0) return "could not open log file " + target + ": " + errno_code().message();
  struct stat status {};
  if (::fstat(fd, &status) == 0) written_ = status.st_size;
  if (fd_ > 2) ::close(fd_);
  fd_ = fd;
  path_ = target;
  rotate_at_ = rotate_at;
  return {};
}

void DebugLog::enable(const std::vector<std::string>& flags) {
  for (const auto& flag : flags) {
    if (flag == "clear") detailed_ = false;
    if (flag == "all" || flag == "wq" || flag == "tcp" || flag == "auth" || flag == "debug") detailed_ = true;
  }
}

void DebugLog::say(std::string_view text) { put_line(1, text); }
void DebugLog::complain(std::string_view text) { put_line(2, text); }
void DebugLog::notice(std::string_view text) { line("notice", text, true); }
void DebugLog::error(std::string_view text) { line("error", text, true); }
void DebugLog::detail(std::string_view text) {
  if (detailed_) line("wq", text, false);
}

void DebugLog::line(std::string_view flag, std::string_view text, bool always) {
  std::string all = time_text() + " " + program_ + "[" + std::to_string(::getpid()) + "]";
  all.append(flag).append(": ").append(text);
  std::replace(all.begin(), all.end(), '\n', ' ');
  put_line(fd_, all);
  if (always && fd_ != 2) put_line(2, all);
  written_ += static_cast<std::int64_t>(all.size()) + 1;
  if (rotate_at_ > 0 && written_ >= rotate_at_) rotate();
}

void DebugLog::rotate() {
  const auto old = path_ + ".old";
  if (::rename(path_.c_str(), old.c_str()) != 0) {
    rotate_at_ = 0;
    return;
  }
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0660);
  written_ = 0;
  if (fd < 0) return;
  ::close(fd_);
  fd_ = fd;
}

}  // namespace taskmill::worker
