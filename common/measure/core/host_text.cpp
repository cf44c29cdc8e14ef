#include "common/measure/core/host_text.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "common/base/text.hpp"

namespace taskmill::measure {

namespace {

constexpr std::int64_t most_gpus = 64;

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](unsigned char x, unsigned char y) {
           return std::tolower(x) == std::tolower(y);
         });
}

std::optional<std::int64_t> positive(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  // Slurm writes "16(x2)" for several nodes.
  const std::string_view all = *text;
  const auto value = parse_int(trim(all.substr(0, all.find_first_of("(,"))));
  return value && *value > 0 ? value : std::nullopt;
}

/// Takes the first variable that holds a positive number.
void take_count(const Environment& env, std::initializer_list<const char*> names, std::optional<std::int64_t>& out,
                std::string& from) {
  for (const char* name : names)
    if (const auto value = positive(env(name)); value && !out) {
      out = value;
      from = std::string(name) + "=" + std::to_string(*value);
    }
}

void take_memory(const Environment& env, const char* name, char unit, std::optional<std::int64_t>& out,
                 std::string& from) {
  const auto text = env(name);
  if (!text || out) return;
  if (const auto mb = parse_memory_mb(*text, unit); mb && *mb > 0) {
    out = mb;
    from = std::string(name) + "=" + *text;
  }
}

void read_slurm(const Environment& env, BatchGrant& grant) {
  // A step's own count, else what one task of the job may use, else what the node gave the job.
  take_count(env, {"SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE"}, grant.cores,
             grant.cores_from);
  take_memory(env, "SLURM_MEM_PER_NODE", 'M', grant.memory_mb, grant.memory_from);
  if (grant.memory_mb) return;
  std::optional<std::int64_t> per_cpu;
  std::string from;
  take_memory(env, "SLURM_MEM_PER_CPU", 'M', per_cpu, from);
  if (per_cpu && grant.cores) {
    grant.memory_mb = *per_cpu * *grant.cores;
    grant.memory_from = from + " times " + std::to_string(*grant.cores) + " cores";
  }
}

void read_condor(const Environment& env, std::string_view ad, BatchGrant& grant) {
  const auto take = [&](const char* name, std::optional<std::int64_t>& out, std::string& from, double divide) {
    if (const auto value = ad_number(ad, name); value && *value > 0) {
      out = static_cast<std::int64_t>(*value / divide);
      from = std::string("machine ad ") + name + "=" + std::to_string(static_cast<std::int64_t>(*value));
    }
  };
  take("Cpus", grant.cores, grant.cores_from, 1);
  take("Memory", grant.memory_mb, grant.memory_from, 1);
  take("Disk", grant.disk_mb, grant.disk_from, 1024);  // KB
  take_count(env, {"OMP_NUM_THREADS", "_CONDOR_NPROCS"}, grant.cores, grant.cores_from);
}

}  // namespace

std::optional<std::int64_t> parse_memory_mb(std::string_view text, char default_unit) {
  text = trim(text);
  const auto digits = text.find_first_not_of("0123456789.");
  const auto number = parse_number(text.substr(0, digits));
  if (!number || *number < 0 || *number > 1e15) return std::nullopt;
  auto unit = digits == std::string_view::npos ? std::string_view{} : trim(text.substr(digits));
  char c = default_unit;
  if (!unit.empty()) c = static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0])));
  switch (c) {
    case 'B':
      return static_cast<std::int64_t>(*number / 1048576);
    case 'K':
      return static_cast<std::int64_t>(*number / 1024);
    case 'M':
      return static_cast<std::int64_t>(*number);
    case 'G':
      return static_cast<std::int64_t>(*number * 1024);
    case 'T':
      return static_cast<std::int64_t>(*number * 1048576);
    default:
      return std::nullopt;
  }
}

std::optional<double> ad_number(std::string_view ad, std::string_view name) {
  for (const auto line : split(ad, '\n')) {
    const auto equals = line.find('=');
    if (equals == std::string_view::npos || !same_word(trim(line.substr(0, equals)), name)) continue;
    return parse_number(trim(line.substr(equals + 1)));
  }
  return std::nullopt;
}

