#include "manager/core/ready_queue.hpp"

#include <algorithm>
#include <cstring>

#include "manager/core/file_table.hpp"

namespace taskmill::manager {
namespace {

bool heap_order(const Shape::HeapEntry& a, const Shape::HeapEntry& b) { return b.key.before(a.key); }

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9fb21c651e98df25ULL;
  return hash ^ (hash >> 31U);
}

std::uint64_t bits_of(double value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

std::uint64_t mix(std::uint64_t hash, const Resources& r) {
  hash = mix(hash, bits_of(r.cores));
  hash = mix(hash, static_cast<std::uint64_t>(r.memory));
  hash = mix(hash, static_cast<std::uint64_t>(r.disk));
  return mix(hash, static_cast<std::uint64_t>(r.gpus));
}

}  // namespace

std::size_t ShapeKeyHash::operator()(const ShapeKey& key) const {
  std::uint64_t hash = mix(key.category * 7919ULL + key.features, static_cast<std::uint64_t>(key.algorithm) * 8 +
                                                                      static_cast<std::uint64_t>(key.label) * 2 +
                                                                      (key.coprocess ? 1 : 0));
  hash = mix(hash, key.request);
  return mix(hash, key.prediction);
}

std::uint32_t ReadyQueue::acquire(const ShapeKey& key) {
  if (last_ != no_index && shapes_.alive(last_) && shapes_[last_].key == key) {
    ++shapes_[last_].references;
    return last_;
  }
  auto [at, fresh] = by_key_.try_emplace(key, no_index);
  if (fresh) {
    at->second = shapes_.make();
    shapes_[at->second] = Shape{};
    shapes_[at->second].key = key;
  }
  last_ = at->second;
  ++shapes_[last_].references;
  return last_;
}

void ReadyQueue::release(std::uint32_t shape) {
  Shape& s = shapes_[shape];
  TASKMILL_ASSERT(s.references > 0);
  if (--s.references > 0) return;
  TASKMILL_ASSERT(!s.active);
  if (!s.reserved) drop_unused(shape);  // else when the reservation ends
}

void ReadyQueue::drop_unused(std::uint32_t shape) {
  Shape& s = shapes_[shape];
  if (s.references > 0) return;
  by_key_.erase(s.key);
  s = Shape{};
  shapes_.drop(shape);
}

ReadyKey ReadyQueue::key_of(std::uint32_t task) const { return {tasks_[task].priority, tasks_[task].id.value()}; }

void ReadyQueue::push(std::uint32_t task) {
  TaskRecord& record = tasks_[task];
  Shape& shape = shapes_[record.shape];
  const ReadyKey key = key_of(task);
  if (shape.tail == no_index || key_of(shape.tail).before(key)) {
    record.prev = shape.tail;
    record.next = no_index;
    (shape.tail == no_index ? shape.head : tasks_[shape.tail].next) = task;
    shape.tail = task;
    record.where = Where::fifo;
    ++shape.in_fifo;
  } else {
    shape.heap.push_back({key, task});
    std::push_heap(shape.heap.begin(), shape.heap.end(), heap_order);
    record.where = Where::heap;
    ++shape.in_heap;
  }
  refresh(record.shape);
}

void ReadyQueue::remove(std::uint32_t task) {
  TaskRecord& record = tasks_[task];
  Shape& shape = shapes_[record.shape];
  if (record.where == Where::fifo) {
    (record.prev == no_index ? shape.head : tasks_[record.prev].next) = record.next;
    (record.next == no_index ? shape.tail : tasks_[record.next].prev) = record.prev;
    record.prev = record.next = no_index;
    --shape.in_fifo;
  } else {
    TASKMILL_ASSERT(record.where == Where::heap);
    --shape.in_heap;
  }
  record.where = Where::nowhere;
  if (shape.active_key.id == record.id.value()) shape.head_passed_over = 0;
  refresh(record.shape);
}

// Entries of tasks that left by cancellation, or that were pushed again since, stay until they surface.
void ReadyQueue::drop_stale(Shape& shape) {
  const auto stale = [this, &shape](const Shape::HeapEntry& entry) {
    return !tasks_.alive(entry.task) || tasks_[entry.task].id.value() != entry.key.id ||
           tasks_[entry.task].where != Where::heap || &shapes_[tasks_[entry.task].shape] != &shape;
  };
  while (!shape.heap.empty() && stale(shape.heap.front())) {
    std::pop_heap(shape.heap.begin(), shape.heap.end(), heap_order);
    shape.heap.pop_back();
  }
  if (shape.heap.size() > 64 && shape.heap.size() > 2 * std::size_t{shape.in_heap}) {
    shape.heap.erase(std::remove_if(shape.heap.begin(), shape.heap.end(), stale), shape.heap.end());
    std::make_heap(shape.heap.begin(), shape.heap.end(), heap_order);
  }
}

std::uint32_t ReadyQueue::head(std::uint32_t shape) {
  Shape& s = shapes_[shape];
  drop_stale(s);
  if (s.heap.empty()) return s.head;
  if (s.head == no_index) return s.heap.front().task;
  return key_of(s.head).before(s.heap.front().key) ? s.head : s.heap.front().task;
}

void ReadyQueue::erase_active(Shape& shape) {
  const auto at = std::lower_bound(active_.begin(), active_.end(), shape.active_key,
                                   [](const Active& a, const ReadyKey& key) { return a.key.before(key); });
  TASKMILL_ASSERT(at != active_.end() && &shapes_[at->shape] == &shape);
  active_.erase(at);
  shape.active = false;
  if (!shape.parked) --unparked_;
}

void ReadyQueue::refresh(std::uint32_t index) {
  Shape& shape = shapes_[index];
  const std::uint32_t first = head(index);
  if (first == no_index) {
    if (shape.active) erase_active(shape);
    return;
  }
  const ReadyKey key = key_of(first);
  if (shape.active && shape.active_key.priority == key.priority && shape.active_key.id == key.id) return;
  if (active_.size() == 1 && shape.active) {  // the common case: one kind of task
    active_[0].key = shape.active_key = key;
    return;
  }
  if (shape.active) {
    erase_active(shape);
  } else {
    // While it was empty nobody kept its mark: search again.
    shape.parked = shape.capped = false;
  }
  const auto at = std::lower_bound(active_.begin(), active_.end(), key,
                                   [](const Active& a, const ReadyKey& k) { return a.key.before(k); });
  active_.insert(at, Active{key, index});
  shape.active = true;
  shape.active_key = key;
  if (!shape.parked) ++unparked_;
}

void ReadyQueue::park(std::uint32_t shape) {
  Shape& s = shapes_[shape];
  if (s.parked) return;
  s.parked = true;
  if (s.active) --unparked_;
}

void ReadyQueue::unpark(std::uint32_t shape) {
  Shape& s = shapes_[shape];
  s.capped = false;
  if (!s.parked) return;
  s.parked = false;
  if (s.active) ++unparked_;
}

std::size_t ReadyQueue::memory_bytes() const {
  std::size_t bytes = shapes_.memory_bytes() + active_.capacity() * sizeof(Active) + by_key_.size() * 128;
  for (std::uint32_t i = 0; i < shapes_.end(); ++i) {
    if (shapes_.alive(i)) bytes += shapes_[i].heap.capacity() * 24 + shapes_[i].boxes.capacity() * sizeof(BoxMemo);
  }
  return bytes;
}

}  // namespace taskmill::manager
