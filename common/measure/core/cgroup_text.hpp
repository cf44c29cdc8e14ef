// Parsers for control-group files, v2 and the parts of v1 that restrict us. Pure; fed from recorded files in tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace taskmill::measure {

/// One line of /proc/PID/cgroup. v2 has hierarchy 0 and no controllers.
struct CgroupMembership {
  int hierarchy = 0;
  std::vector<std::string> controllers;
  std::string path;
};
std::vector<CgroupMembership> parse_cgroup_membership(std::string_view text);

/// Where a hierarchy is mounted, from /proc/self/mountinfo. `root` is the group that the mount point shows.
struct CgroupMount {
  bool v2 = false;
  std::vector<std::string> controllers;  ///< v1: from the super options
  std::string root, mount_point;
};
std::vector<CgroupMount> parse_cgroup_mounts(std::string_view mountinfo);

/// Folder of a group below its mount, "" when the mount does not show it. Both are absolute paths of the group tree.
std::string cgroup_folder(const CgroupMount& mount, std::string_view group_path);

/// "max" -> nullopt; a number otherwise. v1's "no limit" (near 2^63) is nullopt as well.
std::optional<std::int64_t> parse_cgroup_limit(std::string_view text);
/// "200000 100000" of cpu.max -> 2.0 CPUs; "max 100000" -> nullopt.
std::optional<double> parse_cpu_max(std::string_view text);
/// cpu.cfs_quota_us and cpu.cfs_period_us of v1.
std::optional<double> parse_cfs_quota(std::string_view quota, std::string_view period);

struct CgroupCpu {
  std::int64_t usage_us = 0, user_us = 0, system_us = 0;
};
std::optional<CgroupCpu> parse_cpu_stat(std::string_view text);

struct CgroupIo {
  std::int64_t read = 0, written = 0;
};
/// Sum over all devices of io.stat.
CgroupIo parse_io_stat(std::string_view text);

/// Memory a task really holds according to memory.stat: anonymous, shared-memory and mapped file pages. The page cache
/// of files it only read or wrote is left out: the kernel gives that back whenever somebody needs memory.
std::optional<std::int64_t> parse_memory_stat_held(std::string_view text);

/// "key N" lines of memory.events, pids.events and cgroup.events.
std::optional<std::int64_t> parse_keyed(std::string_view text, std::string_view key);

}  // namespace taskmill::measure
