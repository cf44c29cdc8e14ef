// Sandboxes of tasks: made, filled with inputs, emptied of outputs. Plain functions over values and descriptors, so
// that small ones run at once and large ones on a pool thread.
//
// How an input gets into a sandbox decides both speed and safety. Tasks may edit their inputs; the cached copy must not
// change by it. So:
//   not cached            hard link: the file belongs to this task; should a second one want it, the bytes that came
//                         are written again, where they are still known
//   cached                shared blocks (FICLONE) where the file system can; else a copy up to `copy_limit` bytes;
//                         else a hard link to a file that was made read-only and whose size and time are remembered
//                         ("guarded"): should a task change it all the same, the copy is dropped after the task
// Directories are recreated and their files treated alike; a large one (more than `copy_entries`) is linked, not
// copied.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::worker {

/// Of files that came: their owner may read and write them, as at the old workers; umask applies as usual.
inline mode_t storage_mode(unsigned mode) { return (mode & 0777) | 0600; }

struct StagePolicy {
  bool can_clone = false;
  bool symlinks = true;                 ///< when hard links do not work
  std::uint64_t copy_limit = 1U << 20;  ///< bytes of one file
  std::uint64_t copy_entries = 64;
  std::string cache_path;  ///< absolute, for symbolic links
};

struct StageInput {
  std::string cache_name, sandbox_name;
  bool empty_directory = false;
  bool directory = false;
  bool shared = false;       ///< other tasks may use the object too
  bool always_copy = false;  ///< a task has changed it before: no sharing, whatever its size
  std::uint64_t size = 0, entries = 1;
  unsigned mode = 0644;  ///< of `bytes`
  std::shared_ptr<const std::string>
      bytes;  ///< written instead of linking: it is here only, or another task had the file before
};

/// Size and time of a file that several tasks share.
struct GuardedFile {
  std::string path;  ///< relative to the cache
  off_t size = 0;
  timespec modified{};
};

struct StageOutcome {
  bool ok = false;
  bool input_missing = false;
  bool old_moved = false;  ///< something had this name and is in trash/ now
  std::string why;
  ErrorCode error;
  std::vector<GuardedFile> guarded;
};

/// Descriptors of the workspace; they must stay open while a job runs.
struct Places {
  int top = -1, cache = -1, trash = -1;
};

/// Names for one sandbox.
struct SandboxNames {
  std::string name;   ///< below top
  std::string trash;  ///< where something that has `name` already goes
  std::string spare;  ///< a pristine sandbox, below top, that may be used again; empty: none
};
/// Makes the sandbox with its private .tmp, then stages the inputs in order; the first failure ends it.
StageOutcome stage_in(const Places& places, const SandboxNames& names, const std::vector<StageInput>& inputs,
                      const StagePolicy& policy, const std::atomic<bool>& stop);

/// Sandboxes are used again: making and removing a directory costs journalling file systems over 100 us, a rename 6.
/// Is this one as when it was made: nothing but an empty .tmp, modes unchanged?
bool is_pristine(int directory, const std::string& name);
/// Removes everything a task has left in it. False: it is not worth keeping.
bool make_pristine(int directory, const std::string& name, const std::atomic<bool>& stop);
/// Is it little enough work for the control thread?
bool is_quick(const std::vector<StageInput>& inputs, const StagePolicy& policy);

/// Those of `guarded` that are no longer as they were; duplicates possible.
std::vector<std::string> changed_files(int cache, const std::vector<GuardedFile>& guarded);

/// Outputs of one task that travel inside its result take no more than this together.
constexpr std::uint64_t most_inline_bytes = 512U << 10;

struct StageOutput {
  std::string cache_name, sandbox_name;
  bool wanted = true;              ///< false: left where it is
  std::uint64_t inline_limit = 0;  ///< a regular file up to this size is read …
  bool keep = false;               ///< … and moved all the same
};
struct MovedOutput {
  std::size_t index = 0;
  bool in_cache = true;
  std::optional<std::string> content{};  ///< all of it, if it was read
  bool directory = false;
  unsigned mode = 0;
  std::uint64_t size = 0, entries = 1;
};
/// Moves what exists of `outputs` into the cache, replacing what was there (old trees go to trash/ under names made of
/// `trash_prefix`; they are appended to `trashed`).
std::vector<MovedOutput> stage_out(const Places& places, const std::string& name,
                                   const std::vector<StageOutput>& outputs, const std::string& trash_prefix,
                                   std::vector<std::string>& trashed);

/// Puts `name` of `from` to `to_name` in the cache by rename, replacing what is there.
ErrorCode replace_in_cache(const Places& places, int from, const std::string& name, const std::string& cache_name,
                           const std::string& trash_name, bool& old_went_to_trash);

}  // namespace taskmill::worker
