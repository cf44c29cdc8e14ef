#include "manager/net/native_measurement.hpp"

#include <algorithm>

#include "manager/core/monitor_command.hpp"

namespace taskmill::manager {
namespace {

double seconds(Duration duration) { return static_cast<double>(duration.count()) / 1e6; }

std::int64_t or_unknown(const std::optional<std::int64_t>& value) { return value.value_or(-1); }

std::int64_t megabytes(const std::optional<std::int64_t>& bytes) { return bytes ? measure::to_mb(*bytes) : -1; }

void take_limit(const measure::Exceeded& exceeded, Measurement& m) {
  m.exit_type = "limits";
  const auto whole = static_cast<std::int64_t>(std::clamp(exceeded.allowed, 0.0, 1e15));
  switch (exceeded.kind) {
    case measure::LimitKind::memory:
      m.limits_exceeded.memory = whole;
      break;
    case measure::LimitKind::disk:
      m.limits_exceeded.disk = whole;
      break;
    case measure::LimitKind::cores:
      m.limits_exceeded.cores = exceeded.allowed;
      break;
    case measure::LimitKind::wall_time:
      m.wall_limit_exceeded_s = exceeded.allowed;
      break;
    case measure::LimitKind::processes:
      m.processes_limit_exceeded = whole;
      break;
    default:
      break;
  }
}

}  // namespace

Measurement to_core(const measure::Measurement& measured) {
  Measurement m;
  m.cores = without_overshoot(std::max(measured.cores_peak, measured.cores_average));
  m.cores_avg = measured.cores_average;
  m.memory = megabytes(measured.memory);
  m.virtual_memory = megabytes(measured.virtual_memory);
  m.swap_memory = megabytes(measured.swap);
  m.disk = megabytes(measured.disk);
  m.wall_time_s = seconds(measured.wall);
  m.cpu_time_s = seconds(measured.cpu());
  m.bytes_read = megabytes(measured.bytes_read);
  m.bytes_written = megabytes(measured.bytes_written);
  m.total_files = or_unknown(measured.files);
  m.max_processes = measured.max_processes;
  m.total_processes = measured.total_processes;
  m.context_switches = or_unknown(measured.context_switches);
  m.exit_type = "normal";
  for (const auto& exceeded : measured.exceeded) {
    if (exceeded.enforced)
      take_limit(exceeded, m);
    else
      m.warning += (m.warning.empty() ? "" : "; ") + to_text(exceeded);
  }
  if (!measured.time_line.empty()) m.time_line = measure::time_line_json(measured.time_line);
  return m;
}

std::string limit_text(const measure::Measurement& measured) {
  for (const auto& exceeded : measured.exceeded) {
    if (exceeded.enforced) return to_text(exceeded);
  }
  return {};
}

}  // namespace taskmill::manager
