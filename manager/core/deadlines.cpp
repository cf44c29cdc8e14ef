// What happens because time passed: keepalive, transfers that take too long, end times, blocks that end, tasks that fit
// nowhere.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "manager/core/state.hpp"

namespace taskmill::manager {

Duration State::transfer_limit(const Worker& w, std::uint64_t bytes) const {
  constexpr std::int64_t second = 1000000;
  double rate = config.default_transfer_rate;
  if (w.transfer_time.count() > second && w.bytes > 0) {
    rate = static_cast<double>(w.bytes) * second / static_cast<double>(w.transfer_time.count());
  } else if (transfer_us > second && transfer_bytes > 0) {
    rate = static_cast<double>(transfer_bytes) * second / static_cast<double>(transfer_us);
  }
  // Pauses between small files must not make a worker look dead slow: the assumed rate is the floor for long bodies.
  const double seconds = static_cast<double>(bytes) * config.transfer_outlier_factor / std::max(rate, 1.0);
  const Duration least = w.foreman ? config.foreman_transfer_timeout : config.min_transfer_timeout;
  return std::max(least, Duration(static_cast<std::int64_t>(std::min(seconds, 1e9)) * second));
}

void State::expect_reply(Worker& w) {
  if (w.replies++ == 0) w.reply_deadline = now.time + config.reply_timeout;
}

void State::reply_came(Worker& w, bool complete) {
  if (complete && w.replies > 0) --w.replies;
  w.reply_deadline = now.time + config.reply_timeout;
}

Time State::worker_due(const Worker& w) const {
  Time due = Time::max();
  if (config.keepalive_interval.count() > 0) {
    if (!w.greeted) {
      due = w.connected + config.keepalive_timeout;
    } else if (w.check_pending && w.last_heard < w.last_check) {
      due = w.last_check + config.keepalive_timeout;
    } else {
      due = std::max(w.last_check, w.connected) + config.keepalive_interval;
    }
  }
  if (!w.stagings.empty()) {
    due = std::min(due, w.stage_deadline);
  } else if (w.replies > 0) {
    due = std::min(due, w.reply_deadline);
  }
  return due;
}

void State::arm_worker(std::uint32_t slot) {
  Worker& w = workers[slot];
  const Time due = worker_due(w);
  if (due >= w.timer) return;
  w.timer = due;
  timers.add({due, TimerKind::worker, slot, w.conn.value()});
}

void State::check_worker(std::uint32_t slot) {
  Worker& w = workers[slot];
  if (!w.stagings.empty() ? now.time >= w.stage_deadline : w.replies > 0 && now.time >= w.reply_deadline) {
    close_worker(slot, CloseReason::transfer_timeout);
    return;
  }
  if (config.keepalive_interval.count() > 0) {
    if (!w.greeted) {
      if (now.time >= w.connected + config.keepalive_timeout) {
        close_worker(slot, CloseReason::silent);
        return;
      }
    } else if (w.check_pending && w.last_heard < w.last_check) {
      // A worker that still takes what we send is not dead; it answers the check when it comes to it.
      if (now.time >= w.last_check + config.keepalive_timeout && w.stagings.empty()) {
        close_worker(slot, CloseReason::keepalive);
        return;
      }
    } else if (now.time >= std::max(w.last_check, w.connected) + config.keepalive_interval) {
      w.last_check = now.time;
      w.check_pending = true;
      if (!w.leaving) act(ActionKind::check, w);
    }
  }
  w.timer = Time::max();
  const Time due = worker_due(w);
  if (due != Time::max()) {
    w.timer = std::max(due, now.time + std::chrono::milliseconds(100));
    timers.add({w.timer, TimerKind::worker, slot, w.conn.value()});
  }
}

void State::run_timers() {
  while (const auto timer = timers.take_due(now.time)) {
    const std::uint32_t s = timer->subject;
    switch (timer->kind) {
      case TimerKind::worker:
        if (workers.alive(s) && workers[s].conn.value() == timer->guard && workers[s].timer <= now.time)
          check_worker(s);
        break;
      case TimerKind::penalty:
        if (workers.alive(s) && workers[s].conn.value() == timer->guard) freed(s);
        break;
      case TimerKind::task_end:
      case TimerKind::task_start: {
        const std::uint32_t task = ids.find(s);
        if (task == no_index || tasks[task].state != TaskState::ready) break;
        if (expired(tasks[task])) {
          finish(task, protocol::ResultCode::task_timeout, "its end time passed before it could run");
        } else if (timer->kind == TimerKind::task_end) {
          const Duration left(spec_of(tasks[task])->end_time_us - now.wall.time_since_epoch().count());
          timers.add({now.time + left, TimerKind::task_end, s, 0});  // the wall clock was moved
        } else if (tasks[task].where == Where::delayed) {
          count_waiting(tasks[task], false);
          enter_ready(task);
        }
        break;
      }
      case TimerKind::blocks:
        for (auto at = blocked.begin(); at != blocked.end();) {
          if (at->second && *at->second <= now.time) {
            const std::string host = at->first;
            at = blocked.erase(at);
            for (std::uint32_t i = 0; i < workers.end(); ++i)
              if (workers.alive(i) && workers[i].hostname == host) freed(i);
          } else {
            ++at;
          }
        }
        break;
      case TimerKind::slow_tasks:
        watch_slow(s);
        break;
      case TimerKind::peers:
        shared.armed = Time::max();
        break;
      case TimerKind::large_tasks:
        check_large_tasks();
        break;
    }
  }
  run_shared();
}

void State::arm_large_tasks() {
  if (large_task_armed) return;
  Duration pause = config.large_task_warning;
  if (config.unfittable_timeout) pause = std::min(pause, std::max(*config.unfittable_timeout / 4, Duration(100000)));
  if (pause.count() <= 0) return;
  large_task_armed = true;
  timers.add({now.time + pause, TimerKind::large_tasks, 0, 0});
}

// Once per shape, not per task: does any connected size of worker take it?
void State::check_large_tasks() {
  large_task_armed = false;
  if (ready.active().empty()) return;
  arm_large_tasks();
  if (connected_workers == 0) return;
  std::array<std::uint64_t, 4> short_count{};
  std::vector<std::uint32_t> give_back;
  std::uint64_t too_large = 0;
  for (const auto& active : ready.active()) {
    std::array<bool, 4> short_of{};
    if (fits_some_type(active.shape, &short_of)) continue;
    const Shape& shape = ready[active.shape];
    for (std::size_t i = 0; i < 4; ++i) short_count[i] += short_of[i] ? shape.size() : 0;
    too_large += shape.size();
    if (!config.unfittable_timeout) continue;
    const auto overdue = [&](std::uint32_t task) {
      return now.time.time_since_epoch().count() - tasks[task].since_us >= config.unfittable_timeout->count();
    };
    for (std::uint32_t t = shape.head; t != no_index; t = tasks[t].next)
      if (overdue(t)) give_back.push_back(t);
    for (const auto& entry : shape.heap) {
      if (tasks.alive(entry.task) && tasks[entry.task].id.value() == entry.key.id &&
          tasks[entry.task].where == Where::heap && overdue(entry.task))
        give_back.push_back(entry.task);
    }
  }
  for (const std::uint32_t task : give_back) {
    if (tasks[task].state != TaskState::ready) continue;
    finish(task, protocol::ResultCode::resource_exhaustion,
           "no connected worker is large enough for " + resources_json(waiting_label(tasks[task])) +
               "; the largest has " + resources_json(largest));
  }
  if (too_large == 0) return;
  notice(NoticeLevel::warning, "There are tasks that cannot fit any currently connected worker:");
  const Four most = to_four(largest);
  constexpr std::array<const char*, 4> units = {"cores", "MB of memory", "MB of disk", "gpus"};
  for (std::size_t i = 0; i < 4; ++i) {
    if (short_count[i] == 0) continue;
    char line[128];
    std::snprintf(line, sizeof line, "    %llu waiting task(s) need more than %.3f %s",
                  static_cast<unsigned long long>(short_count[i]), std::max(most[i], 0.0), units[i]);
    notice(NoticeLevel::warning, line);
  }
}

}  // namespace taskmill::manager
