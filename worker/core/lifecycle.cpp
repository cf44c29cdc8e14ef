#include "worker/core/lifecycle.hpp"

#include <algorithm>

namespace taskmill::worker {
namespace {

/// What a manager gets to send work when the worker came to it because all others were idle.
constexpr Duration idle_probe = std::chrono::seconds(30);
/// However short the connect time-out is, the worker looks once, and a look may take so long.
constexpr Duration one_look = std::chrono::seconds(5);

long long seconds_of(Duration time) { return std::chrono::duration_cast<std::chrono::seconds>(time).count(); }

}  // namespace

Lifecycle::Lifecycle(LifecycleConfig config, Time start)
    : config_(config),
      random_(config.seed),
      start_(start),
      connect_deadline_(start + patience()),
      idle_deadline_(start + config.idle_timeout),
      next_(start),
      backoff_(config.min_backoff) {}

Duration Lifecycle::patience() const {
  return config_.connect_timeout > Duration::zero() ? config_.connect_timeout : one_look;
}

// Up to 10 % earlier, so that a thousand workers do not come back in the same millisecond.
Duration Lifecycle::jittered(Duration delay) {
  const auto span = static_cast<std::uint64_t>(delay.count() / 10);
  return span == 0 ? delay : delay - Duration(static_cast<Duration::rep>(random_.below(span)));
}

void Lifecycle::on_pass_failed(Time now) {
  if (idle_search_) return on_nobody_left();
  if (config_.connect_timeout <= Duration::zero()) connect_deadline_ = now;  // that was the one look
  backoff_ = std::min(backoff_ * 2, config_.max_backoff);
  next_ = now + jittered(backoff_);
  check(now);
}

void Lifecycle::on_session_started(const std::string& manager, Time now) {
  in_session_ = true;
  tried_.insert(manager);
  idle_deadline_ = now + (idle_search_ ? std::min(config_.idle_timeout, idle_probe) : config_.idle_timeout);
}

void Lifecycle::on_work(Time now) {
  idle_deadline_ = now + config_.idle_timeout;
  idle_search_ = false;
  if (tried_.size() > 1) tried_.clear();
}

void Lifecycle::on_session_ended(SessionEnd end, Time now) {
  in_session_ = false;
  if (stopping()) return;
  if (end == SessionEnd::exit_ordered) {
    stop_reason_ = "the manager ordered the worker to exit";
    return;
  }
  if (end == SessionEnd::other_version) {
    next_ = now;
    return;
  }
  if (config_.single_shot && end != SessionEnd::refused) {
    stop_reason_ = "single shot";
    return;
  }
  if (end == SessionEnd::refused) return on_pass_failed(now);
  backoff_ = config_.min_backoff;
  connect_deadline_ = now + patience();
  if (end == SessionEnd::idle) {
    idle_search_ = true;
    next_ = now;
    return;
  }
  next_ = now + jittered(config_.min_backoff);
}

void Lifecycle::on_nobody_left() {
  if (!stopping()) stop_reason_ = "no other managers available";
}

std::optional<Time> Lifecycle::next_attempt() const {
  if (stopping() || in_session_) return std::nullopt;
  return next_;
}

std::optional<Time> Lifecycle::wall_deadline() const {
  if (config_.wall_time <= Duration::zero()) return std::nullopt;
  return start_ + config_.wall_time;
}

void Lifecycle::check(Time now) {
  if (stopping()) return;
  if (const auto wall = wall_deadline(); wall && now >= *wall) {
    stop_reason_ =
        "maximum wall time of " + std::to_string(seconds_of(config_.wall_time)) + " seconds reached (--wall-time)";
  } else if (!in_session_ && now >= connect_deadline_) {
    stop_reason_ = "could not connect after " + std::to_string(seconds_of(config_.connect_timeout)) + " seconds.";
  }
}

}  // namespace taskmill::worker
