#include "worker/net/replies.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "common/os/file.hpp"
#include "common/os/tree.hpp"
#include "protocol/format.hpp"

namespace taskmill::worker {
namespace {

constexpr std::uint64_t small_file = 64U << 10;
constexpr std::size_t deepest = 256;
constexpr int entries_per_turn = 512;

}  // namespace

void send_range(aio::Connection& connection, os::UniqueFd file, std::uint64_t offset, std::uint64_t length) {
  if (length > small_file) {
    return connection.send_file(std::make_shared<os::UniqueFd>(std::move(file)), offset, length);
  }
  std::string bytes(static_cast<std::size_t>(length), '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got =
        ::pread(file.get(), bytes.data() + have, bytes.size() - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;  // it has become shorter: the announced rest is zeros
    have += static_cast<std::size_t>(got);
  }
  connection.send(bytes);
}

void Replies::want_results() { requests_.push_back({false, {}, false, {}}); }

void Replies::want_get(std::string name, bool recursive) {
  requests_.push_back({true, std::move(name), recursive, {}});
}

bool Replies::wants(std::string_view name) const {
  return std::any_of(requests_.begin(), requests_.end(),
                     [name](const Request& request) { return request.is_get && request.name == name; });
}

void Replies::in_turn(std::function<void()> action) { requests_.push_back({false, {}, false, std::move(action)}); }

void Replies::pump() {
  int budget = entries_per_turn;
  while (connection_.is_open() && !requests_.empty() && !connection_.is_congested()) {
    if (walking_) {
      if (budget-- == 0) return;  // others must have their turn
      if (!step()) end_get();
      continue;
    }
    if (requests_.front().is_get) {
      begin_get(Request(requests_.front()));
      continue;
    }
    const auto action = std::move(requests_.front().action);
    requests_.pop_front();
    if (action) {
      action();
      return;  // what it orders is carried out before the next answer
    }
    answer_results_();
  }
}

void Replies::begin_get(const Request& request) {
  walking_ = true;
  root_name_ = request.name;
  visit(cache_, request.name, request.name, request.recursive);
  if (walk_.empty()) end_get();
}

void Replies::end_get() {
  walk_.clear();
  walking_ = false;
  std::string text;
  protocol::end(text);
  connection_.send(text);
  requests_.pop_front();
}

// One entry of the tree; false at its end.
bool Replies::step() {
  while (!walk_.empty()) {
    Level& level = walk_.back();
    const dirent* entry = ::readdir(level.dir.get());
    if (entry == nullptr) {
      walk_.pop_back();
      continue;
    }
    if (os::is_dots(entry->d_name)) continue;
    const std::string leaf = entry->d_name;
    visit(::dirfd(level.dir.get()), leaf, level.path + "/" + leaf, true);
    return true;
  }
  return false;
}

void Replies::visit(int directory, const std::string& leaf, const std::string& path, bool recursive) {
  // Without O_NONBLOCK a FIFO would hold us; it is refused below.
  constexpr int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  os::UniqueFd file(::openat(directory, leaf.c_str(), flags | O_NOFOLLOW));
  if (!file && errno == ELOOP && root() >= 0) {
    // A link inside the tree: resolved by the kernel, which refuses to leave the tree.
    const auto inside = path.substr(root_name_.size() + 1);
    auto opened = os::open_beneath(root(), inside.c_str(), flags, 0, os::Links::inside_the_tree);
    if (!opened) return send_missing(path, opened.error().value());
    file = std::move(*opened);
  }
  if (!file) return send_missing(path, errno == ELOOP ? ENOENT : errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return send_missing(path, errno);
  if (S_ISREG(status.st_mode)) return send_regular(std::move(file), path, static_cast<std::uint64_t>(status.st_size));
  if (!S_ISDIR(status.st_mode)) return send_missing(path, EINVAL);
  const std::pair<dev_t, ino_t> identity{status.st_dev, status.st_ino};
  const bool loop =
      std::any_of(walk_.begin(), walk_.end(), [&](const Level& level) { return level.identity == identity; });
  if (loop || walk_.size() >= deepest) return send_missing(path, ELOOP);
  std::string text;
  if (!protocol::dir_item(text, path)) return send_missing(root_name_, EINVAL);
  connection_.send(text);
  if (!recursive) return;
  Level level;
  level.dir.reset(::fdopendir(file.get()));
  if (!level.dir) return send_missing(path, errno);
  file.release();
  level.path = path;
  level.identity = identity;
  walk_.push_back(std::move(level));
}

void Replies::send_regular(os::UniqueFd file, const std::string& path, std::uint64_t size) {
  std::string text;
  if (!protocol::file_item(text, path, size)) return send_missing(root_name_, EINVAL);
  connection_.send(text);
  if (size > 0) send_range(connection_, std::move(file), 0, size);
}

void Replies::send_missing(const std::string& path, int error) {
  std::string text;
  if (!protocol::missing_item(text, path, error)) protocol::missing_item(text, root_name_, EINVAL);
  connection_.send(text);
}

}  // namespace taskmill::worker
