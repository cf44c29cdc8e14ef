// Which limits of tasks the worker enforces; chosen on its command line.
#pragma once

#include <cstdint>

namespace taskmill::worker {

struct LimitPolicy {
  enum class Enforce : std::uint8_t {
    native,  ///< when the manager asks for it
    always,
    never,
  };
  Enforce enforce = Enforce::native;  ///< memory and disk of a task
  std::int64_t max_processes = 2000;  ///< of one task, always; not positive: no limit
};

}  // namespace taskmill::worker
