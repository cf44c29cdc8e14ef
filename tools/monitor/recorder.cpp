#include "tools/monitor/recorder.hpp"

#include <algorithm>
#include <cstdio>
#include <initializer_list>

namespace taskmill::monitor {

namespace {

using measure::to_mb;

double whole_mb(std::int64_t bytes) { return static_cast<double>(bytes >> 20); }
double seconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }

constexpr std::initializer_list<Resource> totals = {Resource::cpu_time, Resource::bytes_read, Resource::bytes_written,
                                                    Resource::context_switches};

void raise(std::optional<double>& peak, const std::optional<double>& value) {
  if (value) peak = std::max(peak.value_or(0), *value);
}

}  // namespace

Recorder::Recorder(double wall_start, Machine machine) : wall_start_(wall_start), machine_(machine) {
  values_[Resource::start] = segment_begin_[Resource::start] = wall_start;
  peaks_[Resource::start] = 0;
}

void Recorder::add(const measure::Measurement& m, const measure::Usage& now, double load) {
  const auto before = values_;
  auto& v = values_;
  const double wall = seconds(m.wall);
  v[Resource::end] = wall_start_ + wall;
  v[Resource::wall_time] = wall;
  v[Resource::cpu_time] = seconds(m.cpu());
  const auto sized = [&](Resource r, const std::optional<std::int64_t>& bytes) {
    if (bytes) v[r] = static_cast<double>(to_mb(*bytes));
  };
  sized(Resource::memory, m.memory);
  sized(Resource::virtual_memory, m.virtual_memory);
  sized(Resource::swap_memory, m.swap);
  sized(Resource::disk, m.disk);
  if (m.files) v[Resource::total_files] = static_cast<double>(*m.files);
  if (m.bytes_read) v[Resource::bytes_read] = whole_mb(*m.bytes_read);
  if (m.bytes_written) v[Resource::bytes_written] = whole_mb(*m.bytes_written);
  v[Resource::cores] = m.cores_peak;
  v[Resource::cores_avg] = m.cores_average;
  v[Resource::machine_cpus] = machine_.cpus;
  raise(v[Resource::machine_load], load);
  if (m.context_switches) v[Resource::context_switches] = static_cast<double>(*m.context_switches);
  v[Resource::max_concurrent_processes] = m.max_processes;
  v[Resource::total_processes] = m.total_processes;
  v[Resource::gpus] = v[Resource::fs_nodes] = v[Resource::workers] = 0;
  note_growth(before, wall);

  now_ = v;
  now_[Resource::memory] = static_cast<double>(to_mb(now.memory));
  now_[Resource::virtual_memory] = static_cast<double>(to_mb(now.virtual_memory));
  now_[Resource::swap_memory] = static_cast<double>(to_mb(now.swap));
  now_[Resource::max_concurrent_processes] = static_cast<double>(now.processes);
  now_[Resource::machine_load] = load;
  if (m.disk) now_[Resource::disk] = static_cast<double>(to_mb(now.disk));
  if (m.files) now_[Resource::total_files] = static_cast<double>(now.files);
  for_each_resource([&](Resource r) { raise(segment_[r], now_[r]); });
}

void Recorder::note_growth(const Values& before, double at) {
  for_each_resource([&](Resource r) {
    if (values_[r] && *values_[r] > 0 && (!before[r] || *values_[r] > *before[r])) peaks_[r] = at;
  });
}

void Recorder::snapshot(const std::string& name) {
  Snapshot out{name, segment_};
  auto& v = out.values;
  v[Resource::start] = segment_begin_[Resource::start];
  v[Resource::end] = now_[Resource::end];
  const double wall = now_[Resource::end].value_or(0) - segment_begin_[Resource::start].value_or(0);
  v[Resource::wall_time] = wall;
  for (const auto r : totals)
    if (now_[r]) v[r] = *now_[r] - segment_begin_[r].value_or(0);
  v[Resource::cores] = v[Resource::cores_avg] = wall > 0 ? v[Resource::cpu_time].value_or(0) / wall : 0;
  snapshots_.push_back(std::move(out));
  segment_ = {};
  for (const auto r : totals) segment_begin_[r] = now_[r];
  segment_begin_[Resource::start] = now_[Resource::end];
}

std::string Recorder::series_header(bool disk) {
  std::string out =
      "# Units:\n"
      "# wall_clock and cpu_time in seconds\n"
      "# virtual, resident and swap memory in megabytes.\n"
      "# disk in megabytes.\n"
      "# bandwidth in Mbps, 0 when not measured.\n"
      "# cpu_time, bytes_read, bytes_written, bytes_sent, and bytes_received show cumulative values.\n"
      "#wall_clock cpu_time cores max_concurrent_processes virtual_memory memory swap_memory bytes_read bytes_written "
      "bytes_received bytes_sent bandwidth machine_load";
  if (disk) {
    char columns[80];
    std::snprintf(columns, sizeof columns, " %25s %25s", "total_files", "disk");
    out += columns;
  }
  return out + '\n';
}

std::string Recorder::series_row(bool disk) const {
  const auto value = [&](Resource r) { return now_[r].value_or(0); };
  const auto whole = [&](Resource r) { return std::to_string(static_cast<long long>(value(r))); };
  char head[96];
  std::snprintf(head, sizeof head, "%.6f %.6f %.3f", value(Resource::end), value(Resource::cpu_time),
                value(Resource::cores));
  std::string out = head;
  for (const auto r :
       {Resource::max_concurrent_processes, Resource::virtual_memory, Resource::memory, Resource::swap_memory,
        Resource::bytes_read, Resource::bytes_written, Resource::bytes_received, Resource::bytes_sent})
    out += ' ' + whole(r);
  out += " 0.000 " + whole(Resource::machine_load);
  if (disk) out += ' ' + whole(Resource::total_files) + ' ' + whole(Resource::disk);
  return out + '\n';
}

}  // namespace taskmill::monitor
