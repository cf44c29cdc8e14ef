// What tasks print. Each running task writes stdout and stderr to one file of out/; small outputs then live in memory
// and the file is used again for the next task, large ones stay in their file until they are sent.
//
// Files are opened with O_APPEND, so a reused file always starts at its beginning. A file is used again only when
// nothing of its last task can be alive (`clean`).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::worker {

struct Capture {
  os::UniqueFd fd;
  std::string name;  ///< in out/
};

struct Captured {
  std::uint64_t length = 0;
  std::string text;  ///< all of it, when `file` is empty
  std::string file;  ///< name in out/
};

class CaptureStore {
 public:
  /// `directory`: out/ of the workspace. Call again when that was replaced: kept files are dropped.
  void use(int directory);
  Result<Capture> acquire();
  Captured finish(Capture capture, bool clean);
  /// For sending: opened and removed from the directory. The text form is left alone.
  Result<std::shared_ptr<os::UniqueFd>> open(Captured& captured);
  void discard(Captured& captured);

 private:
  int directory_ = -1;
  std::uint64_t counter_ = 0;
  std::uint64_t generation_ = 0;
  std::vector<Capture> free_;
};

}  // namespace taskmill::worker
