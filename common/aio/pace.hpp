// How many bytes of files may move per second, over all connections that share the object (WORK_QUEUE_BANDWIDTH,
// manager.md 12.4). Nobody sleeps: a connection asks, moves at most that much, and asks again when wait() says.
#pragma once

#include <cstddef>

#include "common/base/time.hpp"

namespace taskmill::aio {

class Pace {
 public:
  explicit Pace(double bytes_per_second);

  /// Bytes that may move now; 0: none before wait() has passed.
  std::size_t allowance(Time now);
  void spend(std::size_t bytes) { left_ -= static_cast<double>(bytes); }
  /// How long until a worthwhile amount may move.
  [[nodiscard]] Duration wait() const;

 private:
  double rate_, burst_, left_;
  Time filled_{};
};

}  // namespace taskmill::aio
