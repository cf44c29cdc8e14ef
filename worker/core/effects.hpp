// What the machine wants done. Owned and reused by the shell; performed in the order of the members.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "worker/core/lifecycle.hpp"
#include "worker/core/task_slot.hpp"

namespace taskmill::worker {

/// One piece of a reply: text, the captured output of a task, or a range of a watched file.
struct ReplyPart {
  enum class Kind : std::uint8_t { text, output, watched };
  Kind kind = Kind::text;
  std::string text;  ///< or: sandbox path of the watched file
  TaskKey key = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct FetchOrder {
  std::string name;
  CacheSource source = CacheSource::url;
  std::string text;  ///< URL, command, or path to copy
  unsigned mode = 0777;
  std::uint64_t id = 0;
};

struct Leave {
  SessionEnd end = SessionEnd::lost;
  std::string reason;
};

struct CacheRemoval {
  std::string name;
  bool heavy = false;  ///< large enough to be deleted in the background
};

/// A finished task that came in a batch. Output and files are in the host's hands.
struct PushedResult {
  TaskKey key = 0;
  std::int64_t task_id = 0;
  std::uint32_t attempt = 0;
  TaskResult result;
};
struct PushBatch {
  std::uint64_t sequence = 0;
  std::vector<PushedResult> results;
};

struct Effects {
  std::string lines;               ///< to the manager, between any two items
  std::vector<PushBatch> push;     ///< behind `lines`
  std::vector<TaskKey> terminate;  ///< SIGTERM to everything the task started
  std::vector<TaskKey> kill;       ///< SIGKILL to everything the task started
  std::vector<TaskKey> discard;    ///< sandbox and output are not needed any more
  std::vector<std::uint64_t> cancel_fetch;
  std::vector<CacheRemoval> remove;  ///< objects to delete from the cache
  std::vector<FetchOrder> fetch;
  std::vector<TaskKey> start;    ///< prepare the sandbox, then run
  std::vector<ReplyPart> reply;  ///< answer to the oldest send_results
  std::optional<Leave> leave;    ///< end the session after sending `lines`

  void clear();
  [[nodiscard]] bool empty() const;
};

}  // namespace taskmill::worker
