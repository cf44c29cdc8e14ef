#include "manager/analysis/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "common/base/text.hpp"
#include "manager/analysis/run_totals.hpp"
#include "manager/analysis/task_lines.hpp"

namespace taskmill::manager::analysis {
namespace {

constexpr std::size_t max_drawn_tasks = 4000;
constexpr std::size_t max_losses_shown = 100;

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

double seconds_of(WallTime time) { return static_cast<double>(time.time_since_epoch().count()) * 1e-6; }

struct Span {
  double begin = 0, end = 1;
};

Span run_span(const Executor& executor) {
  Span span{1e300, -1e300};
  for (const auto& trace : executor.traces()) {
    span.begin = std::min(span.begin, seconds_of(trace.start));
    span.end = std::max(span.end, seconds_of(trace.end));
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
    const double begin = seconds_of(trace.start) - span.begin;
    const double end = seconds_of(trace.end) - span.begin;
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

constexpr int chart_width = 1000;
constexpr int chart_height = 160;

// Tasks that ran at a time, as a filled outline in 200 steps; cores connected as a line of steps.
std::vector<double> busy_tasks(const Executor& executor, const Span& span) {
  constexpr int slots = 200;
  std::vector<double> busy(slots, 0);
  const double scale = slots / (span.end - span.begin);
  for (const auto& trace : executor.traces()) {
    const double begin = (seconds_of(trace.start) - span.begin) * scale;
    const double end = (seconds_of(trace.end) - span.begin) * scale;
    for (int slot = std::max(0, static_cast<int>(begin)); slot <= std::min(slots - 1, static_cast<int>(end)); ++slot) {
      busy[static_cast<std::size_t>(slot)] +=
          std::clamp(std::min(end, slot + 1.0) - std::max(begin, static_cast<double>(slot)), 0.0, 1.0);
    }
  }
  return busy;
}

std::string workers_svg(const Executor& executor, const RunNumbers& run) {
  const auto span = run_span(executor);
  const auto busy = busy_tasks(executor, span);
  double top = std::max(1.0, *std::max_element(busy.begin(), busy.end()));
  for (const auto& sample : run.workers) top = std::max(top, static_cast<double>(sample.cores));
  const auto x_of = [&](double fraction) { return 40 + (chart_width - 60) * std::clamp(fraction, 0.0, 1.0); };
  const auto y_of = [&](double value) { return chart_height - 30 - (chart_height - 50) * value / top; };
  std::string area = fmt::format("M40 {}", chart_height - 30);
  for (std::size_t slot = 0; slot < busy.size(); ++slot)
    area += fmt::format(" L{:.1f} {:.1f}", x_of((static_cast<double>(slot) + 0.5) / static_cast<double>(busy.size())),
                        y_of(busy[slot]));
  area += fmt::format(" L{} {} Z", chart_width - 20, chart_height - 30);
  const auto steps = [&](auto value) {
    std::string path;
    for (const auto& sample : run.workers) {
      const double x = x_of((seconds_of(sample.at) - span.begin) / (span.end - span.begin));
      path += path.empty() ? fmt::format("M{:.1f} {:.1f}", x, y_of(value(sample)))
                           : fmt::format(" H{:.1f} V{:.1f}", x, y_of(value(sample)));
    }
    return path.empty() ? path : path + fmt::format(" H{}", chart_width - 20);
  };
  return fmt::format(
      "<svg viewBox='0 0 {} {}' role='img' aria-label='workers, cores and running tasks over time'>"
      "<path d='{}' fill='#3b6ea5' fill-opacity='0.35'/>"
      "<path d='{}' fill='none' stroke='#c98a2b' stroke-width='2'/>"
      "<path d='{}' fill='none' stroke='#555' stroke-width='1.5' stroke-dasharray='5 3'/>"
      "<text x='4' y='24'>{:.0f}</text>{}</svg>",
      chart_width, chart_height, area, steps([](const auto& s) { return static_cast<double>(s.cores); }),
      steps([](const auto& s) { return static_cast<double>(s.workers); }), top,
      time_axis(span.end - span.begin, chart_width, chart_height - 8));
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

std::string failures_section(const Executor& executor) {
  std::string html = "<h2>failures</h2>";
  if (executor.failures().empty()) return html + "<p>No attempt failed.</p>";
  html += "<table><tr><th>attempts</th><th>phase</th><th>cause</th><th>first example</th></tr>";
  for (const auto& [cause, group] : executor.failures())
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", group.count, phase_name(cause.first),
                        escaped(cause.second), escaped(group.example));
  html += "</table>";
  const auto& losses = executor.planner().losses();
  if (losses.empty()) return html + "<p>Everything worked in the end: nothing was given up.</p>";
  html += "<h2>given up</h2><table><tr><th>what</th><th>reason</th></tr>";
  for (std::size_t i = 0; i < std::min(losses.size(), max_losses_shown); ++i)
    html += fmt::format("<tr><td>{}</td><td>{}</td></tr>", escaped(loss_name(executor, losses[i])),
                        escaped(losses[i].reason));
  html += "</table>";
  if (losses.size() > max_losses_shown)
    html += fmt::format("<p>… and {} more; the accounting lists all.</p>", losses.size() - max_losses_shown);
  return html;
}

}  // namespace

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
  html +=
      "<h2>workers over time</h2><p class='key'><span style='background:#c98a2b'></span>cores"
      "<span style='background:#555'></span>workers<span style='background:#3b6ea5'></span>tasks running</p>" +
      workers_svg(executor, run);
  for (const auto kind : phases) html += phase_section(executor, kind);
  return html + failures_section(executor) + "</body></html>\n";
}

}  // namespace taskmill::manager::analysis
