// Deadlines of the machine in one heap. An entry is a reminder, not a promise: when it is due the owner looks whether
// there is really something to do and sets the next one, so moving a deadline later costs nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/time.hpp"

namespace taskmill::manager {

enum class TimerKind : std::uint8_t { worker, penalty, task_end, task_start, blocks, slow_tasks, large_tasks, peers };

struct Timer {
  Time due;
  TimerKind kind{};
  std::uint32_t subject = 0;  ///< worker slot, task id, category
  std::uint32_t guard = 0;    ///< connection of the worker
};

class Timers {
 public:
  void add(const Timer& timer) {
    heap_.push_back(timer);
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  [[nodiscard]] std::optional<Time> next() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.front().due;
  }
  std::optional<Timer> take_due(Time now) {
    if (heap_.empty() || heap_.front().due > now) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Timer timer = heap_.back();
    heap_.pop_back();
    return timer;
  }
  [[nodiscard]] std::size_t size() const { return heap_.size(); }

 private:
  static bool later(const Timer& a, const Timer& b) {
    if (a.due != b.due) return a.due > b.due;
    if (a.kind != b.kind) return a.kind > b.kind;
    return a.subject > b.subject;
  }
  std::vector<Timer> heap_;
};

}  // namespace taskmill::manager
