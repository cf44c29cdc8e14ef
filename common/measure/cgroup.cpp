#include "common/measure/cgroup.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "common/base/text.hpp"
#include "common/measure/core/cgroup_text.hpp"
#include "common/measure/proc_reader.hpp"
#include "common/os/fd.hpp"

namespace taskmill::measure {

namespace {

Result<void> write_file(const std::string& path, const std::string& text) {
  const os::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno_code();
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return errno_code();
  return {};
}

std::optional<std::int64_t> read_number(const std::string& path) {
  const auto text = read_small_file(path);
  return text ? parse_int(trim(*text)) : std::nullopt;
}

std::optional<std::string> own_folder(const std::string& root) {
  const auto membership = read_small_file(root + "/proc/self/cgroup");
  const auto mounts = read_small_file(root + "/proc/self/mountinfo");
  if (!membership || !mounts) return std::nullopt;
  for (const auto& group : parse_cgroup_membership(*membership)) {
    if (group.hierarchy != 0 || !group.controllers.empty() || group.path == "/") continue;
    for (const auto& mount : parse_cgroup_mounts(*mounts)) {
      if (!mount.v2) continue;
      const auto folder = cgroup_folder(mount, group.path);
      if (!folder.empty()) return root + folder;
    }
  }
  return std::nullopt;
}

/// Moves every process of `from` (normally only us) to `to`.
bool move_all(const std::string& from, const std::string& to) {
  const auto text = read_small_file(from + "/cgroup.procs");
  if (!text) return false;
  for (const auto line : split(*text, '\n'))
    if (!line.empty() && !write_file(to + "/cgroup.procs", std::string(line))) return false;
  return true;
}

std::vector<std::string> words_of(const std::string& path) {
  std::vector<std::string> out;
  const auto text = read_small_file(path);
  if (!text) return out;
  auto rest = trim(*text);
  for (auto word = next_token(rest); !word.empty(); word = next_token(rest)) out.emplace_back(word);
  return out;
}

bool holds_only_us(const std::string& folder) {
  const auto text = read_small_file(folder + "/cgroup.procs");
  return text && trim(*text) == std::to_string(::getpid());
}

}  // namespace

Cgroup::~Cgroup() {
  // Ended processes leave a group a moment after they can be waited for.
  for (int i = 0; i < 50 && !remove(); ++i) {
    kill();
    ::usleep(2000);
  }
}

bool Cgroup::remove() {
  if (removed_) return true;
  removed_ = ::rmdir(folder_.c_str()) == 0 || errno != EBUSY;
  return removed_;
}

Result<void> Cgroup::add(pid_t pid) { return write_file(folder_ + "/cgroup.procs", std::to_string(pid)); }

Result<os::UniqueFd> Cgroup::door() const {
  os::UniqueFd fd(::open((folder_ + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno_code();
  return fd;
}

GroupSample Cgroup::sample() const {
  GroupSample out;
  if (const auto text = read_small_file(folder_ + "/memory.stat")) out.memory = parse_memory_stat_held(*text);
  out.memory_peak = read_number(folder_ + "/memory.peak");
  out.swap = read_number(folder_ + "/memory.swap.current");
  out.processes_peak = read_number(folder_ + "/pids.peak");
  if (const auto text = read_small_file(folder_ + "/cpu.stat"))
    if (const auto cpu = parse_cpu_stat(*text)) {
      out.user = cpu->user_us;
      out.system = cpu->system_us;
    }
  if (const auto text = read_small_file(folder_ + "/io.stat")) {
    const auto io = parse_io_stat(*text);
    out.storage_read = io.read;
    out.storage_written = io.written;
  }
  return out;
}

std::vector<pid_t> Cgroup::processes() const {
  std::vector<pid_t> out;
  if (const auto text = read_small_file(folder_ + "/cgroup.procs"))
    for (const auto line : split(*text, '\n'))
      if (const auto pid = parse_int(line); pid && *pid > 0) out.push_back(static_cast<pid_t>(*pid));
  return out;
}

void Cgroup::kill() {
  if (write_file(folder_ + "/cgroup.kill", "1")) return;
  for (const auto pid : processes()) ::kill(pid, SIGKILL);
}

bool Cgroup::out_of_memory() const {
  const auto text = read_small_file(folder_ + "/memory.events");
  return text && parse_keyed(*text, "oom_kill").value_or(0) > 0;
}

Expected<CgroupParent> CgroupParent::find(const std::string& override_folder, const std::string& root) {
  CgroupParent parent;
  if (!override_folder.empty())
    parent.folder_ = override_folder;
  else if (const auto own = own_folder(root))
    parent.folder_ = *own;
  else
    return make_error("cgroup v2 is not used: this process is in no group of its own");
  const auto& folder = parent.folder_;
  if (::access((folder + "/cgroup.procs").c_str(), W_OK) != 0 || ::access(folder.c_str(), W_OK) != 0)
    return make_error("cgroup v2 is not used: " + folder + " is not delegated to us (" + std::strerror(errno) + ")");

  auto enabled = words_of(folder + "/cgroup.subtree_control");
  const auto available = words_of(folder + "/cgroup.controllers");
  std::string wanted;
  for (const char* name : {"memory", "pids", "cpu", "io"})
    if (std::find(available.begin(), available.end(), name) != available.end()) wanted += std::string("+") + name + ' ';
  if (override_folder.empty() && !wanted.empty() && !holds_only_us(folder))
    return make_error("cgroup v2 is not used: other processes live in " + folder);
  const auto supervisor = folder + "/supervisor";
  if (override_folder.empty() && !wanted.empty()) {
    if (::mkdir(supervisor.c_str(), 0755) != 0 && errno != EEXIST)
      return make_error("cgroup v2 is not used: cannot create " + supervisor + ": " + std::strerror(errno));
    if (!move_all(folder, supervisor)) return make_error("cgroup v2 is not used: cannot move into " + supervisor);
  }
  if (!wanted.empty() && !write_file(folder + "/cgroup.subtree_control", wanted) && enabled.empty()) {
    if (override_folder.empty()) {
      move_all(supervisor, folder);
      ::rmdir(supervisor.c_str());
    }
    return make_error("cgroup v2 is not used: " + folder + " cannot hand out its controllers");
  }
  parent.controllers_ = words_of(folder + "/cgroup.subtree_control");
  return parent;
}

Expected<std::unique_ptr<Cgroup>> CgroupParent::create(const std::string& name, const Limits& limits) const {
  if (!is_safe_name(name)) return make_error("bad cgroup name '" + name + "'");
  const auto folder = folder_ + "/" + name;
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
    return make_error("cannot create the cgroup " + folder + ": " + std::strerror(errno));
  std::unique_ptr<Cgroup> group(new Cgroup(folder));
  const auto has = [&](const char* controller) {
    return std::find(controllers_.begin(), controllers_.end(), controller) != controllers_.end();
  };
  if (limits.memory && has("memory")) {
    const auto bytes = *limits.memory << 20;
    (void)write_file(folder + "/memory.max", std::to_string(bytes + bytes / 20));
    (void)write_file(folder + "/memory.oom.group", "1");
  }
  if (limits.processes && has("pids")) (void)write_file(folder + "/pids.max", std::to_string(*limits.processes + 1));
  return group;
}

}  // namespace taskmill::measure
