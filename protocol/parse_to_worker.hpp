// One line M>W outside a task block to one message, and what it opens (a directory frame, a task block, a small
// body to collect). Old workers compare prefixes and try `put` before `puturl`; so does this.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/line.hpp"
#include "protocol/to_worker.hpp"

namespace taskmill::protocol {

/// State that lives across lines.
struct ToWorkerContext {
  int version = 11;  ///< what this worker greeted with
  bool frames = false;
  std::string path;                 ///< of the open directory, "" outside
  std::vector<std::size_t> depths;  ///< length of `path` before each open directory
  std::string first, second;        ///< decoded fields of the current message

  /// A small body the session must collect before the message is complete.
  enum class Wanted : std::uint8_t { nothing, symlink_target, url };
  Wanted wanted = Wanted::nothing;
  std::uint64_t wanted_length = 0;
  unsigned url_mode = 0;
  int url_flags = 0;
  /// `task` was read; its block follows.
  bool task_opened = false;
  std::int64_t task_id = 0;
};

Parsed<ToWorker> parse_to_worker(std::string_view line, ToWorkerContext& context);
/// The message that the collected body completes; sets context.wanted back.
Parsed<ToWorker> complete_to_worker(std::string& body, ToWorkerContext& context);

}  // namespace taskmill::protocol
