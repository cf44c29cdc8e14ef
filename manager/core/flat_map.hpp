// A small hash map from 32-bit keys for the per-worker sets: open addressing, linear probing, entries in one
// vector, order of insertion and removal does not influence lookups. Iteration is by slot and must not decide
// anything that depends on order across platforms (the hash is ours, so it is the same everywhere).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace taskmill::manager {

template <class Value>
class FlatMap {
 public:
  static constexpr std::uint32_t empty_key = 0xffffffffU;

  Value* find(std::uint32_t key) {
    if (size_ == 0) return nullptr;
    for (std::size_t i = home(key);; i = (i + 1) & mask()) {
      if (slots_[i].first == key) return &slots_[i].second;
      if (slots_[i].first == empty_key) return nullptr;
    }
  }
  const Value* find(std::uint32_t key) const { return const_cast<FlatMap*>(this)->find(key); }

  Value& insert(std::uint32_t key) {  ///< the existing one, or a fresh default
    if ((size_ + 1) * 4 > slots_.size() * 3) grow();
    for (std::size_t i = home(key);; i = (i + 1) & mask()) {
      if (slots_[i].first == key) return slots_[i].second;
      if (slots_[i].first == empty_key) {
        slots_[i] = {key, Value{}};
        ++size_;
        return slots_[i].second;
      }
    }
  }
  bool erase(std::uint32_t key) {
    if (size_ == 0) return false;
    std::size_t i = home(key);
    while (slots_[i].first != key) {
      if (slots_[i].first == empty_key) return false;
      i = (i + 1) & mask();
    }
    // Close the gap so that probing never needs tombstones.
    for (std::size_t j = (i + 1) & mask(); slots_[j].first != empty_key; j = (j + 1) & mask()) {
      const std::size_t want = home(slots_[j].first);
      if (((j - want) & mask()) >= ((j - i) & mask())) {
        slots_[i] = std::move(slots_[j]);
        i = j;
      }
    }
    slots_[i] = {empty_key, Value{}};
    --size_;
    return true;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  template <class F>
  void each(F&& visit) {
    for (auto& [key, value] : slots_)
      if (key != empty_key) visit(key, value);
  }
  template <class F>
  void each(F&& visit) const {
    for (const auto& [key, value] : slots_)
      if (key != empty_key) visit(key, value);
  }
  void clear() {
    slots_.clear();
    size_ = 0;
  }
  [[nodiscard]] std::size_t memory_bytes() const { return slots_.capacity() * sizeof(slots_[0]); }

 private:
  [[nodiscard]] std::size_t mask() const { return slots_.size() - 1; }
  [[nodiscard]] std::size_t home(std::uint32_t key) const {
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15ULL) >> 32U) & mask();
  }
  void grow() {
    std::vector<std::pair<std::uint32_t, Value>> old;
    old.swap(slots_);
    slots_.resize(old.empty() ? 4 : old.size() * 2, {empty_key, Value{}});
    size_ = 0;
    for (auto& [key, value] : old)
      if (key != empty_key) insert(key) = std::move(value);
  }
  std::vector<std::pair<std::uint32_t, Value>> slots_;
  std::size_t size_ = 0;
};

}  // namespace taskmill::manager
