// A queue that owns no memory before it is first used: for the many queues of a connection that are nearly always empty
// (an empty std::deque takes half a kilobyte).
//
// Elements are in one vector behind those that left; the room of those is given back when the queue runs empty, or when
// they are the greater part. Push and pop are O(1) on average. References are valid until the next push or pop.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "common/base/assert.hpp"

namespace taskmill {

template <class T>
class SmallQueue {
 public:
  [[nodiscard]] bool empty() const { return head_ == items_.size(); }
  [[nodiscard]] std::size_t size() const { return items_.size() - head_; }
  T& front() {
    TASKMILL_ASSERT(!empty());
    return items_[head_];
  }
  const T& front() const {
    TASKMILL_ASSERT(!empty());
    return items_[head_];
  }
  void push_back(T item) { items_.push_back(std::move(item)); }
  void pop_front() {
    TASKMILL_ASSERT(!empty());
    ++head_;
    if (empty()) {
      clear();
    } else if (head_ >= few && head_ > items_.size() / 2) {
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  void clear() {
    items_.clear();
    head_ = 0;
    if (items_.capacity() > 4 * few) std::vector<T>().swap(items_);
  }

 private:
  static constexpr std::size_t few = 16;
  std::vector<T> items_;
  std::size_t head_ = 0;  ///< elements before it have left
};

}  // namespace taskmill
