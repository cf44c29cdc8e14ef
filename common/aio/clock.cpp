#include "common/aio/clock.hpp"

#include <chrono>

namespace taskmill::aio {

Time steady_now() {
  using std::chrono::duration_cast;
  return Time(duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

WallTime wall_now() {
  using std::chrono::duration_cast;
  return WallTime(duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()));
}

}  // namespace taskmill::aio
