// Cuts a JSON array into its elements while it arrives, so that a list of a million tasks needs the memory of one.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace taskmill::tools {

class ArraySplitter {
 public:
  /// `element` gets the text of each element; false from it ends the reading (done() becomes true).
  explicit ArraySplitter(std::function<bool(std::string_view)> element) : element_(std::move(element)) {}
  /// False when this is not an array, or an element is larger than the limit.
  bool feed(std::string_view bytes);
  [[nodiscard]] bool done() const { return state_ == State::done; }
  [[nodiscard]] bool started() const { return state_ != State::before; }

 private:
  enum class State : unsigned char { before, inside, done };
  bool finish_element();
  static constexpr std::size_t largest_element = 64U << 20;

  std::function<bool(std::string_view)> element_;
  State state_ = State::before;
  std::string current_;
  std::size_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace taskmill::tools
