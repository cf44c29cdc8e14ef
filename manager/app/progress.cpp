#include "manager/app/progress.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.hpp"
#include "manager/app/result_record.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t bar_width = 24;
constexpr std::size_t example_width = 100;

std::string one_line(std::string_view text, std::size_t width) {
  std::string line;
  for (const char c : text.substr(0, width)) line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return text.size() > width ? line + "…" : line;
}

std::string last_line(std::string_view output) {
  output = trim(output);
  const auto at = output.rfind('\n');
  return std::string(at == std::string_view::npos ? output : output.substr(at + 1));
}

std::string known(double value, const char* format) {
  return value >= 0 ? fmt::format(fmt::runtime(format), value) : "unknown";
}

std::string megabytes(std::int64_t value) { return value >= 0 ? fmt::format("{} MB", value) : "unknown"; }

std::string bar(double fraction) {
  const auto filled = static_cast<std::size_t>(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(bar_width));
  std::string text;
  for (std::size_t i = 0; i < bar_width; ++i) text += i < filled ? "━" : "─";
  return text;
}

// A task without its inputs may have been sent to a worker, but it was never started there.
bool has_run(const TaskOutcome& outcome) {
  return outcome.return_status >= 0 && outcome.result != protocol::ResultCode::input_missing;
}

}  // namespace

std::string submitted_line(TaskId task, const TaskSpec& spec) {
  return fmt::format("submitted task id {}: {}", task.value(), one_line(spec.command, example_width));
}

std::string allocated_line(const Resources& allocated) {
  return fmt::format("    allocated cores: {}, memory: {}, disk {}, gpus: {}", known(allocated.cores, "{:.1f}"),
                     megabytes(allocated.memory), megabytes(allocated.disk),
                     known(static_cast<double>(allocated.gpus), "{:.1f}"));
}

std::string measured_line(const Measurement& measured, const Resources& allocated, Duration execution) {
  const double runtime =
      measured.wall_time_s >= 0 ? measured.wall_time_s : static_cast<double>(execution.count()) * 1e-6;
  // Nobody measures GPUs; a task that was given none used none.
  const double gpus = measured.gpus >= 0 ? static_cast<double>(measured.gpus) : allocated.gpus > 0 ? -1 : 0;
  if (!measured.known())
    return fmt::format("    measured runtime {:.1f} s, the rest unknown (this worker does not measure)", runtime);
  return fmt::format("    measured cores: {}, memory: {}, disk {}, gpus: {}, runtime {:.1f} s",
                     known(measured.cores, "{:.1f}"), megabytes(measured.memory), megabytes(measured.disk),
                     known(gpus, "{:.1f}"), runtime);
}

std::string finished_lines(TaskId task, const TaskSpec& spec, const TaskOutcome& outcome) {
  const auto what = is_success(outcome) ? "success" : failure_cause(outcome);
  const auto where = outcome.hostname.empty() ? std::string() : " on " + outcome.hostname;
  const auto status = has_run(outcome) ? fmt::format(" return code {} ({})", outcome.return_status, what)
                                       : fmt::format(" did not run ({})", what);
  std::string text = fmt::format("task id {}{}{}.{}", task.value(),
                                 spec.tag.empty() ? "" : " " + one_line(spec.tag, 40), where, status);
  if (!outcome.message.empty()) text += "\n    " + one_line(outcome.message, 200);
  if (!outcome.measured.warning.empty()) text += "\n    warning: " + one_line(outcome.measured.warning, 200);
  if (outcome.try_count > 0 && has_run(outcome)) {
    text += "\n" + allocated_line(outcome.allocated) + "\n" +
            measured_line(outcome.measured, outcome.allocated, outcome.execute_last);
  }
  return text;
}

