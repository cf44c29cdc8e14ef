// Records by 32-bit index, in pages that never move: a reference stays valid while the record lives, and a
// million records cost no copying when the slab grows. Freed indices are reused, last freed first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "common/base/assert.hpp"

namespace taskmill::manager {

constexpr std::uint32_t no_index = 0xffffffffU;

template <class T, std::uint32_t PageBits = 10>
class Slab {
 public:
  std::uint32_t make() {
    ++live_;
    if (!free_.empty()) {
      const std::uint32_t index = free_.back();
      free_.pop_back();
      used_[index] = true;
      return index;
    }
    const std::uint32_t index = size_++;
    if ((index >> PageBits) == pages_.size()) pages_.push_back(std::make_unique<T[]>(page_size));
    used_.push_back(true);
    return index;
  }
  /// The record keeps its buffers for the next user; the caller resets it.
  void drop(std::uint32_t index) {
    TASKMILL_ASSERT(alive(index));
    used_[index] = false;
    free_.push_back(index);
    --live_;
  }
  T& operator[](std::uint32_t index) { return pages_[index >> PageBits][index & (page_size - 1)]; }
  const T& operator[](std::uint32_t index) const { return pages_[index >> PageBits][index & (page_size - 1)]; }
  [[nodiscard]] bool alive(std::uint32_t index) const { return index < size_ && used_[index]; }
  [[nodiscard]] std::uint32_t end() const { return size_; }  ///< indices are below this
  [[nodiscard]] std::uint32_t live() const { return live_; }
  [[nodiscard]] std::size_t memory_bytes() const {
    return pages_.size() * page_size * sizeof(T) + free_.capacity() * 4 + used_.capacity() / 8;
  }

 private:
  static constexpr std::uint32_t page_size = 1U << PageBits;
  std::vector<std::unique_ptr<T[]>> pages_;
  std::vector<std::uint32_t> free_;
  std::vector<bool> used_;
  std::uint32_t size_ = 0;
  std::uint32_t live_ = 0;
};

/// Ids that are handed out in rising order -> index. Pages whose ids are all gone are given back.
class IdMap {
 public:
  [[nodiscard]] std::uint32_t find(std::uint32_t id) const {
    const std::size_t page = id >> page_bits;
    if (page >= pages_.size() || !pages_[page]) return no_index;
    return pages_[page]->slots[id & (page_size - 1)];
  }
  void set(std::uint32_t id, std::uint32_t index) {
    const std::size_t page = id >> page_bits;
    if (page >= pages_.size()) pages_.resize(page + 1);
    if (!pages_[page]) {
      pages_[page] = std::make_unique<Page>();
      for (auto& slot : pages_[page]->slots) slot = no_index;
    }
    auto& slot = pages_[page]->slots[id & (page_size - 1)];
    if (slot == no_index) ++pages_[page]->used;
    slot = index;
  }
  void erase(std::uint32_t id) {
    const std::size_t page = id >> page_bits;
    if (find(id) == no_index) return;
    pages_[page]->slots[id & (page_size - 1)] = no_index;
    if (--pages_[page]->used == 0) pages_[page].reset();
  }
  /// One past the largest id that may be present.
  [[nodiscard]] std::uint32_t limit() const { return static_cast<std::uint32_t>(pages_.size() << page_bits); }
  [[nodiscard]] bool has_page(std::uint32_t id) const {
    return (id >> page_bits) < pages_.size() && pages_[id >> page_bits] != nullptr;
  }
  static constexpr std::uint32_t page_bits = 12;
  static constexpr std::uint32_t page_size = 1U << page_bits;
  [[nodiscard]] std::size_t memory_bytes() const {
    std::size_t bytes = pages_.capacity() * sizeof(void*);
    for (const auto& page : pages_) bytes += page ? sizeof(Page) : 0;
    return bytes;
  }

 private:
  struct Page {
    std::uint32_t used = 0;
    std::uint32_t slots[page_size];
  };
  std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace taskmill::manager
