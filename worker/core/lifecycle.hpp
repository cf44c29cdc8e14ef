// When to look for a manager, how long to wait between attempts, and when to give up.
//
// Times come in as arguments. The caller tells what happened and asks next_attempt(): a time to try at, or "stop".
// Two clocks run: the connect time-out (no session for so long) and the idle time-out (no work for so long, counted
// over all managers, so that two idle managers do not keep a worker for ever). The wall time ends everything.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "common/base/random.hpp"
#include "common/base/time.hpp"

namespace taskmill::worker {

struct LifecycleConfig {
  Duration idle_timeout = std::chrono::seconds(900);
  Duration connect_timeout = std::chrono::seconds(900);
  Duration min_backoff = std::chrono::seconds(1);
  Duration max_backoff = std::chrono::seconds(60);
  Duration wall_time{0};  ///< 0: none
  bool single_shot = false;
  std::uint64_t seed = 1;
};

/// How a session ended, as far as the next step depends on it.
enum class SessionEnd : unsigned char {
  lost,      ///< the manager went away, or broke the rules
  released,  ///< it told us to look elsewhere
  idle,      ///< it had no work
  exit_ordered,
  refused,        ///< password, TLS, or closed without a word: as if it had not been there
  other_version,  ///< the same manager is to be tried at once with another protocol version
  stopped,        ///< our own end
};

class Lifecycle {
 public:
  Lifecycle(LifecycleConfig config, Time start);

  /// A pass over all known managers brought no session.
  void on_pass_failed(Time now);
  void on_session_started(const std::string& manager, Time now);
  /// A message of the manager that counts as work, or a task is known.
  void on_work(Time now);
  void on_session_ended(SessionEnd end, Time now);

  /// Managers that had their chance since there was work last (an idle worker tries each one once).
  [[nodiscard]] bool was_tried(const std::string& manager) const { return tried_.contains(manager); }
  /// Every manager was tried and none had work: the end.
  void on_nobody_left();
  void stop(std::string reason) {
    if (stop_reason_.empty()) stop_reason_ = std::move(reason);
  }

  [[nodiscard]] bool stopping() const { return !stop_reason_.empty(); }
  [[nodiscard]] const std::string& stop_reason() const { return stop_reason_; }
  /// When to try next; nullopt while stopping or in a session.
  [[nodiscard]] std::optional<Time> next_attempt() const;
  [[nodiscard]] Time connect_deadline() const { return connect_deadline_; }
  [[nodiscard]] Time idle_deadline() const { return idle_deadline_; }
  [[nodiscard]] std::optional<Time> wall_deadline() const;
  [[nodiscard]] bool idle_search() const { return idle_search_; }
  /// To be called when a deadline may have passed outside a session.
  void check(Time now);

 private:
  Duration jittered(Duration delay);
  [[nodiscard]] Duration patience() const;
  LifecycleConfig config_;
  Random random_;
  Time start_;
  Time connect_deadline_;
  Time idle_deadline_;
  Time next_{};
  Duration backoff_;
  bool in_session_ = false;
  bool idle_search_ = false;
  std::set<std::string> tried_;
  std::string stop_reason_;
};

}  // namespace taskmill::worker
