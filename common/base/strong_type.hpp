// Numbers with a meaning: two ids of different kinds never mix by accident.
//
// An id compares, hashes and prints, and has no arithmetic. The invalid id is the default.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <limits>

namespace taskmill {

template <class Tag, class Rep = std::uint32_t>
class StrongId {
 public:
  using rep = Rep;
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  [[nodiscard]] constexpr Rep value() const { return value_; }
  [[nodiscard]] constexpr bool valid() const { return value_ != invalid_value; }
  constexpr auto operator<=>(const StrongId&) const = default;

  static constexpr Rep invalid_value = std::numeric_limits<Rep>::max();

 private:
  Rep value_ = invalid_value;
};

}  // namespace taskmill

template <class Tag, class Rep>
struct std::hash<taskmill::StrongId<Tag, Rep>> {
  std::size_t operator()(const taskmill::StrongId<Tag, Rep>& id) const noexcept { return std::hash<Rep>{}(id.value()); }
};
