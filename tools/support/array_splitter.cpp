#include "tools/support/array_splitter.hpp"

#include <utility>

namespace taskmill::tools {

// Hands over what was collected; false ends the reading.
bool ArraySplitter::finish_element() {
  if (current_.empty()) return true;
  const std::string text = std::exchange(current_, {});
  return element_(text);
}

bool ArraySplitter::feed(std::string_view bytes) {
  for (const char c : bytes) {
    if (state_ == State::done) return true;
    const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (state_ == State::before) {
      if (blank) continue;
      if (c != '[') return false;
      state_ = State::inside;
      continue;
    }
    if (in_string_) {
      if (escaped_)
        escaped_ = false;
      else if (c == '\\')
        escaped_ = true;
      else if (c == '"')
        in_string_ = false;
    } else if (depth_ == 0 && (c == ',' || c == ']')) {
      const bool more = finish_element();
      if (c == ']' || !more) state_ = State::done;
      continue;
    } else if (depth_ == 0 && blank) {
      continue;
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (c == '}' || c == ']') {
      if (depth_ == 0) return false;
      --depth_;
    }
    if (current_.size() >= largest_element) return false;
    current_ += c;
  }
  return true;
}

}  // namespace taskmill::tools
