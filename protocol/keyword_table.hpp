// Keywords found by their first letter: a table in the order in which old peers compare, and where the entries of
// each letter begin. Entries of one letter must stand together.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace taskmill::protocol {

template <class Handler, std::size_t Count>
class KeywordTable {
 public:
  struct Entry {
    std::string_view word;
    Handler handler;
  };
  constexpr explicit KeywordTable(const std::array<Entry, Count>& entries) : entries_(entries) {
    first_.fill(Count);
    for (std::size_t i = Count; i-- > 0;) first_[static_cast<unsigned char>(entries[i].word.front())] = i;
  }
  /// First entry whose word begins `line`; nullptr if there is none.
  [[nodiscard]] constexpr const Entry* find(std::string_view line) const {
    if (line.empty()) return nullptr;
    const std::size_t begin = first_[static_cast<unsigned char>(line.front())];
    for (std::size_t i = begin; i < Count && entries_[i].word.front() == line.front(); ++i) {
      if (line.starts_with(entries_[i].word)) return &entries_[i];
    }
    return nullptr;
  }

 private:
  std::array<Entry, Count> entries_;
  std::array<std::uint8_t, 256> first_{};
};

}  // namespace taskmill::protocol
