// A vector of the four basic resources, as tasks request them and workers offer them.
//
// Units: cores and gpus are counts (cores may be fractional when measured), memory and disk are MB of
// 2^20 bytes. A negative value means "unspecified" (manager.md section 9).
#pragma once

#include <compare>
#include <cstdint>

namespace taskmill {

struct Resources {
  double cores = -1;
  std::int64_t memory = -1;
  std::int64_t disk = -1;
  std::int64_t gpus = -1;

  bool operator==(const Resources&) const = default;
};

}  // namespace taskmill
