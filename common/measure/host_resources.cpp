#include "common/measure/host_resources.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <set>
#include <span>

#include "common/base/text.hpp"
#include "common/measure/core/cgroup_text.hpp"
#include "common/measure/core/proc_text.hpp"
#include "common/measure/proc_reader.hpp"
#include "common/os/fd.hpp"

extern char** environ;

namespace taskmill::measure {

namespace {

constexpr int max_cpus = 8192;
constexpr auto nvidia_patience = std::chrono::seconds(5);

/// A restriction with the sentence that explains it; the smaller one wins.
struct Bound {
  double value = 0;
  std::string from;
  void lower(double other, std::string why) {
    if (other > 0 && (value <= 0 || other < value)) {
      value = other;
      from = std::move(why);
    }
  }
};

std::vector<int> own_affinity() {
  cpu_set_t* set = CPU_ALLOC(max_cpus);
  const auto size = CPU_ALLOC_SIZE(max_cpus);
  std::vector<int> cpus;
  if (set && ::sched_getaffinity(0, size, set) == 0)
    for (int cpu = 0; cpu < max_cpus; ++cpu)
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), size, set)) cpus.push_back(cpu);
  if (set) CPU_FREE(set);
  return cpus;
}

/// The distinct groups of sibling threads among `cpus`; 0 when the topology cannot be read.
std::set<std::string> sibling_groups(const std::string& root, const std::vector<int>& cpus) {
  std::set<std::string> groups;
  for (const int cpu : cpus) {
    const auto base = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    auto text = read_small_file(base + "thread_siblings_list");
    if (!text) text = read_small_file(base + "thread_siblings");
    if (text) groups.insert(std::string(trim(*text)));
  }
  return groups;
}

std::vector<int> online_cpus(const std::string& root) {
  if (const auto text = read_small_file(root + "/sys/devices/system/cpu/online")) {
    auto cpus = parse_cpu_list(*text);
    if (!cpus.empty()) return cpus;
  }
  std::vector<int> cpus;
  for (long i = 0; i < std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)); ++i) cpus.push_back(static_cast<int>(i));
  return cpus;
}

/// Visits our group and every one above it: a limit anywhere on the way up binds us.
template <class Visit>
void for_each_group_above(const std::string& root, const std::string& controller, const Visit& visit) {
  const auto membership = read_small_file(root + "/proc/self/cgroup");
  const auto mounts = read_small_file(root + "/proc/self/mountinfo");
  if (!membership || !mounts) return;
  const auto mounted = parse_cgroup_mounts(*mounts);
  for (const auto& group : parse_cgroup_membership(*membership)) {
    const bool v2 = group.controllers.empty() && group.hierarchy == 0;
    const auto has = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), controller) != names.end();
    };
    if (!v2 && !has(group.controllers)) continue;
    for (const auto& mount : mounted) {
      if (mount.v2 != v2 || (!v2 && !has(mount.controllers))) continue;
      // A path that the mount does not show (a container): its top is the best we can see.
      auto folder = cgroup_folder(mount, group.path);
      if (folder.empty() || !read_small_file(root + folder + "/cgroup.procs")) folder = mount.mount_point;
      for (;;) {
        visit(root + folder, v2);
        if (folder.size() <= mount.mount_point.size()) break;
        folder.resize(folder.rfind('/'));
      }
    }
  }
}

Bound detect_cores(const HostProbeOptions& options, const BatchGrant& batch) {
  Bound cores;
  const auto online = online_cpus(options.root);
  const int physical = physical_cores(options.root);
  cores.lower(physical, std::to_string(physical) + " physical cores");

  const auto allowed = options.affinity ? options.affinity() : own_affinity();
  if (!allowed.empty() && allowed.size() < online.size()) {
    // Chosen CPUs are taken as they are: who binds us to 4 hyper-threads means 4.
    cores = {};
    cores.lower(static_cast<double>(allowed.size()), "CPU affinity of " + std::to_string(allowed.size()));
  }
  for_each_group_above(options.root, "cpu", [&](const std::string& folder, bool v2) {
    std::optional<double> quota;
    if (v2) {
      if (const auto text = read_small_file(folder + "/cpu.max")) quota = parse_cpu_max(*text);
    } else {
      const auto q = read_small_file(folder + "/cpu.cfs_quota_us"), p = read_small_file(folder + "/cpu.cfs_period_us");
      if (q && p) quota = parse_cfs_quota(*q, *p);
    }
    // Half a core is still one slot: less than one would mean no work at all.
    if (quota) cores.lower(std::max(1.0, std::floor(*quota + 0.01)), "CPU quota of " + folder);
  });
  if (batch.cores) cores.lower(static_cast<double>(*batch.cores), batch.cores_from);
  if (cores.value < 1) cores = {1, "nothing could be read"};
  return cores;
}

