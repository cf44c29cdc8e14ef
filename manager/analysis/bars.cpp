#include "manager/analysis/bars.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "manager/app/progress.hpp"

namespace taskmill::manager::analysis {
namespace {

constexpr std::size_t full_bar = 32;
constexpr std::size_t label_width = 13;

struct Bar {
  const char* label;
  const char* unit;  ///< seven columns
  std::uint64_t done, total;
  Duration begin, end;
};

// At most three characters, so that a blank is left before the unit.
std::string rate_text(double rate) {
  if (rate <= 0) return "?";
  if (rate < 9.95) return fmt::format("{:.1f}", rate);
  if (rate < 999.5) return fmt::format("{:.0f}", rate);
  return rate < 999.5e3 ? fmt::format("{:.0f}k", rate / 1e3) : fmt::format("{:.0f}M", rate / 1e6);
}

std::string times_text(const Bar& bar, Duration elapsed) {
  const Duration spent = bar.begin.count() < 0 ? Duration(0) : (bar.end.count() >= 0 ? bar.end : elapsed) - bar.begin;
  const double seconds = static_cast<double>(spent.count()) * 1e-6;
  const double rate = seconds > 0 ? static_cast<double>(bar.done) / seconds : 0;
  std::string left = "-:--:--";
  if (bar.done >= bar.total && bar.total > 0)
    left = clock_text(Duration(0));
  else if (rate > 0)
    left = clock_text(Duration(static_cast<std::int64_t>(static_cast<double>(bar.total - bar.done) / rate * 1e6)));
  return fmt::format(" [ {} < {} | {:<4}{:>7} ]", clock_text(spent), left, rate_text(rate), bar.unit);
}

std::string filled(std::size_t width, double fraction) {
  const auto cells = static_cast<std::size_t>(fraction * static_cast<double>(width));
  std::string text;
  for (std::size_t i = 0; i < width; ++i) text += i < cells ? "━" : " ";
  return text;
}

}  // namespace

void update_times(BarTimes& times, const Progress& p, Duration elapsed) {
  const auto note = [elapsed](Duration& slot, bool happened) {
    if (slot.count() < 0 && happened) slot = elapsed;
  };
  note(times.preprocessing, p.files_total > 0);
  note(times.preprocessing_end, p.files_total > 0 && p.files_counted >= p.files_total);
  note(times.processing, p.events_submitted > 0);
  const bool all_known = p.files_counted >= p.files_total;
  note(times.submitted_end, all_known && p.events_submitted > 0 && p.events_submitted >= p.events_known);
  note(times.processing_end,
       all_known && p.events_processed > 0 && p.events_processed + p.events_lost >= p.events_known);
  note(times.accumulating, p.accumulations_done > 0);
  note(times.accumulating_end,
       times.processing_end.count() >= 0 && p.in_flight == 0 && p.accumulations_done >= p.accumulations_expected);
}

// What does not fit is left out, the least important first: the bar shrinks and goes, then the times, then the counts.
std::vector<std::string> bar_lines(const Progress& p, const BarTimes& times, Duration elapsed, std::size_t width) {
  const Bar bars[] = {
      {"Preprocessing", "file/s", p.files_counted, p.files_total, times.preprocessing, times.preprocessing_end},
      {"Submitted", "event/s", p.events_submitted, p.events_known, times.processing, times.submitted_end},
      {"Processed", "event/s", p.events_processed, p.events_known, times.processing, times.processing_end},
      {"Accumulated", "tasks/s", p.accumulations_done, p.accumulations_expected, times.accumulating,
       times.accumulating_end},
  };
  std::size_t count_width = 0;
  std::size_t times_width = 0;
  for (const auto& bar : bars) {
    count_width = std::max(count_width, fmt::format("{}/{}", bar.done, bar.total).size());
    times_width = std::max(times_width, times_text(bar, elapsed).size());
  }
  const std::size_t head = label_width + 5;  // "Preprocessing 100%"
  const std::size_t counts = 1 + count_width;
  const bool limited = width != 0;
  const bool with_counts = !limited || head + counts <= width;
  const bool with_times = !limited || head + counts + times_width <= width;
  const std::size_t used = head + counts + (with_times ? times_width : 0);
  const std::size_t bar_width = !limited ? full_bar : std::min(full_bar, width > used + 1 ? width - used - 1 : 0);
  std::vector<std::string> lines;
  for (const auto& bar : bars) {
    const double fraction =
        bar.total > 0 ? std::min(1.0, static_cast<double>(bar.done) / static_cast<double>(bar.total)) : 0;
    const double shown = bar.done < bar.total ? std::min(fraction, 0.99) : fraction;
    std::string line = fmt::format("{:>13} {:3.0f}%", bar.label, shown * 100);
    if (limited && head > width) line.resize(width);
    if (with_counts && bar_width > 0) line += " " + filled(bar_width, fraction);
    if (with_counts) line += fmt::format(" {:>{}}", fmt::format("{}/{}", bar.done, bar.total), count_width);
    if (with_times) line += times_text(bar, elapsed);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string plain_line(const Progress& p, Duration elapsed, std::int64_t workers) {
  const double percent =
      p.events_known > 0 ? 100.0 * static_cast<double>(p.events_processed) / static_cast<double>(p.events_known) : 0;
  return fmt::format("{} {}/{} files, {}/{} events ({:.0f}%), {} merges done, {} tasks in flight, {} workers{}",
                     clock_text(elapsed), p.files_counted, p.files_total, p.events_processed, p.events_known, percent,
                     p.accumulations_done, p.in_flight, workers,
                     p.events_lost > 0 ? fmt::format(", {} events lost", p.events_lost) : "");
}

}  // namespace taskmill::manager::analysis
