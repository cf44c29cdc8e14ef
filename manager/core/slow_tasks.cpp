// Tasks that take much longer than their kind: killed and tried elsewhere (fast abort, manager.md 14.2), or copied to
// another worker while the first goes on (stragglers). Only the oldest running attempts of a category can be due, so a
// category is watched from the head of its list of running attempts, with one timer.
#include <algorithm>

#include "manager/core/state.hpp"

namespace taskmill::manager {
namespace {
constexpr Duration retry_copy{std::chrono::seconds(1)};
}

std::optional<Duration> State::abort_threshold(const Category& category) const {
  std::optional<double> factor = category.settings().fast_abort;
  if (!factor) {
    const auto at = category_names.find("default");
    factor =
        at != category_names.end() ? categories[at->second].settings().fast_abort : config.default_category.fast_abort;
  }
  if (!factor || *factor < 1 || category.count.successes < static_cast<std::uint64_t>(config.fast_abort_min_samples))
    return std::nullopt;
  const double average = static_cast<double>(category.count.execute_us + category.count.transfer_us) /
                         static_cast<double>(category.count.successes);
  return Duration(static_cast<std::int64_t>(average * *factor));
}

std::optional<Duration> State::copy_threshold(const Category& category) const {
  if (config.stragglers != Stragglers::replicate) return std::nullopt;
  const Durations& d = category.durations;
  if (d.count() < static_cast<std::uint64_t>(config.straggler_min_samples)) return std::nullopt;
  const Duration outlier(
      static_cast<std::int64_t>(static_cast<double>(d.quantile(0.95).count()) * config.straggler_factor));
  return std::max(outlier, d.quantile(0.5) + config.straggler_min);
}

void State::arm_slow_watch(std::uint32_t index) {
  Category& category = categories[index];
  if (category.watch_armed || category.running_head == no_index) return;
  const auto abort_after = abort_threshold(category);
  const auto copy_after = copy_threshold(category);
  if (!abort_after && !copy_after) return;
  Duration least = abort_after && copy_after ? std::min(*abort_after, *copy_after)
                   : abort_after             ? *abort_after
                                             : *copy_after;
  // A first look soon enough; watch_slow() then sets exact reminders while something can still become due.
  category.watch_armed = true;
  timers.add({now.time + std::max(least / 4, Duration(1000)), TimerKind::slow_tasks, index, 0});
}

void State::watch_slow(std::uint32_t index) {
  Category& category = categories[index];
  category.watch_armed = false;
  const auto abort_after = abort_threshold(category);
  const auto copy_after = copy_threshold(category);
  if (!abort_after && !copy_after) return;
  const Duration average = abort_after.value_or(Duration::max());
  const double factor_base = abort_after ? static_cast<double>(category.count.execute_us + category.count.transfer_us) /
                                               static_cast<double>(category.count.successes)
                                         : 0;
  std::optional<Time> next;
  const auto remind = [&next](Time at) { next = next ? std::min(*next, at) : at; };
  std::vector<std::uint32_t> to_abort;
  std::vector<std::uint32_t> to_copy;
  for (std::uint32_t i = category.running_head; i != no_index; i = attempts[i].newer) {
    const Attempt& a = attempts[i];
    const Duration elapsed = now.time - a.started;
    bool young = true;
    if (!a.counted || workers[a.worker].foreman || a.awaits_environment) continue;
    if (abort_after) {
      // Every abort lets the next try run one average longer.
      const auto count = history_of(a.task).outcome.fast_abort_count;
      const Duration limit = average + Duration(static_cast<std::int64_t>(factor_base * count));
      if (elapsed >= limit) {
        to_abort.push_back(i);
        young = false;
      } else {
        remind(a.started + limit);
      }
    }
    if (copy_after && young && !a.copied && spec_of(tasks[a.task])->may_run_twice != 0) {
      if (elapsed >= *copy_after) {
        to_copy.push_back(i);
        young = false;
      } else {
        remind(a.started + *copy_after);
      }
    }
    if (young && elapsed < std::min(average, copy_after.value_or(Duration::max()))) break;
  }
  for (const std::uint32_t i : to_abort) fast_abort(i);
  for (const std::uint32_t i : to_copy) {
    if (!attempts.alive(i) || attempts[i].state != AttemptState::running) continue;
    if (!start_copy(i)) remind(now.time + retry_copy);
  }
  if (category.running_head == no_index || !next) return;
  category.watch_armed = true;
  timers.add({std::max(*next, now.time + std::chrono::milliseconds(1)), TimerKind::slow_tasks, index, 0});
}

void State::fast_abort(std::uint32_t index) {
  if (!attempts.alive(index) || attempts[index].state != AttemptState::running) return;
  Attempt& a = attempts[index];
  const std::uint32_t task = a.task;
  const std::uint32_t slot = a.worker;
  TaskOutcome& outcome = history_of(task).outcome;
  const bool first = outcome.fast_abort_count++ == 0;
  outcome.execute_failure += now.time - a.started;
  outcome.execute_all += now.time - a.started;
  const ConnId conn = workers[slot].conn;
  notice(NoticeLevel::notice, "task " + std::to_string(tasks[task].id.value()) +
                                  " is much slower than its category at " + workers[slot].hostname +
                                  ": it starts again");
  abandon(index);
  if (tasks[task].attempt == no_index) {
    requeue(task, RequeueReason::fast_abort);
  } else {
    Report report;
    report.kind = ReportKind::copy_lost;
    report.why = RequeueReason::fast_abort;
    report.task = tasks[task].id;
    report.conn = conn;
    out.reports.push_back(report);
  }
  if (!first || !workers.alive(slot)) return;
  if (!workers[slot].slow_alarm) {
    workers[slot].slow_alarm = true;
    return;
  }
  const std::string host = workers[slot].hostname;
  block(host, config.slow_host_block);
  close_worker(slot, CloseReason::slow);
}

// Only with room that nothing else can use now; the first result wins.
bool State::start_copy(std::uint32_t index) {
  Attempt& a = attempts[index];
  const std::uint32_t task = a.task;
  Box box;
  std::uint32_t best = no_index;
  for (const auto& [mean, slot] : match.by_speed) {
    Worker& w = workers[slot];
    if (slot == a.worker || !accepts(w) || !suits(tasks[task], w)) continue;
    Box candidate;
    if (!shape_fits(tasks[task].shape, slot, candidate)) continue;
    if (best != no_index && w.hostname == workers[a.worker].hostname) continue;
    best = slot;
    box = candidate;
    if (w.hostname != workers[a.worker].hostname) break;
  }
  if (best == no_index) return false;
  a.copied = true;
  history_of(task).outcome.replicated = true;
  ++counters.stragglers_copied;
  dispatch(task, best, box, false, true);
  if (!has_room(workers[best])) {
    unsettle(best);
  } else {
    resettle(best);
  }
  return true;
}

}  // namespace taskmill::manager
