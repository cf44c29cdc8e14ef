// Opening inputs away from the control thread: a slow file system delays the worker that waits for it and nobody else.
//
// open_input() runs on a pool thread (downloads on one of their own). It opens and stats one source, reads it when it
// is small, and starts read-ahead when it is not. Top-level links are followed (manager.md 4.2). A download ends at
// once when its StopSignal is raised: a manager that ends does not wait for it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::manager {

struct OpenedInput {
  std::string error;                   ///< not empty: cannot be sent
  std::shared_ptr<os::UniqueFd> file;  ///< file or directory
  bool directory = false;
  bool loaded = false;  ///< the bytes are in `content`
  std::string content;
  std::uint64_t offset = 0, length = 0;  ///< of the bytes to send
  std::uint64_t size = 0;                ///< of the source
  std::int64_t mtime_ns = 0;
  unsigned mode = 0;
};

struct InputSource {
  std::string path;  ///< or the URL
  bool url = false;  ///< download it first (for workers that would leave over a failure)
  bool piece = false;
  std::uint64_t offset = 0, length = 0;  ///< piece only
};

/// Raised once, by the control thread; any number of jobs watch it.
class StopSignal {
 public:
  StopSignal();
  void raise();
  [[nodiscard]] bool raised() const;
  [[nodiscard]] int fd() const { return event_.get(); }  ///< readable once raised

 private:
  os::UniqueFd event_;
};

/// `stop` may be null for anything but URLs.
OpenedInput open_input(const InputSource& source, const StopSignal* stop = nullptr);

/// Files up to this size are read into memory and sent together with the lines around them.
constexpr std::uint64_t small_input = 32U << 10;

}  // namespace taskmill::manager
