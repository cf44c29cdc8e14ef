// What batch systems and nvidia-smi say, as values. Pure: text and variables in, numbers out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace taskmill::measure {

struct Gpu {
  std::string id;    ///< what CUDA_VISIBLE_DEVICES of a task is set to: the index or UUID as it was given to us
  std::string uuid;  ///< "GPU-…" or "MIG-…" when known
  std::string name;  ///< "NVIDIA A100-SXM4-40GB" when known
  std::int64_t memory_mb = 0;  ///< 0 when not known
};

/// What a batch system gave to the job we run in. Empty: it says nothing about it.
struct BatchGrant {
  std::string system;  ///< "slurm", "htcondor", "pbs", "lsf", "sge", "" for none
  std::optional<std::int64_t> cores, memory_mb, disk_mb;
  std::string cores_from, memory_from, disk_from;  ///< "SLURM_CPUS_PER_TASK=4"
};

using Environment = std::function<std::optional<std::string>(const std::string&)>;
/// `machine_ad` is the text of $_CONDOR_MACHINE_AD, empty when there is none.
BatchGrant read_batch_grant(const Environment& env, std::string_view machine_ad);

/// `Name = 12` lines of an HTCondor ad (numbers only).
std::optional<double> ad_number(std::string_view ad, std::string_view name);

/// "index, uuid, name, memory" lines of nvidia-smi.
std::vector<Gpu> parse_nvidia_smi(std::string_view text);
/// The devices that CUDA_VISIBLE_DEVICES leaves: unset all, empty or "-1" none; indices and UUIDs (also shortened).
/// An unknown entry ends the list, as the CUDA library does it; names keep the given form.
std::vector<Gpu> visible_gpus(const std::vector<Gpu>& all, const std::optional<std::string>& visible);

/// "4G", "4096M", "4096mb", "2000000kb", "16384" with the unit for bare numbers, in MB.
std::optional<std::int64_t> parse_memory_mb(std::string_view text, char default_unit);

}  // namespace taskmill::measure
