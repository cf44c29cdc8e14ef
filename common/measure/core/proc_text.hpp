// Parsers for the text of /proc/PID/{stat,status,io,smaps_rollup}. Pure; fed from recorded files in tests.
//
// Sizes are bytes, CPU times are clock ticks. nullopt means the text is not what it should be (an empty read of a
// process that just ended is the usual reason); single fields that a kernel does not have are empty optionals.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace taskmill::measure {

struct ProcStat {
  std::int64_t pid = 0, ppid = 0, group = 0, session = 0;
  std::string name;  ///< may hold blanks, parentheses and newlines
  char state = '?';
  std::int64_t user_ticks = 0, system_ticks = 0;
  std::int64_t children_user_ticks = 0, children_system_ticks = 0;  ///< of children that were waited for
  std::int64_t threads = 0;
  std::uint64_t start_time = 0;  ///< ticks since boot: with the pid, the identity of a process
  std::int64_t virtual_size = 0;
  std::int64_t rss_pages = 0;

  [[nodiscard]] bool is_zombie() const { return state == 'Z' || state == 'X'; }
};
std::optional<ProcStat> parse_stat(std::string_view text);

struct ProcStatus {
  std::optional<std::int64_t> peak_rss, rss, rss_anonymous, swap, peak_virtual, virtual_size;
  std::optional<std::int64_t> context_switches;  ///< voluntary and not, of the first thread
};
ProcStatus parse_status(std::string_view text);

struct ProcIo {
  std::int64_t chars_read = 0, chars_written = 0;      ///< by system calls
  std::int64_t storage_read = 0, storage_written = 0;  ///< reached storage
};
std::optional<ProcIo> parse_io(std::string_view text);

struct ProcRollup {
  std::int64_t rss = 0, pss = 0, swap = 0, swap_pss = 0;
};
std::optional<ProcRollup> parse_smaps_rollup(std::string_view text);

/// "12 13 14 " of /proc/PID/task/TID/children.
std::vector<std::int64_t> parse_children(std::string_view text);

/// "0-3,8,10-11" of cpusets and affinity; empty when malformed or absurdly long.
std::vector<int> parse_cpu_list(std::string_view text);

}  // namespace taskmill::measure
