#include "common/os/process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <string>

#include "common/base/text.hpp"

namespace taskmill::os {
namespace {

constexpr std::size_t max_environ = 4U << 20;

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using DirPtr = std::unique_ptr<DIR, DirCloser>;

std::optional<std::string> read_whole(const std::string& path, std::size_t limit) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::string text;
  while (text.size() < limit) {
    const auto old_size = text.size();
    text.resize(old_size + 4096);
    const ssize_t got = ::read(file.get(), text.data() + old_size, 4096);
    text.resize(old_size + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
  }
  return text;
}

void append_pids(std::string_view text, std::vector<pid_t>& out) {
  while (true) {
    const auto token = next_token(text);
    if (token.empty()) return;
    if (const auto pid = parse_int(token)) out.push_back(static_cast<pid_t>(*pid));
  }
}

template <class Use>
void for_each_number(const char* directory, Use use) {
  const DirPtr dir(::opendir(directory));
  if (!dir) return;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (const auto number = parse_int(entry->d_name)) use(static_cast<pid_t>(*number));
  }
}

void scan_proc_for_children(pid_t parent, std::vector<pid_t>& out) {
  for_each_number("/proc", [&](pid_t pid) {
    const auto stat = read_proc_stat(pid);
    if (stat && stat->parent == parent) out.push_back(pid);
  });
}

bool children_of(pid_t pid, std::vector<pid_t>& out) {
  bool readable = false;
  const auto tasks = "/proc/" + std::to_string(pid) + "/task";
  for_each_number(tasks.c_str(), [&](pid_t thread) {
    if (const auto text = read_whole(tasks + "/" + std::to_string(thread) + "/children", 1U << 20)) {
      readable = true;
      append_pids(*text, out);
    }
  });
  return readable;
}

}  // namespace

Result<UniqueFd> open_pidfd(pid_t pid) {
  const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return errno_code();
  return UniqueFd(fd);
}

std::optional<Reaped> reap(pid_t pid) {
  Reaped reaped;
  pid_t got = -1;
  do {
    got = ::wait4(pid, &reaped.wait_status, WNOHANG, &reaped.usage);
  } while (got < 0 && errno == EINTR);
  if (got != pid) return std::nullopt;
  return reaped;
}

bool become_subreaper() { return ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0; }

std::optional<ProcStat> parse_proc_stat(std::string_view line) {
  const auto open = line.find('(');
  const auto close = line.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  ProcStat stat;
  const auto pid = parse_int(trim(line.substr(0, open)));
  auto rest = line.substr(close + 1);
  const auto state = next_token(rest);
  const auto parent = parse_int(next_token(rest));
  const auto group = parse_int(next_token(rest));
  const auto session = parse_int(next_token(rest));
  if (!pid || state.size() != 1 || !parent || !group || !session) return std::nullopt;
  for (int field = 7; field <= 21; ++field) next_token(rest);
  const auto start = parse_int(trim(next_token(rest)));
  stat.pid = static_cast<pid_t>(*pid);
  stat.state = state.front();
  stat.parent = static_cast<pid_t>(*parent);
  stat.group = static_cast<pid_t>(*group);
  stat.session = static_cast<pid_t>(*session);
  stat.start_ticks = static_cast<std::uint64_t>(start.value_or(0));
  return stat;
}

std::optional<ProcStat> read_proc_stat(pid_t pid) {
  const auto text = read_whole("/proc/" + std::to_string(pid) + "/stat", 4096);
  return text ? parse_proc_stat(*text) : std::nullopt;
}

bool environment_holds(pid_t pid, std::string_view entry) {
  const auto text = read_whole("/proc/" + std::to_string(pid) + "/environ", max_environ);
  if (!text) return false;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const auto end = rest.find('\0');
    if (rest.substr(0, end) == entry) return true;
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return false;
}

std::vector<pid_t> descendants_of(pid_t pid) {
  std::vector<pid_t> found;
  if (!children_of(pid, found)) scan_proc_for_children(pid, found);
  for (std::size_t i = 0; i < found.size() && found.size() < 100'000; ++i) {
    const pid_t child = found[i];
    if (!children_of(child, found)) scan_proc_for_children(child, found);
  }
  return found;
}

ChildList::ChildList() {
  const auto self = std::to_string(::getpid());
  file_.reset(::open(("/proc/" + self + "/task/" + self + "/children").c_str(), O_RDONLY | O_CLOEXEC));
  buffer_.resize(4096);
}

void ChildList::read(std::vector<pid_t>& out) {
  out.clear();
  if (!file_) return scan_proc_for_children(::getpid(), out);
  while (true) {
    const ssize_t got = ::pread(file_.get(), buffer_.data(), buffer_.size(), 0);
    if (got < 0) return scan_proc_for_children(::getpid(), out);
    // A full buffer may have cut the list: take it again in one larger piece.
    if (static_cast<std::size_t>(got) > buffer_.size() - 16 && buffer_.size() < (1U << 20)) {
      buffer_.resize(buffer_.size() * 2);
      continue;
    }
    return append_pids({buffer_.data(), static_cast<std::size_t>(got)}, out);
  }
}

}  // namespace taskmill::os
