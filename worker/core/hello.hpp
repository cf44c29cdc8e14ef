// The worker's first words (wire 5) and the resource group that is repeated with refused tasks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/resources.hpp"

namespace taskmill::worker {

struct Identity {
  std::string host, os, arch, software;
  std::string worker_id;  ///< "worker-" and 32 hex digits
  std::vector<std::string> features;
  std::string from_factory;     ///< empty: not said
  std::int64_t end_time_s = 0;  ///< Unix seconds, 0: none
  std::string capabilities;     ///< wqx-caps of wire C.1, empty: not said
  std::string coprocess;        ///< name of the library that answers function tasks, empty: none
  Resources coprocess_offer;    ///< of each of its copies; unset: what the worker offers
};

/// `alive` … `info tasks_running N`: integers, which every version reads.
void append_resources(std::string& out, int version, const Identity& who, const Resources& offered,
                      std::int64_t last_task, std::size_t running);
void append_hello(std::string& out, int version, const Identity& who, const Resources& offered, std::int64_t last_task,
                  std::size_t running);

}  // namespace taskmill::worker
