#include "protocol/pb/measurement.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

namespace taskmill::protocol {

namespace {

using measure::LimitKind;
using measure::Measurement;
using measure::MemorySource;

constexpr int max_time_points = 64;
constexpr int max_limits = 16;
constexpr std::uint64_t sane = std::uint64_t{1} << 60;
constexpr double sane_cores = 1e6;

std::optional<std::int64_t> known(bool has, std::uint64_t value) {
  if (!has || value > sane) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

Duration duration(std::uint64_t us) { return Duration{us > sane ? 0 : static_cast<std::int64_t>(us)}; }
std::uint64_t unsigned_of(std::int64_t value) { return value < 0 ? 0 : static_cast<std::uint64_t>(value); }
double cores(double value) { return std::isfinite(value) ? std::clamp(value, 0.0, sane_cores) : 0; }

std::int32_t count(std::uint32_t value) { return static_cast<std::int32_t>(std::min<std::uint32_t>(value, 1U << 30)); }

pb::MemorySource source(MemorySource s) {
  switch (s) {
    case MemorySource::none:
      return pb::MEMORY_UNKNOWN;
    case MemorySource::rusage:
      return pb::MEMORY_RUSAGE;
    case MemorySource::rss:
      return pb::MEMORY_RSS;
    case MemorySource::pss:
      return pb::MEMORY_PSS;
    case MemorySource::cgroup:
      return pb::MEMORY_CGROUP;
  }
  return pb::MEMORY_UNKNOWN;
}

MemorySource source(pb::MemorySource s) {
  switch (s) {
    case pb::MEMORY_RUSAGE:
      return MemorySource::rusage;
    case pb::MEMORY_RSS:
      return MemorySource::rss;
    case pb::MEMORY_PSS:
      return MemorySource::pss;
    case pb::MEMORY_CGROUP:
      return MemorySource::cgroup;
    default:
      return MemorySource::none;
  }
}

struct KindPair {
  LimitKind ours;
  pb::LimitKind theirs;
};
constexpr KindPair kinds[] = {{LimitKind::memory, pb::LIMIT_MEMORY},       {LimitKind::disk, pb::LIMIT_DISK},
                              {LimitKind::cores, pb::LIMIT_CORES},         {LimitKind::wall_time, pb::LIMIT_WALL_TIME},
                              {LimitKind::processes, pb::LIMIT_PROCESSES}, {LimitKind::cpu_time, pb::LIMIT_CPU_TIME},
                              {LimitKind::swap, pb::LIMIT_SWAP},           {LimitKind::files, pb::LIMIT_FILES}};

void add_limits(const Measurement& m, pb::TaskMeasurement& out) {
  for (const auto& e : m.exceeded) {
    auto* limit = out.add_limits_exceeded();
    for (const auto& pair : kinds)
      if (pair.ours == e.kind) limit->set_kind(pair.theirs);
    limit->set_allowed(e.allowed);
    limit->set_used(e.used);
    limit->set_enforced(e.enforced);
  }
}

void read_limits(const pb::TaskMeasurement& message, Measurement& m) {
  for (const auto& limit : message.limits_exceeded()) {
    if (m.exceeded.size() >= max_limits || !std::isfinite(limit.allowed()) || !std::isfinite(limit.used())) continue;
    for (const auto& pair : kinds)
      if (pair.theirs == limit.kind())
        m.exceeded.push_back({pair.ours, limit.allowed(), limit.used(), limit.enforced()});
  }
}

void add_time_line(const Measurement& m, pb::TaskMeasurement& out) {
  for (const auto& p : m.time_line) {
    if (out.time_line_size() >= max_time_points) return;
    auto* point = out.add_time_line();
    point->set_until_us(unsigned_of(p.until_us));
    point->set_cores(std::round(p.cores * 1000) / 1000);
    point->set_memory(unsigned_of(p.memory));
    point->set_disk(unsigned_of(p.disk));
    point->set_processes(static_cast<std::uint32_t>(std::max(p.processes, 0)));
  }
}

void read_time_line(const pb::TaskMeasurement& message, Measurement& m) {
  for (const auto& p : message.time_line()) {
    if (m.time_line.size() >= max_time_points) return;
    m.time_line.push_back({duration(p.until_us()).count(), cores(p.cores()), known(true, p.memory()).value_or(0),
                           known(true, p.disk()).value_or(0), count(p.processes())});
  }
}

}  // namespace

pb::TaskMeasurement to_message(const Measurement& m, std::int64_t task_id, std::int64_t started_us,
                               Duration cores_window) {
  pb::TaskMeasurement out;
  out.set_task_id(task_id);
  out.set_start_time_us(unsigned_of(started_us));
  out.set_wall_us(unsigned_of(m.wall.count()));
  out.set_cpu_user_us(unsigned_of(m.cpu_user.count()));
  out.set_cpu_system_us(unsigned_of(m.cpu_system.count()));
  out.set_cores_average(m.cores_average);
  out.set_cores_peak(m.cores_peak);
  out.set_cores_window_us(unsigned_of(cores_window.count()));
  if (m.memory) out.set_memory(unsigned_of(*m.memory));
  out.set_memory_source(source(m.memory_source));
  if (m.largest_process) out.set_largest_process(unsigned_of(*m.largest_process));
  if (m.swap) out.set_swap(unsigned_of(*m.swap));
  if (m.virtual_memory) out.set_virtual_memory(unsigned_of(*m.virtual_memory));
  if (m.disk) out.set_disk(unsigned_of(*m.disk));
  if (m.files) out.set_files(unsigned_of(*m.files));
  if (m.bytes_read) out.set_bytes_read(unsigned_of(*m.bytes_read));
  if (m.bytes_written) out.set_bytes_written(unsigned_of(*m.bytes_written));
  if (m.storage_bytes_read) out.set_storage_bytes_read(unsigned_of(*m.storage_bytes_read));
  if (m.storage_bytes_written) out.set_storage_bytes_written(unsigned_of(*m.storage_bytes_written));
  if (m.context_switches) out.set_context_switches(unsigned_of(*m.context_switches));
  out.set_max_processes(static_cast<std::uint32_t>(std::max(m.max_processes, 0)));
  out.set_total_processes(static_cast<std::uint32_t>(std::max(m.total_processes, 0)));
  out.set_samples(static_cast<std::uint32_t>(std::max(m.samples, 0)));
  out.set_in_cgroup(m.in_cgroup);
  add_limits(m, out);
  add_time_line(m, out);
  return out;
}

Measurement from_message(const pb::TaskMeasurement& message) {
  Measurement m;
  m.wall = duration(message.wall_us());
  m.cpu_user = duration(message.cpu_user_us());
  m.cpu_system = duration(message.cpu_system_us());
  m.cores_average = cores(message.cores_average());
  m.cores_peak = cores(message.cores_peak());
  m.memory = known(message.has_memory(), message.memory());
  m.memory_source = source(message.memory_source());
  m.largest_process = known(message.has_largest_process(), message.largest_process());
  m.swap = known(message.has_swap(), message.swap());
  m.virtual_memory = known(message.has_virtual_memory(), message.virtual_memory());
  m.disk = known(message.has_disk(), message.disk());
  m.files = known(message.has_files(), message.files());
  m.bytes_read = known(message.has_bytes_read(), message.bytes_read());
  m.bytes_written = known(message.has_bytes_written(), message.bytes_written());
  m.storage_bytes_read = known(message.has_storage_bytes_read(), message.storage_bytes_read());
  m.storage_bytes_written = known(message.has_storage_bytes_written(), message.storage_bytes_written());
  m.context_switches = known(message.has_context_switches(), message.context_switches());
  m.max_processes = count(message.max_processes());
  m.total_processes = count(message.total_processes());
  m.samples = count(message.samples());
  m.in_cgroup = message.in_cgroup();
  read_limits(message, m);
  read_time_line(message, m);
  return m;
}

}  // namespace taskmill::protocol
