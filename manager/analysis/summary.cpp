// The numbers that end an analysis on the terminal.
#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.hpp"
#include "manager/analysis/report.hpp"
#include "manager/analysis/run_totals.hpp"
#include "manager/analysis/task_lines.hpp"
#include "manager/app/progress.hpp"

namespace taskmill::manager::analysis {
namespace {

constexpr std::size_t shown = 10;  // losses and causes of failure; the accounting and the report have all

std::string core_hours_line(const Executor& executor, const RunNumbers& run) {
  Totals all;
  for (const auto kind : phases) all.add(totals_of(executor, kind));
  std::string text = fmt::format("core-hours: {:.4f} useful", all.useful);
  const std::pair<double, const char*> wasted[] = {{all.exhausted_hours, "exhausted their box"},
                                                   {all.failed_hours, "failed"},
                                                   {all.lost_hours, "lost with a worker or stopped as too slow"},
                                                   {run.lost_copy_hours, "overtaken by a second copy"}};
  double sum = 0;
  std::string causes;
  for (const auto& [hours, cause] : wasted) {
    sum += hours;
    if (hours > 0) causes += fmt::format("{}{:.4f} {}", causes.empty() ? ": " : ", ", hours, cause);
  }
  return text + fmt::format(", {:.4f} wasted{}\n", sum, causes);
}

std::string failures_text(const Executor& executor) {
  std::string text;
  std::size_t number = 0;
  for (const auto& [cause, group] : executor.failures()) {
    if (++number > shown) break;
    text += fmt::format("  {} × {}: {}, e.g. {}\n", group.count, phase_name(cause.first), cause.second, group.example);
  }
  if (number > shown) text += fmt::format("  … and {} more causes\n", executor.failures().size() - shown);
  return text;
}

std::string losses_text(const Executor& executor) {
  const auto& losses = executor.planner().losses();
  std::string text;
  for (std::size_t i = 0; i < std::min(losses.size(), shown); ++i)
    text += fmt::format("given up: {}: {}\n", loss_name(executor, losses[i]), losses[i].reason);
  if (losses.size() > shown) text += fmt::format("… and {} more; the accounting lists all\n", losses.size() - shown);
  return text;
}

}  // namespace

std::string summary_text(const Executor& executor, const RunNumbers& run) {
  const auto progress = executor.planner().progress();
  const double elapsed = std::max(static_cast<double>(run.elapsed.count()) * 1e-6, 1e-6);
  std::string text =
      fmt::format("{} of {} events in {} ({:.0f} events/s)\n", progress.events_processed, progress.events_known,
                  clock_text(run.elapsed), static_cast<double>(progress.events_processed) / elapsed);
  text += core_hours_line(executor, run);
  text += fmt::format("{} retries, {} splits", progress.retries, progress.splits);
  if (run.stats.workers_lost > 0) text += fmt::format(", {} workers lost", run.stats.workers_lost);
  if (run.stats.stragglers_copied > 0)
    text += fmt::format(", {} second copies ({} came first)", run.stats.stragglers_copied, run.stats.copies_won);
  if (executor.kept_lost() > 0)
    text += fmt::format(", {} partial results lost with their workers and made again", executor.kept_lost());
  text += "\n" + failures_text(executor);
  text +=
      fmt::format("moved {} to workers and {} back\n", human_bytes(static_cast<std::uint64_t>(run.stats.bytes_sent)),
                  human_bytes(static_cast<std::uint64_t>(run.stats.bytes_received)));
  const auto slow = slow_hosts(executor);
  if (!slow.empty()) text += "slowest hosts:";
  for (std::size_t i = 0; i < std::min<std::size_t>(slow.size(), 3); ++i)
    text += fmt::format("{} {} ({:.2f} × the mean)", i > 0 ? "," : "", slow[i].first, slow[i].second);
  if (!slow.empty()) text += "\n";
  text += losses_text(executor);
  const auto advice = recommendations(executor);
  if (!advice.empty()) text += "for next time:";
  for (std::size_t i = 0; i < advice.size(); ++i) text += (i > 0 ? "; " : " ") + advice[i];
  return advice.empty() ? text : text + "\n";
}

}  // namespace taskmill::manager::analysis
