#include "tools/support/tool_log.hpp"

#include <pwd.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace taskmill::tools {

Expected<bool> ToolLog::open(const std::string& file, std::int64_t rotate_bytes) {
  rotate_bytes_ = rotate_bytes;
  to_stdout_ = file == ":stdout";
  if (file.empty() || file == ":stderr" || to_stdout_) return true;
  path_ = file;
  file_.reset(std::fopen(file.c_str(), "ae"));
  if (!file_) return make_error("cannot write the debug file '" + file + "': " + std::strerror(errno));
  return true;
}

void ToolLog::write(const char* level, const std::string& text) {
  timeval now{};
  gettimeofday(&now, nullptr);
  std::tm parts{};
  localtime_r(&now.tv_sec, &parts);
  std::array<char, 40> stamp{};
  std::strftime(stamp.data(), stamp.size(), "%Y/%m/%d %H:%M:%S", &parts);
  std::FILE* out = file_ ? file_.get() : to_stdout_ ? stdout : stderr;
  std::fprintf(out, "%s.%02ld %s[%d] %s: %s\n", stamp.data(), static_cast<long>(now.tv_usec / 10000), program_.c_str(),
               static_cast<int>(::getpid()), level, text.c_str());
  std::fflush(out);
  if (!file_ || rotate_bytes_ <= 0 || std::ftell(file_.get()) < rotate_bytes_) return;
  file_.reset();
  std::rename(path_.c_str(), (path_ + ".old").c_str());
  file_.reset(std::fopen(path_.c_str(), "ae"));
}

std::string user_name() {
  const auto* entry = ::getpwuid(::getuid());
  return entry != nullptr ? entry->pw_name : std::to_string(::getuid());
}

Expected<bool> write_file(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "we");
  const auto failed = [&] { return make_error("cannot write '" + path + "': " + std::strerror(errno)); };
  if (file == nullptr) return failed();
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const auto error = failed();
    std::remove(temporary.c_str());
    return error;
  }
  return true;
}

}  // namespace taskmill::tools
