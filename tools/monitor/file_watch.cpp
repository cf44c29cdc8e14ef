#include "tools/monitor/file_watch.hpp"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "common/base/json_writer.hpp"

namespace taskmill::monitor {

namespace {

constexpr std::size_t max_folders = 4096;
constexpr std::size_t max_files = 20'000;
constexpr int max_depth = 64;
constexpr std::uint32_t interest =
    IN_OPEN | IN_CLOSE | IN_ACCESS | IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DONT_FOLLOW;

std::int64_t in_mb(std::int64_t bytes) { return bytes <= 0 ? 0 : (bytes + ((1 << 20) - 1)) >> 20; }

}  // namespace

FileWatch::FileWatch(const std::string& root, std::string own)
    : root_(root), own_(std::move(own)), fd_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (fd_) add_folder("", 0);
}

void FileWatch::add_folder(const std::string& relative, int depth) {
  if (folders_.size() >= max_folders || depth > max_depth) return;
  const auto path = relative.empty() ? root_ : root_ + '/' + relative;
  const int watch = ::inotify_add_watch(fd_.get(), path.c_str(), interest | IN_ONLYDIR);
  if (watch < 0) return;
  folders_[watch] = relative;
  DIR* folder = ::opendir(path.c_str());
  if (!folder) return;
  while (const auto* entry = ::readdir(folder)) {
    if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
    const auto name = relative.empty() ? std::string(entry->d_name) : relative + '/' + entry->d_name;
    struct stat info {};
    if (::lstat((root_ + '/' + name).c_str(), &info) != 0) continue;
    if (S_ISDIR(info.st_mode))
      add_folder(name, depth + 1);
    else if (sizes_before_.size() < max_files)
      sizes_before_[name] = info.st_size;
  }
  ::closedir(folder);
}

void FileWatch::note(const std::string& path, std::uint32_t mask) {
  if (!own_.empty() && path.starts_with(own_)) return;
  auto found = files_.find(path);
  if (found == files_.end()) {
    if (files_.size() >= max_files) return;
    File fresh;
    const auto before = sizes_before_.find(path);
    fresh.first_size = before == sizes_before_.end() ? 0 : before->second;
    found = files_.emplace(path, fresh).first;
  }
  auto& file = found->second;
  if (mask & IN_OPEN) ++file.opens;
  if (mask & IN_CLOSE) ++file.closes;
  if (mask & IN_ACCESS) ++file.reads;
  if (mask & IN_MODIFY) ++file.writes;
  struct stat info {};
  if (::lstat((root_ + '/' + path).c_str(), &info) != 0) return;
  file.device = info.st_dev;
  file.last_size = info.st_size;
}

void FileWatch::drain() {
  alignas(inotify_event) char buffer[16384];
  for (int rounds = 0; fd_ && rounds < 64; ++rounds) {
    const auto n = ::read(fd_.get(), buffer, sizeof buffer);
    if (n <= 0) return;
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      const auto folder = folders_.find(event->wd);
      if (folder == folders_.end() || event->len == 0) continue;
      const std::string path = folder->second.empty() ? event->name : folder->second + '/' + event->name;
      if (!(event->mask & IN_ISDIR))
        note(path, event->mask);
      else if (event->mask & (IN_CREATE | IN_MOVED_TO))
        add_folder(path, 0);
    }
  }
}

std::string FileWatch::table() const {
  std::string out =
      "#path          \n#               device      size_initial(B)        size_final(B)  opens closes  reads writes\n";
  for (const auto& [path, file] : files_) {
    char line[160];
    std::snprintf(line, sizeof line, "%22llu %20lld %20lld %6lld %6lld %6lld %6lld\n",
                  static_cast<unsigned long long>(file.device), static_cast<long long>(file.first_size),
                  static_cast<long long>(file.last_size), static_cast<long long>(file.opens),
                  static_cast<long long>(file.closes), static_cast<long long>(file.reads),
                  static_cast<long long>(file.writes));
    char name[32];
    std::snprintf(name, sizeof name, "%-15s", path.size() < 15 ? path.c_str() : "");
    out += (path.size() < 15 ? std::string(name) : path) + '\n' + line;
  }
  return out;
}

std::string FileWatch::list(bool written) const {
  std::string out;
  JsonWriter json(out);
  json.begin_array();
  for (const auto& [path, file] : files_) {
    if ((file.writes > 0) != written) continue;
    json.begin_array().text(path).number(in_mb(file.last_size)).end_array();
  }
  json.end_array();
  return out;
}

std::string FileWatch::inputs() const { return list(false); }
std::string FileWatch::outputs() const { return list(true); }

}  // namespace taskmill::monitor
