// The directories whose size counts, each with its own meter, walked in small steps so that sampling never waits.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/measure/disk_meter.hpp"

namespace taskmill::monitor {

class DiskSet {
 public:
  /// Measures these from now on; meters of directories that stay are kept.
  void follow(const std::vector<std::string>& folders);
  /// One step of the present round; true when a round over all of them is complete.
  bool step();
  /// To the end of a round, but no longer than about `patience`.
  void finish(Duration patience);
  [[nodiscard]] measure::DiskUsage usage() const;

 private:
  std::map<std::string, measure::DiskMeter> meters_;
  std::string next_;  ///< the folder whose turn it is
};

}  // namespace taskmill::monitor
