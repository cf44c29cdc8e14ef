#include "common/measure/core/limits.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace taskmill::measure {

namespace {

constexpr double mb = 1048576.0;
constexpr double cores_forgiven = 0.25;

double seconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }

template <class T>
void check(std::vector<Exceeded>& out, LimitKind kind, const std::optional<T>& limit, double used,
           bool enforced = true) {
  if (limit && used > 0 && used > static_cast<double>(*limit))
    out.push_back({kind, static_cast<double>(*limit), used, enforced});
}

/// Time until a growing value reaches its limit; nullopt when it does not grow towards one.
std::optional<double> time_to_reach(const std::optional<std::int64_t>& limit_mb, std::int64_t before, std::int64_t now,
                                    double seconds_between) {
  if (!limit_mb || seconds_between <= 0 || now <= before) return std::nullopt;
  const double rate = static_cast<double>(now - before) / seconds_between;
  return std::max(0.0, static_cast<double>(*limit_mb) * mb - static_cast<double>(now)) / rate;
}

}  // namespace

const char* to_string(LimitKind kind) {
  switch (kind) {
    case LimitKind::memory:
      return "memory";
    case LimitKind::disk:
      return "disk";
    case LimitKind::cores:
      return "cores";
    case LimitKind::wall_time:
      return "wall_time";
    case LimitKind::processes:
      return "processes";
    case LimitKind::cpu_time:
      return "cpu_time";
    case LimitKind::swap:
      return "swap_memory";
    case LimitKind::files:
      return "files";
  }
  return "?";
}

const char* unit_of(LimitKind kind) {
  switch (kind) {
    case LimitKind::memory:
    case LimitKind::disk:
    case LimitKind::swap:
      return "MB";
    case LimitKind::cores:
      return "cores";
    case LimitKind::wall_time:
    case LimitKind::cpu_time:
      return "s";
    case LimitKind::processes:
      return "processes";
    case LimitKind::files:
      return "files";
  }
  return "";
}

std::string to_text(const Exceeded& e) {
  const char* unit = unit_of(e.kind);
  const bool fraction = e.kind == LimitKind::cores || e.kind == LimitKind::wall_time || e.kind == LimitKind::cpu_time;
  char text[160];
  // Rounded up: "100 MB used, 100 MB allowed" would puzzle people.
  if (fraction)
    std::snprintf(text, sizeof text, "%s: %.2f %s used, %.2f %s allowed", to_string(e.kind), e.used, unit, e.allowed,
                  unit);
  else
    std::snprintf(text, sizeof text, "%s: %.0f %s used, %.0f %s allowed", to_string(e.kind), std::ceil(e.used), unit,
                  e.allowed, unit);
  return text;
}

std::vector<Exceeded> decide(const Limits& limits, const Usage& usage) {
  std::vector<Exceeded> out;
  check(out, LimitKind::memory, limits.memory, static_cast<double>(usage.memory) / mb);
  check(out, LimitKind::swap, limits.swap, static_cast<double>(usage.swap) / mb);
  check(out, LimitKind::disk, limits.disk, static_cast<double>(usage.disk) / mb);
  check(out, LimitKind::files, limits.files, static_cast<double>(usage.files));
  check(out, LimitKind::processes, limits.processes, static_cast<double>(usage.processes));
  check(out, LimitKind::wall_time, limits.wall_time, seconds(usage.wall));
  check(out, LimitKind::cpu_time, limits.cpu_time, seconds(usage.cpu));
  if (limits.cores && usage.cores - cores_forgiven > *limits.cores)
    out.push_back({LimitKind::cores, *limits.cores, usage.cores, limits.cores_enforced});
  return out;
}

Duration next_interval(const Limits& limits, const Usage& before, const Usage& now, Duration between, Duration least,
                       Duration regular) {
  // Half of the time that is left: a steady growth is then seen several times before it gets there.
  double next = seconds(regular);
  const double elapsed = seconds(between);
  if (const auto t = time_to_reach(limits.memory, before.memory, now.memory, elapsed)) next = std::min(next, *t / 2);
  if (const auto t = time_to_reach(limits.disk, before.disk, now.disk, elapsed)) next = std::min(next, *t / 2);
  if (limits.wall_time && seconds(now.wall) < *limits.wall_time)
    next = std::min(next, *limits.wall_time - seconds(now.wall) + 0.001);
  if (limits.processes && now.processes * 2 > *limits.processes) next = std::min(next, seconds(least));
  const auto result = Duration{static_cast<std::int64_t>(next * 1e6)};
  return std::clamp(result, std::min(least, regular), regular);
}

}  // namespace taskmill::measure
