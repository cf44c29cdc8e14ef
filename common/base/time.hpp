// Time as the core sees it: a value that is handed in, never taken.
//
// CoreClock has no now(), so code of ring 0 that wants to read the clock does not compile. `Time` is
// monotonic; `WallTime` counts microseconds since the Unix epoch and is used only where the wire or a
// log needs it.
#pragma once

#include <chrono>
#include <cstdint>

namespace taskmill {

struct CoreClock {
  using duration = std::chrono::microseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<CoreClock, duration>;
  static constexpr bool is_steady = true;
};

struct WallClock {
  using duration = std::chrono::microseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<WallClock, duration>;
  static constexpr bool is_steady = false;
};

using Duration = std::chrono::microseconds;
using Time = CoreClock::time_point;
using WallTime = WallClock::time_point;

/// Both clocks read at one instant; the shells make it, the core only passes it on.
struct Now {
  Time time{};
  WallTime wall{};
};

}  // namespace taskmill