BatchGrant read_batch_grant(const Environment& env, std::string_view machine_ad) {
  BatchGrant grant;
  if (env("SLURM_JOB_ID") || env("SLURM_JOBID")) {
    grant.system = "slurm";
    read_slurm(env, grant);
  } else if (env("_CONDOR_SCRATCH_DIR") || env("_CONDOR_MACHINE_AD") || env("_CONDOR_SLOT")) {
    grant.system = "htcondor";
    read_condor(env, machine_ad, grant);
  } else if (env("PBS_JOBID")) {
    grant.system = "pbs";
    take_count(env, {"NCPUS", "PBS_NUM_PPN", "PBS_NP"}, grant.cores, grant.cores_from);
    take_memory(env, "PBS_RESC_MEM", 'B', grant.memory_mb, grant.memory_from);
    take_memory(env, "PBS_RESC_TOTAL_MEM", 'B', grant.memory_mb, grant.memory_from);
  } else if (env("LSB_JOBID")) {
    grant.system = "lsf";
    take_count(env, {"LSB_DJOB_NUMPROC", "LSB_MAX_NUM_PROCESSORS"}, grant.cores, grant.cores_from);
  } else if (env("SGE_TASK_ID") || (env("JOB_ID") && env("NSLOTS"))) {
    grant.system = "sge";
    take_count(env, {"NSLOTS"}, grant.cores, grant.cores_from);
  }
  return grant;
}

// "GPU 0: NVIDIA A100 (UUID: GPU-…)", as `nvidia-smi -L` prints it.
std::optional<Gpu> parse_gpu_listing(std::string_view line) {
  const auto colon = line.find(':');
  const auto bracket = line.rfind("(UUID: ");
  if (!line.starts_with("GPU ") || colon == std::string_view::npos || bracket == std::string_view::npos ||
      bracket < colon)
    return std::nullopt;
  Gpu gpu;
  gpu.id = trim(line.substr(4, colon - 4));
  gpu.name = trim(line.substr(colon + 1, bracket - colon - 1));
  gpu.uuid = trim(line.substr(bracket + 7));
  if (!gpu.uuid.empty() && gpu.uuid.back() == ')') gpu.uuid.pop_back();
  return parse_int(gpu.id) ? std::optional(gpu) : std::nullopt;
}

std::vector<Gpu> parse_nvidia_smi(std::string_view text) {
  std::vector<Gpu> gpus;
  // A wrapper that knows only the count that old workers ask for.
  if (const auto count = parse_int(trim(text)); count && *count > 0 && *count <= most_gpus) {
    for (std::int64_t i = 0; i < *count; ++i) gpus.push_back({std::to_string(i), {}, {}, 0});
    return gpus;
  }
  for (const auto line : split(text, '\n')) {
    if (auto listed = parse_gpu_listing(trim(line))) {
      gpus.push_back(std::move(*listed));
      continue;
    }
    const auto parts = split(line, ',');
    if (parts.size() < 3 || !parse_int(trim(parts[0]))) continue;
    Gpu gpu;
    gpu.id = trim(parts[0]);
    gpu.uuid = trim(parts[1]);
    gpu.name = trim(parts[2]);
    if (parts.size() > 3) gpu.memory_mb = parse_int(trim(parts[3])).value_or(0);
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

std::vector<Gpu> visible_gpus(const std::vector<Gpu>& all, const std::optional<std::string>& visible) {
  if (!visible) return all;
  std::vector<Gpu> out;
  for (const auto part : split(*visible, ',')) {
    const auto id = trim(part);
    if (id.empty()) break;
    const bool index = parse_int(id).has_value();
    const auto same = [&](const Gpu& gpu) { return index ? gpu.id == id : gpu.uuid.compare(0, id.size(), id) == 0; };
    const auto found = std::find_if(all.begin(), all.end(), same);
    const bool mig = id.substr(0, 3) == "MIG";
    if (found == all.end() && !mig) break;
    Gpu gpu = found == all.end() ? Gpu{std::string(id), std::string(id), "MIG device", 0} : *found;
    gpu.id = id;
    if (std::any_of(out.begin(), out.end(), [&](const Gpu& g) { return g.id == gpu.id; })) break;
    out.push_back(std::move(gpu));
  }
  return out;
}

}  // namespace taskmill::measure
