// Which limits of tasks the worker enforces; chosen on its command line.
#pragma once

#include <cstdint>
#include <string>

namespace taskmill::worker {

struct LimitPolicy {
  enum class Enforce : std::uint8_t {
    native,  ///< when the manager asks for it
    always,
    never,
  };
  Enforce enforce = Enforce::native;  ///< memory and disk of a task
  bool stop_for_cores = false;        ///< cores too, instead of telling only
  std::int64_t max_processes = 2000;  ///< of one task, always; not positive: no limit
  std::string cgroup = "auto";        ///< where tasks get control groups: auto, off, or the folder of one
};

}  // namespace taskmill::worker
