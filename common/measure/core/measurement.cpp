#include "common/measure/core/measurement.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "common/base/json_writer.hpp"
#include "common/measure/core/json_scan.hpp"

namespace taskmill::measure {

namespace {

constexpr std::array source_names = {"none", "rusage", "rss", "pss", "cgroup"};
constexpr std::size_t max_time_points = 1000;
constexpr double us = 1e6;

/// Every optional number with its key: writer and reader walk the same list.
struct Field {
  const char* key;
  std::optional<std::int64_t> Measurement::*value;
};
constexpr std::array described = {Field{"memory", &Measurement::memory},
                                  Field{"largest_process", &Measurement::largest_process},
                                  Field{"swap", &Measurement::swap},
                                  Field{"virtual_memory", &Measurement::virtual_memory},
                                  Field{"disk", &Measurement::disk},
                                  Field{"files", &Measurement::files},
                                  Field{"bytes_read", &Measurement::bytes_read},
                                  Field{"bytes_written", &Measurement::bytes_written},
                                  Field{"storage_bytes_read", &Measurement::storage_bytes_read},
                                  Field{"storage_bytes_written", &Measurement::storage_bytes_written},
                                  Field{"context_switches", &Measurement::context_switches}};
struct Count {
  const char* key;
  std::int32_t Measurement::*value;
};
constexpr std::array counts = {Count{"max_processes", &Measurement::max_processes},
                               Count{"total_processes", &Measurement::total_processes},
                               Count{"samples", &Measurement::samples}};

/// What a reader needs and no more: 0.3, not 0.29999.
double rounded(double value, int decimals) {
  const double scale = std::pow(10.0, decimals);
  return std::round(value * scale) / scale;
}

double in_seconds(Duration d) { return static_cast<double>(d.count()) / us; }

Duration duration(const JsonValue& json, std::string_view key) {
  const double s = json.number_of(key).value_or(0);
  return Duration{s > 0 && s < 1e10 ? static_cast<std::int64_t>(std::llround(s * us)) : 0};
}

std::optional<std::int64_t> integer(std::optional<double> value) {
  if (!value || *value < 0 || *value > 9e15) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

void write_exceeded(JsonWriter& json, const std::vector<Exceeded>& exceeded) {
  json.key("limits_exceeded").begin_object();
  for (const auto& e : exceeded)
    json.key(to_string(e.kind))
        .begin_array()
        .real(rounded(e.allowed, 3))
        .real(rounded(e.used, 3))
        .boolean(e.enforced)
        .end_array();
  json.end_object();
}

void read_time_line(const JsonValue& json, std::vector<TimePoint>& out) {
  for (const auto& item : json.items) {
    if (out.size() >= max_time_points) return;
    if (item.items.size() < 5) continue;
    const auto at = [&](std::size_t i) { return std::clamp(item.items[i].number, 0.0, 1e9); };
    out.push_back({static_cast<std::int64_t>(at(0) * us), at(1), static_cast<std::int64_t>(at(2)) << 20,
                   static_cast<std::int64_t>(at(3)) << 20, static_cast<std::int32_t>(at(4))});
  }
}

void read_exceeded(const JsonValue& json, std::vector<Exceeded>& out) {
  for (const auto& [key, value] : json.members) {
    if (value.items.size() < 3) continue;
    for (int k = 0; k <= static_cast<int>(LimitKind::files); ++k)
      if (key == to_string(static_cast<LimitKind>(k)))
        out.push_back(
            {static_cast<LimitKind>(k), value.items[0].number, value.items[1].number, value.items[2].boolean});
  }
}

}  // namespace

const char* to_string(MemorySource source) { return source_names[static_cast<std::size_t>(source)]; }

std::int64_t to_mb(std::int64_t bytes) { return bytes <= 0 ? 0 : (bytes + ((1 << 20) - 1)) >> 20; }

std::string time_line_json(const std::vector<TimePoint>& line) {
  std::string out;
  JsonWriter json(out);
  json.begin_array();
  for (const auto& p : line)
    json.begin_array()
        .real(rounded(static_cast<double>(p.until_us) / us, 3))
        .real(rounded(p.cores, 2))
        .number(to_mb(p.memory))
        .number(to_mb(p.disk))
        .number(p.processes)
        .end_array();
  json.end_array();
  return out;
}

std::string to_json(const Measurement& m) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("wall_time").real(rounded(in_seconds(m.wall), 6));
  json.key("cpu_user").real(rounded(in_seconds(m.cpu_user), 6));
  json.key("cpu_system").real(rounded(in_seconds(m.cpu_system), 6));
  json.key("cores_average").real(rounded(m.cores_average, 3));
  json.key("cores_peak").real(rounded(m.cores_peak, 3));
  for (const auto& field : described)
    if (const auto& value = m.*field.value) json.field(field.key, *value);
  for (const auto& count : counts) json.field(count.key, m.*count.value);
  json.field("memory_source", to_string(m.memory_source));
  if (m.in_cgroup) json.key("cgroup").boolean(true);
  if (!m.exceeded.empty()) write_exceeded(json, m.exceeded);
  if (!m.time_line.empty()) json.key("time_line").raw(time_line_json(m.time_line));
  json.end_object();
  return out;
}

std::optional<Measurement> parse_measurement(std::string_view text) {
  const auto json = parse_json(text);
  if (!json || json->kind != JsonValue::Kind::object) return std::nullopt;
  Measurement m;
  m.wall = duration(*json, "wall_time");
  m.cpu_user = duration(*json, "cpu_user");
  m.cpu_system = duration(*json, "cpu_system");
  m.cores_average = std::clamp(json->number_of("cores_average").value_or(0), 0.0, 1e6);
  m.cores_peak = std::clamp(json->number_of("cores_peak").value_or(0), 0.0, 1e6);
  for (const auto& field : described) m.*field.value = integer(json->number_of(field.key));
  for (const auto& count : counts)
    m.*count.value = static_cast<std::int32_t>(std::clamp(json->number_of(count.key).value_or(0), 0.0, 2e9));
  if (const auto* source = json->find("memory_source"))
    for (std::size_t i = 0; i < source_names.size(); ++i)
      if (source->string == source_names[i]) m.memory_source = static_cast<MemorySource>(i);
  if (const auto* group = json->find("cgroup")) m.in_cgroup = group->boolean;
  if (const auto* exceeded = json->find("limits_exceeded")) read_exceeded(*exceeded, m.exceeded);
  if (const auto* line = json->find("time_line")) read_time_line(*line, m.time_line);
  return m;
}

std::string to_text(const Measurement& m, double gpus) {
  const auto mb = [](const std::optional<std::int64_t>& bytes) {
    return bytes ? std::to_string(to_mb(*bytes)) + " MB" : std::string("unknown");
  };
  char text[256];
  std::snprintf(text, sizeof text, "cores: %.1f, memory: %s, disk %s, gpus: %.1f, runtime %.1f s",
                std::max(m.cores_average, m.cores_peak), mb(m.memory).c_str(), mb(m.disk).c_str(), gpus,
                in_seconds(m.wall));
  return text;
}

}  // namespace taskmill::measure
