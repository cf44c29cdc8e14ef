// Ready tasks, grouped by what they need.
//
// Tasks that any worker treats alike (category, request, features, algorithm, label) have one Shape. Within a shape
// the order is priority, then lowest id. Tasks that arrive in order (nearly all) form a list linked through the task
// records; the others (returned by a lost worker, rising priorities) go to a heap beside it; the first of both is the
// head. Push and pop are O(1) and O(log n). The active shapes are kept sorted by their heads, so the matcher meets
// tasks in queue order while looking at one per shape. Invariant: a task is here if and only if it is READY and
// where == fifo or heap.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "manager/core/box.hpp"
#include "manager/core/category.hpp"
#include "manager/core/slab.hpp"
#include "manager/core/task_table.hpp"

namespace taskmill::manager {

struct ShapeKey {
  std::uint32_t category = 0, features = 0;
  Resources request;
  Resources prediction;  ///< bucketing, after an exhaustion
  Algorithm algorithm = Algorithm::unset;
  Label label = Label::first;
  bool coprocess = false;
  bool operator==(const ShapeKey&) const = default;
};
struct ShapeKeyHash {
  std::size_t operator()(const ShapeKey& key) const;
};

/// Place of a task in the order.
struct ReadyKey {
  double priority = 0;
  std::uint32_t id = 0;
  [[nodiscard]] bool before(const ReadyKey& other) const {
    return priority != other.priority ? priority > other.priority : id < other.id;
  }
};

struct BoxMemo {
  std::uint64_t epoch = 0;  ///< 0: never computed
  Box box;
};

struct Shape {
  ShapeKey key;
  std::uint32_t references = 0;  ///< tasks that have this shape, in any state
  std::uint32_t head = no_index, tail = no_index;
  struct HeapEntry {
    ReadyKey key;
    std::uint32_t task = no_index;
  };
  std::vector<HeapEntry> heap;  ///< may hold entries of tasks that left; they are skipped
  std::uint32_t in_fifo = 0, in_heap = 0;
  bool active = false;  ///< listed in ReadyQueue::active()
  ReadyKey active_key;
  bool parked = false;  ///< no connected worker has room; only freed workers need to be asked
  bool capped = false;  ///< its category runs as many as it may
  bool drawn = false;   ///< `drawn_prediction` is for the present head
  Resources drawn_prediction;
  std::uint32_t draw_epoch = 0;
  std::uint32_t head_passed_over = 0;
  bool reserved = false;           ///< a worker is being emptied for its head
  std::uint64_t judged_epoch = 0;  ///< when `hopeless` was found out; 0: never
  bool hopeless = false;           ///< no connected size of worker could run it even when idle
  std::vector<BoxMemo> boxes;      ///< by worker type
  [[nodiscard]] std::uint32_t size() const { return in_fifo + in_heap; }
};

class ReadyQueue {
 public:
  struct Active {
    ReadyKey key;
    std::uint32_t shape = no_index;
  };
  explicit ReadyQueue(Slab<TaskRecord, 12>& tasks) : tasks_(tasks) {}

  /// The shape of this key; one reference is added.
  std::uint32_t acquire(const ShapeKey& key);
  void release(std::uint32_t shape);
  void drop_unused(std::uint32_t shape);  ///< after its reservation ended
  Shape& operator[](std::uint32_t shape) { return shapes_[shape]; }
  const Shape& operator[](std::uint32_t shape) const { return shapes_[shape]; }
  [[nodiscard]] bool alive(std::uint32_t shape) const { return shapes_.alive(shape); }
  [[nodiscard]] std::uint32_t end() const { return shapes_.end(); }
  [[nodiscard]] std::uint32_t live() const { return shapes_.live(); }

  void push(std::uint32_t task);
  void remove(std::uint32_t task);                        ///< from wherever it is in the queue
  [[nodiscard]] std::uint32_t head(std::uint32_t shape);  ///< no_index when empty
  /// Next task of the list part, for looking ahead; the heap part is not walked.
  [[nodiscard]] std::uint32_t after(std::uint32_t task) const { return tasks_[task].next; }
  [[nodiscard]] const std::vector<Active>& active() const { return active_; }
  /// Something was pushed, or a search may now succeed, in this shape.
  [[nodiscard]] std::uint32_t unparked() const { return unparked_; }
  void park(std::uint32_t shape);
  void unpark(std::uint32_t shape);
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  [[nodiscard]] ReadyKey key_of(std::uint32_t task) const;
  void drop_stale(Shape& shape);
  void refresh(std::uint32_t shape);  ///< after its head may have changed
  void erase_active(Shape& shape);
  Slab<TaskRecord, 12>& tasks_;
  Slab<Shape, 6> shapes_;
  std::unordered_map<ShapeKey, std::uint32_t, ShapeKeyHash> by_key_;
  std::vector<Active> active_;
  std::uint32_t unparked_ = 0;  ///< active shapes that are not parked
  std::uint32_t last_ = no_index;
};

}  // namespace taskmill::manager