Bound detect_memory(const HostProbeOptions& options, const BatchGrant& batch) {
  Bound memory;
  if (const auto text = read_small_file(options.root + "/proc/meminfo"))
    if (const auto total = parse_keyed(*text, "MemTotal:"))
      memory.lower(static_cast<double>(*total / 1024), "physical memory");
  for_each_group_above(options.root, "memory", [&](const std::string& folder, bool v2) {
    static constexpr std::array v2_files = {"memory.max", "memory.high"};
    static constexpr std::array v1_files = {"memory.limit_in_bytes"};
    const auto names = v2 ? std::span<const char* const>(v2_files) : std::span<const char* const>(v1_files);
    for (const char* name : names) {
      const auto text = read_small_file(folder + "/" + name);
      if (!text) continue;
      if (const auto limit = parse_cgroup_limit(*text))
        memory.lower(static_cast<double>(*limit >> 20), std::string(name) + " of " + folder);
    }
  });
  if (batch.memory_mb) memory.lower(static_cast<double>(*batch.memory_mb), batch.memory_from);
  return memory;
}

/// Output of a program, at most 64 kB and `patience` long; nullopt when it fails.
std::optional<std::string> output_of(const char* program, const std::vector<std::string>& arguments,
                                     std::chrono::steady_clock::duration patience) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const os::UniqueFd reader(ends[0]);
  os::UniqueFd writer(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, writer.get(), 1);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::vector<char*> argv{const_cast<char*>(program)};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, program, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  writer.reset();
  if (error != 0) return std::nullopt;
  std::string text;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd wait{reader.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0) break;
    char buffer[4096];
    const auto n = ::read(reader.get(), buffer, sizeof buffer);
    if (n <= 0 || text.size() > 65536) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  if (std::chrono::steady_clock::now() >= deadline) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return text;
}

std::optional<std::string> run_nvidia_smi() {
  return output_of("nvidia-smi", {"--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"},
                   nvidia_patience);
}

void detect_gpus(const HostProbeOptions& options, HostResources& out) {
  const auto text = options.nvidia_smi ? options.nvidia_smi() : run_nvidia_smi();
  if (!text) {
    out.gpus_from = "no nvidia-smi";
    return;
  }
  const auto all = parse_nvidia_smi(*text);
  const auto visible = options.env("CUDA_VISIBLE_DEVICES");
  out.gpus = visible_gpus(all, visible);
  out.gpus_from = std::to_string(all.size()) + " found by nvidia-smi";
  if (visible) out.gpus_from += ", CUDA_VISIBLE_DEVICES=" + *visible;
}

}  // namespace

int physical_cores(const std::string& root) {
  const auto cpus = online_cpus(root);
  const auto groups = sibling_groups(root, cpus);
  return static_cast<int>(groups.empty() ? std::max<std::size_t>(cpus.size(), 1) : groups.size());
}

Result<std::int64_t> free_disk_mb(const std::string& path) {
  std::string folder = path.empty() ? "." : path;
  struct statvfs info {};
  while (::statvfs(folder.c_str(), &info) != 0) {
    if (errno != ENOENT || folder == "/" || folder == ".") return errno_code();
    const auto slash = folder.find_last_of('/');
    folder = slash == std::string::npos ? "." : slash == 0 ? "/" : folder.substr(0, slash);
  }
  return static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize) / 1048576;
}

HostResources detect_host_resources(HostProbeOptions options) {
  if (!options.env)
    options.env = [](const std::string& name) -> std::optional<std::string> {
      const char* value = std::getenv(name.c_str());
      return value ? std::optional<std::string>(value) : std::nullopt;
    };
  std::string ad;
  if (const auto path = options.env("_CONDOR_MACHINE_AD")) ad = read_small_file(*path).value_or("");
  const auto batch = read_batch_grant(options.env, ad);

  HostResources out;
  out.batch_system = batch.system;
  const auto cores = detect_cores(options, batch);
  out.cores = static_cast<std::int64_t>(cores.value);
  out.cores_from = cores.from;
  const auto memory = detect_memory(options, batch);
  out.memory_mb = static_cast<std::int64_t>(memory.value);
  out.memory_from = memory.from;
  Bound disk;
  if (const auto free = free_disk_mb(options.workspace))
    disk.lower(static_cast<double>(*free), "free below " + options.workspace);
  out.disk_granted_mb = batch.disk_mb.value_or(0);
  if (batch.disk_mb) disk.lower(static_cast<double>(*batch.disk_mb), batch.disk_from);
  out.disk_mb = static_cast<std::int64_t>(disk.value);
  out.disk_from = disk.from;
  detect_gpus(options, out);
  return out;
}

}  // namespace taskmill::measure
