// What this machine lets us use: cores, memory, disk, GPUs. A worker must never promise more than it has.
//
// The smallest of everything that restricts us wins: hardware, CPU affinity, control groups (v1 and v2, every level
// above us), the batch system (Slurm, HTCondor, PBS/Torque, LSF, Grid Engine) through its variables and files. On an
// unrestricted machine cores are *physical* cores, as in worker.md 6.1; a CPU set or a quota is taken as it is.
// Each number carries the sentence that says where it comes from, for the log. Blocking for some milliseconds (and up
// to 5 s when nvidia-smi hangs): call it at start. Everything read goes through HostProbeOptions, so that tests hand in
// recorded machines.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/measure/core/host_text.hpp"

namespace taskmill::measure {

struct HostResources {
  std::int64_t cores = 1;
  std::int64_t memory_mb = 0;
  std::int64_t disk_mb = 0;          ///< free for us on the file system of the workspace, and granted
  std::int64_t disk_granted_mb = 0;  ///< what the batch system grants; 0: it does not say
  std::vector<Gpu> gpus;
  std::string cores_from, memory_from, disk_from, gpus_from;  ///< "2 physical cores", "SLURM_CPUS_PER_TASK=4", …
  std::string batch_system;                                   ///< "slurm", "htcondor", "pbs", "lsf", "sge" or ""
};

struct HostProbeOptions {
  std::string workspace = ".";  ///< where disk is counted; its nearest existing parent is used
  std::string root;             ///< put before /proc and /sys (tests)
  /// Reads one variable of the environment; the default is getenv.
  std::function<std::optional<std::string>(const std::string&)> env;
  /// CPUs we may run on; the default asks sched_getaffinity. Empty: not known.
  std::function<std::vector<int>()> affinity;
  /// Output of `nvidia-smi --query-gpu=index,uuid,name,memory.total --format=csv,noheader,nounits`; nullopt when there
  /// is none. The default runs it (5 s at most).
  std::function<std::optional<std::string>()> nvidia_smi;
};

HostResources detect_host_resources(HostProbeOptions options = {});

/// MB free for us (not root) on the file system of `path` or its nearest existing parent.
Result<std::int64_t> free_disk_mb(const std::string& path);

/// Physical cores of the whole machine, whoever may use them.
int physical_cores(const std::string& root = "");

}  // namespace taskmill::measure