std::string clock_text(Duration duration) {
  const auto seconds = std::max<std::int64_t>(duration.count() / 1'000'000, 0);
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string progress_line(const ProgressNumbers& n, std::size_t width) {
  const double fraction = n.total > 0 ? static_cast<double>(n.done) / static_cast<double>(n.total) : 1;
  const double elapsed = static_cast<double>(n.elapsed.count()) * 1e-6;
  const double rate = elapsed > 0 ? static_cast<double>(n.done) / elapsed : 0;
  const auto left =
      rate > 0
          ? Duration(static_cast<std::int64_t>(static_cast<double>(n.total - std::min(n.total, n.done)) / rate * 1e6))
          : Duration(-1);
  const auto counts = fmt::format("{}/{}", n.done, n.total);
  const auto times =
      fmt::format("[ {} < {} | {} tasks/s ]", clock_text(n.elapsed), left.count() < 0 ? "-:--:--" : clock_text(left),
                  rate >= 10 ? fmt::format("{:.0f}", rate) : fmt::format("{:.1f}", rate));
  const auto state =
      fmt::format("{} running, {} waiting, {} workers, {} cores", n.running, n.waiting, n.workers, n.cores) +
      (n.failed > 0 ? fmt::format(", {} failed", n.failed) : "");
  // The most important first: what does not fit in `width` columns is left out, never wrapped.
  const auto percent = fmt::format("{:3.0f}%", fraction * 100);
  const std::size_t fixed = percent.size() + 1 + counts.size();
  if (width != 0 && fixed + 1 + times.size() > width) return percent + " " + counts;
  if (width != 0 && fixed + 1 + times.size() + 2 + state.size() > width) return percent + " " + counts + " " + times;
  if (width != 0 && fixed + 1 + times.size() + 2 + state.size() + bar_width + 1 > width) {
    return percent + " " + counts + " " + times + "  " + state;
  }
  return percent + " " + bar(fraction) + " " + counts + " " + times + "  " + state;
}

void Summary::add(TaskId task, const TaskSpec& spec, const TaskOutcome& outcome, std::string_view output) {
  const double cores = outcome.allocated.cores > 0 ? outcome.allocated.cores : 1;
  core_time_ += Duration(static_cast<std::int64_t>(static_cast<double>(outcome.execute_all.count()) * cores));
  if (outcome.try_count > 1) ++retried_;
  if (is_success(outcome)) {
    ++succeeded_;
    return;
  }
  ++failed_;
  Cause& cause = causes_[failure_cause(outcome)];
  if (++cause.count > 1) return;
  const auto evidence = !outcome.message.empty() ? outcome.message : last_line(output);
  cause.example = fmt::format(
      "task {}{}: {}{}", task.value(), outcome.hostname.empty() ? "" : " on " + outcome.hostname,
      one_line(spec.command, example_width), evidence.empty() ? "" : "\n        " + one_line(evidence, 160));
}

std::string Summary::text(Duration elapsed, const Stats& stats, std::uint64_t unfinished) const {
  std::string text = fmt::format("{} of {} tasks succeeded", succeeded_, done() + unfinished);
  if (failed_ > 0) text += fmt::format(", {} failed", failed_);
  if (unfinished > 0) text += fmt::format(", {} not finished", unfinished);
  if (retried_ > 0) text += fmt::format(", {} needed more than one try", retried_);
  text += "\n";
  std::vector<std::pair<std::string, Cause>> sorted(causes_.begin(), causes_.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.count > b.second.count; });
  for (const auto& [name, cause] : sorted)
    text += fmt::format("  {} × {}, e.g. {}\n", cause.count, name, cause.example);
  text += fmt::format("moved {} to workers and {} back", human_bytes(static_cast<std::uint64_t>(stats.bytes_sent)),
                      human_bytes(static_cast<std::uint64_t>(stats.bytes_received)));
  if (stats.peer_transfers > 0) {
    text += fmt::format(", {} from worker to worker ({} transfers)",
                        human_bytes(static_cast<std::uint64_t>(stats.bytes_by_peers)), stats.peer_transfers);
  }
  text += fmt::format("; wall time {}, core time {}", clock_text(elapsed), clock_text(core_time_));
  if (const auto& found = stats.environments; found.unpacked + found.found + found.failed > 0) {
    text += fmt::format("\nenvironments: unpacked {} times, found {} times; {} sent, {} taken from what was there",
                        found.unpacked, found.found, human_bytes(static_cast<std::uint64_t>(found.bytes_sent)),
                        human_bytes(static_cast<std::uint64_t>(found.bytes_reused)));
    if (found.failed > 0) text += fmt::format("; {} attempts failed", found.failed);
  }
  if (stats.workers_lost > 0) text += fmt::format("; {} workers were lost", stats.workers_lost);
  return text + "\n";
}

}  // namespace taskmill::manager
