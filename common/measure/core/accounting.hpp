// From samples of a process tree to totals and peaks. Pure: counters in, measurement out.
//
// Counters of Linux processes are *inclusive*: a parent's numbers take in those of each child it waited for. The sum
// over all live processes is therefore right without having seen the short ones, as long as nobody vanishes without
// being waited for. `Accounting` notices who vanished and adds what nobody inherited, so totals never fall. Memory:
// resident sizes of several processes overlap (libraries, fork), so their sum is only an upper bound. The caller reads
// proportional sizes when wants_shared() says that a new peak is possible; most samples need no such expensive look.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "common/base/time.hpp"
#include "common/measure/core/cpu_window.hpp"
#include "common/measure/core/limits.hpp"
#include "common/measure/core/measurement.hpp"
#include "common/measure/core/time_line.hpp"

namespace taskmill::measure {

/// Inclusive counters of one process. Times in microseconds, sizes in bytes.
struct Counters {
  std::int64_t user = 0, system = 0;
  std::int64_t chars_read = 0, chars_written = 0, storage_read = 0, storage_written = 0;
  std::int64_t context_switches = 0;

  Counters& operator+=(const Counters& other);
};

struct ProcessSample {
  std::int64_t pid = 0, parent = 0;
  std::uint64_t start_time = 0;
  bool zombie = false;
  Counters counters;
  bool has_io = false, has_switches = false;
  std::int64_t rss = 0, peak_rss = 0, swap = 0, virtual_size = 0, peak_virtual = 0;
  std::optional<std::int64_t> pss;
};

/// What the control group says, where there is one.
struct GroupSample {
  std::optional<std::int64_t> memory, memory_peak, swap, user, system, storage_read, storage_written, processes_peak;
};

struct TreeSample {
  Duration at{};  ///< since the start
  std::vector<ProcessSample> processes;
  std::optional<GroupSample> group;
};

/// Final counters of a process that was waited for (rusage), microseconds and bytes.
struct FinalCounters {
  std::int64_t user = 0, system = 0, context_switches = 0;
  std::int64_t peak_rss = 0;  ///< 0: not trustworthy (see TaskMeter)
};

class Accounting {
 public:
  struct Options {
    Duration cores_window{5'000'000};
    Duration cores_limit_window{10'000'000};
    std::size_t time_line_points = 24;
  };
  explicit Accounting(const Options& options);

  /// Would proportional sizes change the peak? `rss` is the sum over `processes` live processes.
  [[nodiscard]] bool wants_shared(std::int64_t rss, std::size_t processes) const;
  void add(const TreeSample& sample);
  void set_disk(std::int64_t bytes, std::int64_t files);
  /// An orphan that we waited for ourselves: `pid` leaves the tree with exactly these numbers.
  void reaped(std::int64_t pid, const FinalCounters& final);

  [[nodiscard]] const Usage& usage() const { return usage_; }
  /// Up to the last sample.
  [[nodiscard]] Measurement so_far(Duration wall) const;
  /// The first process `root` was waited for with these numbers.
  [[nodiscard]] Measurement finish(std::int64_t root, const FinalCounters& final, Duration wall);

 private:
  struct Known {
    std::uint64_t start_time = 0;
    std::int64_t parent = 0;
    Counters counters;
  };
  /// Counters of ended processes that `heir` should have inherited, looked at again one sample later: between reading
  /// the parent and missing the child the inheritance may just not have happened yet.
  struct Pending {
    Counters expected, heir_before;
    [[nodiscard]] Counters missing(const Counters& heir_now) const;
  };
  using Processes = std::map<std::int64_t, Known>;
  [[nodiscard]] std::int64_t find_heir(std::int64_t parent, const Processes& now) const;
  void settle_vanished(const Processes& now);
  void account_memory(const TreeSample& sample, std::size_t live);
  [[nodiscard]] Counters total() const;
  [[nodiscard]] Measurement describe(Duration wall, const Counters& counters) const;

  CpuWindow window_, limit_window_;
  TimeLine line_;
  Processes known_;
  std::map<std::int64_t, Pending> pending_;  ///< by heir, which is in known_
  Counters gone_;                            ///< of processes nobody inherited from
  Counters shown_;                           ///< highest totals so far: what is told never falls
  Usage usage_;
  std::optional<std::int64_t> memory_peak_, swap_peak_, virtual_peak_, disk_peak_, files_peak_, largest_;
  MemorySource memory_source_ = MemorySource::none;
  double shared_ratio_ = 1;  ///< proportional / resident size when last read
  bool has_io_ = false, has_switches_ = false, has_storage_ = false;
  std::int32_t max_processes_ = 0, total_processes_ = 0, samples_ = 0;
  std::optional<GroupSample> group_;
};

}  // namespace taskmill::measure
