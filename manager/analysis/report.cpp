#include "manager/analysis/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>

#include "common/base/text.hpp"
#include "manager/analysis/task_lines.hpp"
#include "manager/app/progress.hpp"

namespace taskmill::manager::analysis {
namespace {

constexpr ItemKind phases[] = {ItemKind::preprocess, ItemKind::process, ItemKind::accumulate};
constexpr std::size_t max_drawn_tasks = 4000;

double seconds(const TaskTrace& trace) { return static_cast<double>((trace.end - trace.start).count()) * 1e-6; }
double core_hours(const TaskTrace& trace) { return seconds(trace) * std::max(trace.cores, 1.0) / 3600; }

struct Totals {
  std::uint64_t tasks = 0, failed = 0, exhausted = 0;
  double useful = 0, wasted_exhausted = 0, wasted_failed = 0, longest = 0, sum = 0, memory_peak = -1;
};

Totals totals_of(const Executor& executor, ItemKind kind) {
  Totals totals;
  for (const auto& trace : executor.traces()) {
    if (trace.kind != kind) continue;
    ++totals.tasks;
    const double spent = core_hours(trace);
    if (trace.succeeded)
      totals.useful += spent;
    else if (trace.exhausted)
      totals.wasted_exhausted += spent, ++totals.exhausted;
    else
      totals.wasted_failed += spent, ++totals.failed;
    totals.longest = std::max(totals.longest, seconds(trace));
    totals.sum += seconds(trace);
    totals.memory_peak = std::max(totals.memory_peak, trace.memory_mb);
  }
  return totals;
}

/// Hosts by time per event, slowest first, with their factor over the mean.
std::vector<std::pair<std::string, double>> slow_hosts(const Executor& executor) {
  std::map<std::uint32_t, std::pair<double, double>> by_host;
  double all_time = 0;
  double all_events = 0;
  for (const auto& trace : executor.traces()) {
    if (trace.kind != ItemKind::process || !trace.succeeded || trace.events == 0) continue;
    by_host[trace.host].first += seconds(trace);
    by_host[trace.host].second += static_cast<double>(trace.events);
    all_time += seconds(trace);
    all_events += static_cast<double>(trace.events);
  }
  std::vector<std::pair<std::string, double>> slow;
  if (all_time <= 0 || all_events <= 0) return slow;
  for (const auto& [host, sums] : by_host)
    slow.emplace_back(executor.hosts()[host], sums.first / sums.second / (all_time / all_events));
  std::sort(slow.begin(), slow.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return slow;
}

std::vector<std::string> recommendations(const Executor& executor) {
  std::vector<std::string> lines;
  const auto process = totals_of(executor, ItemKind::process);
  const auto& planner = executor.planner();
  const auto count = static_cast<double>(process.tasks);
  if (executor.description().planner.dynamic_chunksize) {
    lines.push_back(fmt::format("chunksize = {}", planner.chunk_size_now()));
  } else if (process.tasks > 0 && process.sum / count < 1) {
    const double factor = 30 / std::max(process.sum / count, 1e-3);
    const auto size =
        std::bit_floor(static_cast<std::uint64_t>(static_cast<double>(planner.chunk_size_now()) * factor));
    lines.push_back(fmt::format("chunksize = {} (a chunk took only {:.2f} s)", size, process.sum / count));
  } else if (process.tasks > 0 && process.sum / count > 1800) {
    lines.push_back(fmt::format("a smaller chunksize (a chunk took {:.0f} s)", process.sum / count));
  }
  if (process.memory_peak > 0)
    lines.push_back(fmt::format("memory = {} for processing (highest measured {:.0f} MB)",
                                static_cast<std::int64_t>(process.memory_peak * 1.1) / 50 * 50 + 50,
                                process.memory_peak));
  return lines;
}

// --- HTML ---

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

const char* phase_color(ItemKind kind) {
  return kind == ItemKind::preprocess ? "#7a9e9f" : kind == ItemKind::process ? "#3b6ea5" : "#c98a2b";
}

struct Span {
  double begin = 0, end = 1;
};

Span run_span(const Executor& executor) {
  Span span{1e300, -1e300};
  for (const auto& trace : executor.traces()) {
    span.begin = std::min(span.begin, static_cast<double>(trace.start.time_since_epoch().count()) * 1e-6);
    span.end = std::max(span.end, static_cast<double>(trace.end.time_since_epoch().count()) * 1e-6);
  }
  if (span.end <= span.begin) return {0, 1};
  return span;
}

std::string time_axis(double span, int width, int y) {
  std::string svg;
  for (int i = 0; i <= 5; ++i) {
    const double x = 40 + (width - 60) * i / 5.0;
    svg += fmt::format("<text x='{:.0f}' y='{}' text-anchor='middle'>{:.1f} s</text>", x, y, span * i / 5);
  }
  return svg;
}

// Tasks in lanes: each takes the first lane that is free, hosts kept together.
std::string time_line_svg(const Executor& executor) {
  const auto span = run_span(executor);
  std::vector<TaskTrace> traces(executor.traces());
  const std::size_t step = traces.size() / max_drawn_tasks + 1;
  std::sort(traces.begin(), traces.end(),
            [](const auto& a, const auto& b) { return std::tie(a.host, a.start) < std::tie(b.host, b.start); });
  constexpr int width = 1000;
  std::string body;
  std::vector<std::pair<std::uint32_t, double>> lanes;
  for (std::size_t i = 0; i < traces.size(); i += step) {
    const auto& trace = traces[i];
    const double begin = static_cast<double>(trace.start.time_since_epoch().count()) * 1e-6 - span.begin;
    const double end = static_cast<double>(trace.end.time_since_epoch().count()) * 1e-6 - span.begin;
    auto lane = std::find_if(lanes.begin(), lanes.end(),
                             [&](const auto& l) { return l.first == trace.host && l.second <= begin; });
    if (lane == lanes.end()) lane = lanes.insert(lanes.end(), {trace.host, 0});
    lane->second = end;
    const double scale = (width - 60) / (span.end - span.begin);
    body += fmt::format(
        "<rect x='{:.1f}' y='{}' width='{:.1f}' height='8' fill='{}'><title>{} {:.2f} s on {}</title></rect>",
        40 + begin * scale, 12 + 10 * (lane - lanes.begin()), std::max(0.7, (end - begin) * scale),
        trace.succeeded ? phase_color(trace.kind) : "#b3352c", phase_name(trace.kind), end - begin,
        escaped(executor.hosts()[trace.host]));
  }
  const int height = 40 + 10 * static_cast<int>(lanes.size());
  return fmt::format("<svg viewBox='0 0 {} {}' role='img' aria-label='task time line'>{}{}</svg>", width, height, body,
                     time_axis(span.end - span.begin, width, height - 8));
}

std::string workers_svg(const Executor& executor) {
  const auto span = run_span(executor);
  constexpr int width = 1000;
  constexpr int height = 160;
  constexpr int slots = 200;
  std::vector<double> busy(slots, 0);
  for (const auto& trace : executor.traces()) {
    const double scale = slots / (span.end - span.begin);
    const double begin = (static_cast<double>(trace.start.time_since_epoch().count()) * 1e-6 - span.begin) * scale;
    const double end = (static_cast<double>(trace.end.time_since_epoch().count()) * 1e-6 - span.begin) * scale;
    for (int slot = std::max(0, static_cast<int>(begin)); slot <= std::min(slots - 1, static_cast<int>(end)); ++slot) {
      busy[static_cast<std::size_t>(slot)] +=
          std::clamp(std::min(end, slot + 1.0) - std::max(begin, static_cast<double>(slot)), 0.0, 1.0);
    }
  }
  const double top = std::max(1.0, *std::max_element(busy.begin(), busy.end()));
  std::string path = fmt::format("M40 {}", height - 30);
  for (int slot = 0; slot < slots; ++slot) {
    path += fmt::format(" L{:.1f} {:.1f}", 40 + (width - 60) * (slot + 0.5) / slots,
                        height - 30 - (height - 50) * busy[static_cast<std::size_t>(slot)] / top);
  }
  path += fmt::format(" L{} {} Z", width - 20, height - 30);
  return fmt::format(
      "<svg viewBox='0 0 {} {}' role='img' aria-label='tasks running over time'><path d='{}' fill='#3b6ea5' "
      "fill-opacity='0.5' stroke='#3b6ea5'/>"
      "<text x='4' y='24'>{:.0f}</text>{}</svg>",
      width, height, path, top, time_axis(span.end - span.begin, width, height - 8));
}

// A histogram of thirty bins from zero to the largest value.
std::string distribution_svg(std::vector<double> values, const char* unit, const char* color) {
  if (values.empty()) return "<p>not measured</p>";
  constexpr int bins = 30;
  constexpr int width = 480;
  constexpr int height = 170;
  const double top = std::max(*std::max_element(values.begin(), values.end()), 1e-9);
  std::vector<std::size_t> counts(bins, 0);
  for (const double value : values)
    ++counts[static_cast<std::size_t>(std::min<double>(bins - 1, std::max(0.0, value / top * bins)))];
  const auto highest = static_cast<double>(*std::max_element(counts.begin(), counts.end()));
  std::string body;
  for (int i = 0; i < bins; ++i) {
    const double h = (height - 50) * static_cast<double>(counts[static_cast<std::size_t>(i)]) / highest;
    body += fmt::format("<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='{}'/>",
                        40 + (width - 60.0) * i / bins, height - 30 - h, (width - 60.0) / bins - 1, h, color);
  }
  return fmt::format(
      "<svg viewBox='0 0 {} {}' role='img'>{}<text x='40' y='{}'>0</text><text x='{}' y='{}' text-anchor='end'>{:.3g} "
      "{}</text><text x='4' y='24'>{:.0f}</text></svg>",
      width, height, body, height - 10, width - 20, height - 10, top, unit, highest);
}

std::string phase_section(const Executor& executor, ItemKind kind) {
  const auto totals = totals_of(executor, kind);
  if (totals.tasks == 0) return {};
  std::vector<double> times;
  std::vector<double> memory;
  for (const auto& trace : executor.traces()) {
    if (trace.kind != kind || !trace.succeeded) continue;
    times.push_back(seconds(trace));
    if (trace.memory_mb >= 0) memory.push_back(trace.memory_mb);
  }
  return fmt::format(
      "<h2>{}</h2><p>{} attempts, {} failed, {} exhausted; mean {:.2f} s, longest {:.2f} s.</p>"
      "<div class='pair'><figure>{}<figcaption>run time of successful tasks</figcaption></figure>"
      "<figure>{}<figcaption>peak memory</figcaption></figure></div>",
      phase_name(kind), totals.tasks, totals.failed, totals.exhausted, totals.sum / static_cast<double>(totals.tasks),
      totals.longest, distribution_svg(times, "s", phase_color(kind)),
      distribution_svg(memory, "MB", phase_color(kind)));
}

std::string losses_section(const Executor& executor) {
  std::map<std::string, std::pair<std::size_t, std::string>> causes;
  for (const auto& loss : executor.planner().losses()) {
    auto& entry = causes[std::string(phase_name(loss.kind)) + ": " + loss.reason.substr(0, loss.reason.find(';'))];
    if (entry.first++ == 0)
      entry.second =
          executor.planner().file_name(loss.file) + fmt::format(" events {} to {}", loss.range.first, loss.range.last);
  }
  if (causes.empty()) return "<h2>failures</h2><p>Nothing was given up.</p>";
  std::string rows;
  for (const auto& [cause, entry] : causes)
    rows +=
        fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>", entry.first, escaped(cause), escaped(entry.second));
  return "<h2>failures</h2><table><tr><th>number</th><th>cause</th><th>first example</th></tr>" + rows + "</table>";
}

}  // namespace

std::string summary_text(const Executor& executor, const RunNumbers& run) {
  const auto progress = executor.planner().progress();
  const double elapsed = std::max(static_cast<double>(run.elapsed.count()) * 1e-6, 1e-6);
  Totals all;
  for (const auto kind : phases) {
    const auto totals = totals_of(executor, kind);
    all.useful += totals.useful;
    all.wasted_exhausted += totals.wasted_exhausted;
    all.wasted_failed += totals.wasted_failed;
  }
  std::string text =
      fmt::format("{} of {} events in {} ({:.0f} events/s)\n", progress.events_processed, progress.events_known,
                  clock_text(run.elapsed), static_cast<double>(progress.events_processed) / elapsed);
  text += fmt::format(
      "core-hours: {:.3f} useful, {:.3f} lost to exhausted chunks, {:.3f} lost to failures; {} retries, {} splits\n",
      all.useful, all.wasted_exhausted, all.wasted_failed, progress.retries, progress.splits);
  text +=
      fmt::format("moved {} to workers and {} back\n", human_bytes(static_cast<std::uint64_t>(run.stats.bytes_sent)),
                  human_bytes(static_cast<std::uint64_t>(run.stats.bytes_received)));
  const auto slow = slow_hosts(executor);
  if (slow.size() > 1) {
    text += "slowest hosts:";
    for (std::size_t i = 0; i < std::min<std::size_t>(slow.size(), 3); ++i)
      text += fmt::format("{} {} ({:.2f} × the mean)", i > 0 ? "," : "", slow[i].first, slow[i].second);
    text += "\n";
  }
  for (const auto& loss : executor.planner().losses()) {
    text += fmt::format(
        "given up: {}{}: {}\n",
        loss.kind == ItemKind::accumulate ? std::string("a merge") : executor.planner().file_name(loss.file),
        loss.range.count() > 0 ? fmt::format(" events {} to {}", loss.range.first, loss.range.last) : "", loss.reason);
  }
  const auto advice = recommendations(executor);
  if (!advice.empty()) text += "for next time:";
  for (std::size_t i = 0; i < advice.size(); ++i) text += (i > 0 ? "; " : " ") + advice[i];
  return advice.empty() ? text : text + "\n";
}

std::string report_html(const Executor& executor, const RunNumbers& run) {
  std::string html =
      "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>" + escaped(executor.description().name) +
      "</title><style>body{font:15px/1.5 sans-serif;max-width:1040px;margin:2em auto;padding:0 1em;color:#222}"
      "svg{width:100%;background:#f6f7f8}svg text{font-size:11px;fill:#444}figure{margin:0}figcaption{color:#555}"
      ".pair{display:grid;grid-template-columns:1fr 1fr;gap:1em}table{border-collapse:collapse}td,th{padding:.2em .8em;"
      "border-bottom:1px solid #ddd;text-align:left}pre{background:#f6f7f8;padding:1em;overflow:auto}"
      ".key span{display:inline-block;width:1em;height:.8em;margin:0 .3em 0 1em}</style></head><body>";
  html +=
      "<h1>" + escaped(executor.description().name) + "</h1><pre>" + escaped(summary_text(executor, run)) + "</pre>";
  html += "<h2>task time line</h2><p class='key'>";
  for (const auto kind : phases)
    html += fmt::format("<span style='background:{}'></span>{}", phase_color(kind), phase_name(kind));
  html += "<span style='background:#b3352c'></span>failed or exhausted</p>" + time_line_svg(executor);
  html += "<h2>tasks running</h2>" + workers_svg(executor);
  for (const auto kind : phases) html += phase_section(executor, kind);
  return html + losses_section(executor) + "</body></html>\n";
}

}  // namespace taskmill::manager::analysis
