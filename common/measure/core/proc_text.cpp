#include "common/measure/core/proc_text.hpp"

#include <array>

#include "common/base/text.hpp"

namespace taskmill::measure {

namespace {

constexpr int max_cpu = 8192;

std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

/// "VmHWM:      1234 kB" -> 1263616; a bare number stays as it is.
std::optional<std::int64_t> sized_value(std::string_view value) {
  const auto number = parse_int(next_token(value));
  if (!number) return std::nullopt;
  return next_token(value) == "kB" ? *number * 1024 : *number;
}

/// Calls `visit(key, value)` for each "key: value" line.
template <class Visit>
void for_each_field(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    const auto line = next_line(text);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    if (const auto value = sized_value(trim(line.substr(colon + 1)))) visit(line.substr(0, colon), *value);
  }
}

}  // namespace

std::optional<ProcStat> parse_stat(std::string_view text) {
  // The name is whatever the program called itself; only the last ')' ends it.
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  ProcStat stat;
  const auto pid = parse_int(trim(text.substr(0, open)));
  if (!pid) return std::nullopt;
  stat.pid = *pid;
  stat.name = text.substr(open + 1, close - open - 1);
  auto rest = text.substr(close + 1);
  const auto state = next_token(rest);
  if (state.size() != 1) return std::nullopt;
  stat.state = state[0];
  std::array<std::int64_t, 21> field{};  // ppid (4th of proc(5)) up to rss (24th)
  for (auto& value : field) {
    const auto number = parse_int(next_token(rest));
    if (!number) return std::nullopt;
    value = *number;
  }
  stat.ppid = field[0];
  stat.group = field[1];
  stat.session = field[2];
  stat.user_ticks = field[10];
  stat.system_ticks = field[11];
  stat.children_user_ticks = field[12];
  stat.children_system_ticks = field[13];
  stat.threads = field[16];
  stat.start_time = static_cast<std::uint64_t>(field[18]);
  stat.virtual_size = field[19];
  stat.rss_pages = field[20];
  return stat;
}

ProcStatus parse_status(std::string_view text) {
  ProcStatus status;
  for_each_field(text, [&](std::string_view key, std::int64_t value) {
    if (key == "VmHWM")
      status.peak_rss = value;
    else if (key == "VmRSS")
      status.rss = value;
    else if (key == "RssAnon")
      status.rss_anonymous = value;
    else if (key == "VmSwap")
      status.swap = value;
    else if (key == "VmPeak")
      status.peak_virtual = value;
    else if (key == "VmSize")
      status.virtual_size = value;
    else if (key == "voluntary_ctxt_switches" || key == "nonvoluntary_ctxt_switches")
      status.context_switches = status.context_switches.value_or(0) + value;
  });
  return status;
}

std::optional<ProcIo> parse_io(std::string_view text) {
  ProcIo io;
  int seen = 0;
  for_each_field(text, [&](std::string_view key, std::int64_t value) {
    if (key == "rchar")
      io.chars_read = value;
    else if (key == "wchar")
      io.chars_written = value;
    else if (key == "read_bytes")
      io.storage_read = value;
    else if (key == "write_bytes")
      io.storage_written = value;
    else
      return;
    ++seen;
  });
  if (seen < 4) return std::nullopt;
  return io;
}

std::optional<ProcRollup> parse_smaps_rollup(std::string_view text) {
  ProcRollup rollup;
  bool any = false;
  for_each_field(text, [&](std::string_view key, std::int64_t value) {
    if (key == "Rss")
      rollup.rss = value;
    else if (key == "Pss") {
      rollup.pss = value;
      any = true;
    } else if (key == "Swap")
      rollup.swap = value;
    else if (key == "SwapPss")
      rollup.swap_pss = value;
  });
  if (!any) return std::nullopt;
  return rollup;
}

std::vector<std::int64_t> parse_children(std::string_view text) {
  std::vector<std::int64_t> pids;
  text = trim(text);
  while (!text.empty()) {
    const auto pid = parse_int(next_token(text));
    if (pid && *pid > 0) pids.push_back(*pid);
  }
  return pids;
}

std::vector<int> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  text = trim(text);
  if (text.empty()) return cpus;
  for (const auto part : split(text, ',')) {
    const auto dash = part.find('-');
    const auto first = parse_int(trim(part.substr(0, dash)));
    const auto last = dash == std::string_view::npos ? first : parse_int(trim(part.substr(dash + 1)));
    if (!first || !last || *first < 0 || *last < *first || *last >= max_cpu) return {};
    for (auto cpu = *first; cpu <= *last; ++cpu) cpus.push_back(static_cast<int>(cpu));
    if (cpus.size() > max_cpu) return {};
  }
  return cpus;
}

}  // namespace taskmill::measure
