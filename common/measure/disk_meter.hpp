// How much disk a folder takes, counted in small steps. Runs on a helper thread or between other work, never all at
// once.
//
//   DiskMeter meter(sandbox);
//   while (!meter.step(budget)) ...   // true: one round over the whole tree is complete
//   meter.usage()                     // of the last complete round, or of the present one where that is more already
//
// A round remembers the folders still to be visited, not the tree; one folder is open at a time, found without
// following symbolic links. Sizes: what the file occupies or its length, whichever is less (sparse files cost what they
// hold, files being extended are not charged for preallocation). A file with several names counts once. Symbolic links,
// devices and pipes have no size; every entry counts as a file, the root as one. `Options::apparent` counts as
// resource_monitor 9.9 did: lengths, every name.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/time.hpp"
#include "common/os/fd.hpp"

namespace taskmill::measure {

struct DiskUsage {
  std::int64_t bytes = 0;
  std::int64_t files = 0;
  bool complete = false;  ///< a whole round was made
};

class DiskMeter {
 public:
  struct Options {
    bool apparent = false;
    std::size_t max_pending =
        200'000;  ///< folders remembered; beyond it they are left out and the round is a lower bound
  };
  explicit DiskMeter(std::string root) : DiskMeter(std::move(root), Options{}) {}
  DiskMeter(std::string root, Options options);
  ~DiskMeter();
  DiskMeter(DiskMeter&& other) noexcept;
  DiskMeter& operator=(DiskMeter&&) = delete;

  /// Looks at no more than `entries` files; true when that completed a round (the next step begins a new one).
  bool step(std::size_t entries = 2000);
  /// The next step begins a new round, whatever the present one has seen.
  void restart();
  /// Steps until a round is complete.
  DiskUsage finish_round();
  [[nodiscard]] DiskUsage usage() const;
  /// A round was begun and is not complete.
  [[nodiscard]] bool in_round() const { return in_round_; }

 private:
  bool open_next();
  void count(const char* name);
  void begin_round();

  std::string root_;
  Options options_;
  os::UniqueFd root_fd_;
  std::vector<std::string> pending_;  ///< folders to visit, relative to the root
  std::string folder_;                ///< the one being read
  DIR* open_ = nullptr;
  std::set<std::pair<std::uint64_t, std::uint64_t>> linked_;  ///< (device, inode) of files with several names
  std::int64_t bytes_ = 0, files_ = 0;
  DiskUsage last_;
  bool in_round_ = false;
};

}  // namespace taskmill::measure
