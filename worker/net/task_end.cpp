// TaskRunner: what is left when a task has ended: outputs, captured output, its sandbox.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cstdio>
#include <utility>

#include "common/os/file.hpp"
#include "protocol/extension_flags.hpp"
#include "protocol/result_code.hpp"
#include "worker/net/task_runner.hpp"

namespace taskmill::worker {

// What exists of the outputs goes into the cache; of a task that came in a batch small ones are kept for its result.
void TaskRunner::collect_outputs(Run& run, const TaskSlot& task, TaskExit& exit) {
  if (task.pushed) keep_long_output(run, exit);
  if (task.description.outputs.empty()) return;
  const bool succeeded = run.reaped.wait_status == 0 && task.result.status == 0;
  std::vector<StageOutput> outputs;
  for (const auto& output : task.description.outputs) {
    StageOutput& wanted = outputs.emplace_back();
    wanted.cache_name = output.cache_name;
    wanted.sandbox_name = output.sandbox_name;
    if (!task.pushed) continue;
    wanted.wanted = protocol::output_is_wanted(output.flags, succeeded);
    if ((output.flags & protocol::file_flag::stays) == 0) wanted.inline_limit = context_.inline_outputs;
    wanted.keep = (output.flags & protocol::file_flag::cache) != 0;
  }
  std::vector<std::string> trashed;
  auto found = stage_out(context_.places(), run.sandbox, outputs, "o" + std::to_string(run.key), trashed);
  for (const auto& moved : found) {
    if (moved.content) exit.push_bytes += moved.content->size();
    if (!moved.in_cache) continue;
    exit.outputs.push_back({moved.index, moved.directory, moved.mode, moved.size, moved.entries});
    forget_cached(outputs[moved.index].cache_name);
  }
  if (task.pushed) run.files = std::move(found);
  if (!trashed.empty()) context_.disposal.add(std::move(trashed));
}

// Output that is too long for a push is fetched from the cache.
void TaskRunner::keep_long_output(Run& run, TaskExit& exit) {
  exit.push_bytes += run.output.text.size();
  if (run.output.file.empty() && run.output.text.size() <= context_.inline_outputs) return;
  const auto name = "wqx-stdout-" + std::to_string(run.key);
  ErrorCode error;
  if (!run.output.file.empty()) {
    if (::renameat(context_.space.out(), run.output.file.c_str(), context_.space.cache(), name.c_str()) != 0)
      error = errno_code();
  } else {
    constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const os::UniqueFd file(::openat(context_.space.cache(), name.c_str(), flags, 0600));
    error = file.valid() ? os::write_all(file.get(), run.output.text) : errno_code();
  }
  if (error) {
    context_.log.error("the output of a task is lost: " + error.message());
    context_.captures.discard(run.output);
    exit.output_length = 0;
  } else {
    exit.output_name = name;
    run.output.file.clear();
  }
  exit.push_bytes -= run.output.text.size();
  run.output.text.clear();
}

// Nobody needs the sandbox any more; but first the news of the task's end leave.
void TaskRunner::clear_later(TaskKey key) {
  auto clear = [this, alive = alive_, key] {
    if (!*alive) return;
    if (const auto at = runs_.find(key); at != runs_.end()) clear_sandbox(*at->second);
  };
  boost::asio::post(context_.io, [io = &context_.io, clear = std::move(clear)]() mutable {
    boost::asio::post(*io, std::move(clear));
  });
}

// --- clean-up ---

void TaskRunner::discard(TaskKey key) {
  const auto at = runs_.find(key);
  if (at == runs_.end()) return;
  Run& run = *at->second;
  run.discarded = true;
  if (run.done) return remove(run);
  watches_.remove(key);
  // Its id, and so its directory's name, may be used again at once.
  if (!run.staging) to_trash(run);
}

void TaskRunner::to_trash(Run& run) {
  if (run.in_trash) return;
  const auto name = context_.space.next_name();
  if (::renameat(context_.space.top(), run.sandbox.c_str(), context_.space.trash(), name.c_str()) != 0) {
    // A directory without write permission cannot be moved by an ordinary user.
    ::fchmodat(context_.space.top(), run.sandbox.c_str(), 0700, 0);
    if (::renameat(context_.space.top(), run.sandbox.c_str(), context_.space.trash(), name.c_str()) != 0) return;
  }
  run.in_trash = true;
  run.sandbox = name;
}

void TaskRunner::clear_sandbox(Run& run) {
  if (run.cleared) return;
  run.cleared = true;
  // Most sandboxes are as they were in the end, and serve the next task.
  if (!run.in_trash && !run.had_orphans && context_.disposal.has_room() &&
      is_pristine(context_.space.top(), run.sandbox)) {
    return context_.disposal.keep(run.sandbox);
  }
  to_trash(run);
  if (run.in_trash) {
    if (run.had_orphans) {
      context_.disposal.add(run.sandbox);
    } else {
      context_.disposal.recycle(run.sandbox);
    }
  }
}

void TaskRunner::remove(Run& run) {
  context_.captures.discard(run.output);
  clear_sandbox(run);
  if (probe_ != nullptr) probe_->forget(run.key);
  erase(run.key);
}

void TaskRunner::erase(TaskKey key) { runs_.erase(key); }

}  // namespace taskmill::worker
