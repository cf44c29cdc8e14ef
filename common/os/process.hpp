// Looking after processes: pidfds, reaping with resource usage, and finding descendants, whatever they did to
// hide (new sessions, double forks). Made for a child subreaper: orphans of our descendants become our
// children and show up in ChildList.
//
// A pid named here is safe from reuse as long as it is our unreaped child.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::os {

/// Readable when the process has ended.
Result<UniqueFd> open_pidfd(pid_t pid);

struct Reaped {
  int wait_status = 0;
  rusage usage{};  ///< of the process and of all descendants it waited for
};
/// Takes the zombie `pid`; nullopt when it is still running or not our child.
std::optional<Reaped> reap(pid_t pid);

/// Makes this process the reaper of all its descendants (Linux 3.4).
bool become_subreaper();

struct ProcStat {
  pid_t pid = 0;
  char state = '?';
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  std::uint64_t start_ticks = 0;
};
/// One line of /proc/PID/stat. The command may hold blanks and parentheses.
std::optional<ProcStat> parse_proc_stat(std::string_view line);
std::optional<ProcStat> read_proc_stat(pid_t pid);
/// Does the environment the process was started with hold `entry`, e.g. "TMPDIR=/x"? False when unreadable.
bool environment_holds(pid_t pid, std::string_view entry);
/// All living descendants of `pid`, itself not included. A snapshot: repeat until empty.
std::vector<pid_t> descendants_of(pid_t pid);

/// The direct children of this process, adopted orphans included. Reading costs one system call: the file in
/// /proc stays open. Where the kernel lacks that file, /proc is scanned instead.
class ChildList {
 public:
  ChildList();
  /// Appends to `out`, which is cleared first.
  void read(std::vector<pid_t>& out);

 private:
  UniqueFd file_;
  std::string buffer_;
};

}  // namespace taskmill::os
