#include "manager/net/monitor_summary.hpp"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "common/measure/core/json_scan.hpp"

namespace taskmill::manager {
namespace {

using measure::JsonValue;

constexpr std::size_t max_summary = 1U << 20;

// `"memory": [120, "MB"]`, or a plain number.
std::optional<double> amount(const JsonValue& object, std::string_view key) {
  const auto* value = object.find(key);
  if (value == nullptr) return std::nullopt;
  if (value->kind == JsonValue::Kind::array && !value->items.empty()) value = &value->items.front();
  if (value->kind != JsonValue::Kind::number || !std::isfinite(value->number)) return std::nullopt;
  return value->number;
}

std::int64_t whole(const JsonValue& object, std::string_view key) {
  const auto value = amount(object, key);
  if (!value || *value < 0 || *value > 9e15) return -1;
  return static_cast<std::int64_t>(std::ceil(*value));
}

// "memory: 301 MB used, 100 MB allowed; …": summaries tell what was allowed, and what was used elsewhere.
std::string limits_text(const JsonValue& broken, const JsonValue& summary) {
  std::string text;
  for (const auto& [name, limit] : broken.members) {
    const auto allowed = amount(broken, name);
    const auto used = amount(summary, name);
    if (!allowed) continue;
    std::string unit;
    if (limit.kind == JsonValue::Kind::array && limit.items.size() > 1) unit = " " + limit.items[1].string;
    char numbers[128];
    if (used)
      std::snprintf(numbers, sizeof numbers, "%.10g%s used, %.10g%s allowed", *used, unit.c_str(), *allowed,
                    unit.c_str());
    else
      std::snprintf(numbers, sizeof numbers, "more than the %.10g%s allowed", *allowed, unit.c_str());
    text += (text.empty() ? "" : "; ") + name.substr(0, 64) + ": " + numbers;
  }
  return text;
}

}  // namespace

void read_monitor_summary(const std::string& path, Fetched& fetched) {
  std::ifstream file(path, std::ios::binary);
  std::string text(max_summary, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  const auto summary = measure::parse_json(text);
  if (!summary || summary->kind != JsonValue::Kind::object) return;
  Measurement m;
  m.cores = amount(*summary, "cores").value_or(-1);
  m.memory = whole(*summary, "memory");
  m.virtual_memory = whole(*summary, "virtual_memory");
  m.swap_memory = whole(*summary, "swap_memory");
  m.disk = whole(*summary, "disk");
  m.gpus = whole(*summary, "gpus");
  m.wall_time_s = amount(*summary, "wall_time").value_or(-1);
  m.cpu_time_s = amount(*summary, "cpu_time").value_or(-1);
  if (m.wall_time_s > 0 && m.cpu_time_s >= 0) m.cores_avg = m.cpu_time_s / m.wall_time_s;
  m.bytes_read = whole(*summary, "bytes_read");
  m.bytes_written = whole(*summary, "bytes_written");
  m.total_files = whole(*summary, "total_files");
  m.max_processes = whole(*summary, "max_concurrent_processes");
  m.total_processes = whole(*summary, "total_processes");
  m.context_switches = whole(*summary, "context_switches");
  if (const auto* type = summary->find("exit_type"); type != nullptr) m.exit_type = type->string;
  if (const auto* broken = summary->find("limits_exceeded"); broken != nullptr) {
    m.limits_exceeded.cores = amount(*broken, "cores").value_or(-1);
    m.limits_exceeded.memory = whole(*broken, "memory");
    m.limits_exceeded.disk = whole(*broken, "disk");
    m.limits_exceeded.gpus = whole(*broken, "gpus");
    m.wall_limit_exceeded_s = amount(*broken, "wall_time").value_or(-1);
    m.processes_limit_exceeded = whole(*broken, "max_concurrent_processes");
    fetched.limit = limits_text(*broken, *summary);
  }
  if (const auto status = summary->number_of("exit_status")) fetched.exit_status = static_cast<int>(*status);
  fetched.measured = std::move(m);
}

}  // namespace taskmill::manager
