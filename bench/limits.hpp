// What this machine can do at best: the figures that ours are compared with, taken in the same run.
#pragma once

#include <cstdint>
#include <string>

namespace taskmill::bench {

struct SpawnLimit {
  double per_second = 0;
  double p50_s = 0, p99_s = 0;  ///< from start to reaped
};
/// posix_spawn + wait of `true`, `at_once` at a time. With `shell` through /bin/sh -c, as the old worker does.
SpawnLimit spawn_limit(int at_once, double seconds, bool shell = false);

struct WireLimit {
  double per_second = 0;
  double cpu_us = 0;  ///< of the manager's thread, per task
};
/// The least a manager of the text protocol can do, against the same simulated workers.
WireLimit wire_limit(int workers, int cores, double seconds);

/// `count` files DIRECTORY/0 … of `bytes` each, one after the other by sendfile to a loopback receiver that drops
/// everything. Seconds.
double sendfile_limit(const std::string& directory, std::uint64_t count, std::uint64_t bytes);

/// `count` bodies of `bytes` zeros from loopback into files DIRECTORY/0 … of this machine, by splice or by read and
/// write, whichever is faster. Seconds.
double store_limit(const std::string& directory, std::uint64_t count, std::uint64_t bytes);

}  // namespace taskmill::bench
