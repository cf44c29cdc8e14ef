// What a task may use, and the decision whether it used more. Pure: numbers in, verdict out.
//
// Limits are in the units of a request (MB of 2^20 bytes, cores, seconds). An empty optional means "no limit"; so do
// negative numbers on the wire, which the caller turns into empty ones. Cores may be only reported (`cores_enforced`
// false, the default): short bursts over the allocation are normal and slow nobody down by themselves.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/time.hpp"

namespace taskmill::measure {

enum class LimitKind : std::uint8_t { memory, disk, cores, wall_time, processes, cpu_time, swap, files };
const char* to_string(LimitKind kind);
/// "MB", "cores", "s", "processes", "files".
const char* unit_of(LimitKind kind);

struct Limits {
  std::optional<std::int64_t> memory;  ///< MB
  std::optional<std::int64_t> disk;    ///< MB
  std::optional<std::int64_t> swap;    ///< MB
  std::optional<double> cores;
  std::optional<double> wall_time;  ///< s
  std::optional<double> cpu_time;   ///< s
  std::optional<std::int64_t> processes;
  std::optional<std::int64_t> files;
  bool cores_enforced = false;
};

/// A limit that was passed: which, how much was allowed, how much was used.
struct Exceeded {
  LimitKind kind = LimitKind::memory;
  double allowed = 0;
  double used = 0;
  bool enforced = true;  ///< false: told, not acted upon
};
/// "memory: 309 MB used, 100 MB allowed"
std::string to_text(const Exceeded& exceeded);

/// What the limits are compared with, at one moment.
struct Usage {
  std::int64_t memory = 0, swap = 0, disk = 0;  ///< bytes
  std::int64_t files = 0;
  std::int64_t processes = 0;
  double cores = 0;  ///< average over the window for limits; 0 until the window is full
  Duration wall{}, cpu{};
  std::int64_t virtual_memory = 0;  ///< bytes; only told, never limited here
};

/// Every limit that `usage` passes. Cores forgive 0.25 (as resource_monitor does).
std::vector<Exceeded> decide(const Limits& limits, const Usage& usage);

/// How soon to look again: growth is extrapolated, so that memory which could reach its limit is looked at well
/// before. Between `least` and `regular`.
Duration next_interval(const Limits& limits, const Usage& before, const Usage& now, Duration between, Duration least,
                       Duration regular);

}  // namespace taskmill::measure
