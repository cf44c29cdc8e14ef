// What another worker says, for our logs and for the manager.
#pragma once

#include <algorithm>
#include <string>

namespace taskmill::worker {

/// With '?' for whatever is no printable ASCII.
inline std::string plain(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

}  // namespace taskmill::worker
