#include "worker/host/watches.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace taskmill::worker {

Watches::Watches() : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}

void Watches::add(std::uint64_t owner, const std::string& root, const std::string& path) {
  std::string directory = path;
  while (true) {
    const auto slash = directory.rfind('/');
    directory = slash == std::string::npos ? "" : directory.substr(0, slash);
    const auto full = directory.empty() ? root : root + "/" + directory;
    const int wd = ::inotify_add_watch(fd_.get(), full.c_str(),
                                       IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW | IN_MASK_ADD);
    if (wd >= 0) {
      auto& owners = owners_[wd];
      if (std::find(owners.begin(), owners.end(), owner) == owners.end()) owners.push_back(owner);
      return;
    }
    if (directory.empty()) return;
  }
}

void Watches::remove(std::uint64_t owner) {
  for (auto at = owners_.begin(); at != owners_.end();) {
    std::erase(at->second, owner);
    if (at->second.empty()) {
      ::inotify_rm_watch(fd_.get(), at->first);
      at = owners_.erase(at);
    } else {
      ++at;
    }
  }
}

std::vector<std::uint64_t> Watches::read() {
  std::vector<std::uint64_t> news;
  alignas(inotify_event) std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    for (ssize_t offset = 0; offset < got;) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + offset, sizeof event);
      offset += static_cast<ssize_t>(sizeof event + event.len);
      if ((event.mask & IN_Q_OVERFLOW) != 0) {
        for (const auto& [wd, owners] : owners_) news.insert(news.end(), owners.begin(), owners.end());
      }
      if (const auto at = owners_.find(event.wd); at != owners_.end()) {
        news.insert(news.end(), at->second.begin(), at->second.end());
        if ((event.mask & IN_IGNORED) != 0) owners_.erase(at);
      }
    }
  }
  std::sort(news.begin(), news.end());
  news.erase(std::unique(news.begin(), news.end()), news.end());
  return news;
}

}  // namespace taskmill::worker
