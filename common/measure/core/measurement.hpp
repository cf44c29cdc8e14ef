// What was measured of one task: plain values, and their text for results and logs.
//
// Units: bytes, files and processes are counts, times are microseconds, cores are cores. A value that could not be
// measured is an empty optional, never -1. Memory is that of the whole process tree at one moment; pages shared by
// several processes of the task count once where the kernel tells (MemorySource), and the source says which it was.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/time.hpp"
#include "common/measure/core/limits.hpp"

namespace taskmill::measure {

enum class MemorySource : std::uint8_t {
  none,    ///< nothing could be read
  rusage,  ///< only the kernel's peak of the largest process (the task ended before the first sample)
  rss,     ///< one process at the peak, or PSS not readable: resident sizes; an upper bound for several processes
  pss,     ///< proportional sizes: shared pages counted once
  cgroup,  ///< the kernel's own account of the control group
};
const char* to_string(MemorySource source);

/// One piece of the time line: what held from the previous piece's end to `until_us` after the start.
struct TimePoint {
  std::int64_t until_us = 0;
  double cores = 0;            ///< average over the piece
  std::int64_t memory = 0;     ///< largest in the piece, bytes
  std::int64_t disk = 0;       ///< largest in the piece, bytes
  std::int32_t processes = 0;  ///< largest in the piece
};

struct Measurement {
  Duration wall{};
  Duration cpu_user{}, cpu_system{};
  double cores_average = 0;
  double cores_peak = 0;               ///< highest average over any window of Accounting::Options::cores_window
  std::optional<std::int64_t> memory;  ///< peak, bytes
  MemorySource memory_source = MemorySource::none;
  std::optional<std::int64_t> largest_process;            ///< peak resident size of the largest single process, bytes
  std::optional<std::int64_t> swap;                       ///< peak, bytes
  std::optional<std::int64_t> virtual_memory;             ///< peak of the sum of address spaces, bytes
  std::optional<std::int64_t> disk;                       ///< peak below the sandbox, bytes
  std::optional<std::int64_t> files;                      ///< peak number of entries, root included
  std::optional<std::int64_t> bytes_read, bytes_written;  ///< by system calls (cached or not)
  std::optional<std::int64_t> storage_bytes_read, storage_bytes_written;  ///< that reached storage
  std::optional<std::int64_t> context_switches;
  std::int32_t max_processes = 0;    ///< at one moment, zombies excluded
  std::int32_t total_processes = 0;  ///< seen at samples: a lower bound when many were very short
  std::int32_t samples = 0;
  bool in_cgroup = false;
  std::vector<TimePoint> time_line;
  std::vector<Exceeded> exceeded;  ///< limits that were passed, first one first

  [[nodiscard]] Duration cpu() const { return cpu_user + cpu_system; }
};

/// Bytes as MB of 2^20, rounded up: what resource requests are compared with.
std::int64_t to_mb(std::int64_t bytes);

/// One JSON object on one line; keys that are not known are left out. Read back with parse_measurement.
std::string to_json(const Measurement& m);
/// `[[seconds, cores, memory MB, disk MB, processes], …]`: short, and enough for a plot.
std::string time_line_json(const std::vector<TimePoint>& line);
/// nullopt when the text is not such an object; unknown keys are skipped, sizes are bounded.
std::optional<Measurement> parse_measurement(std::string_view json);
/// `cores: 0.3, memory: 120 MB, disk 6 MB, gpus: 0.0, runtime 3.1 s`; "unknown" for what is not known.
std::string to_text(const Measurement& m, double gpus);

}  // namespace taskmill::measure
