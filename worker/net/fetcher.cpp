#include "worker/net/fetcher.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "common/os/curl.hpp"
#include "common/os/tree.hpp"
#include "worker/core/command_line.hpp"

namespace taskmill::worker {
namespace {

constexpr ProcessTable::Owner fetch_owner = 1ULL << 62;

mode_t current_umask() {
  static const mode_t mask = [] {
    const mode_t old = ::umask(077);
    ::umask(old);
    return old;
  }();
  return mask;
}

std::string how_it_ended(int wait_status) {
  if (WIFSIGNALED(wait_status)) return "was killed by signal " + std::to_string(WTERMSIG(wait_status));
  return "ended with exit status " + std::to_string(WEXITSTATUS(wait_status));
}

}  // namespace

std::vector<std::string> Fetcher::words_of(const FetchOrder& order, const std::string& target, std::string& why) {
  switch (order.source) {
    case CacheSource::url: {
      auto words = os::curl_words(order.text, target);
      if (words) return std::move(*words);
      why = words.error().text;
      return {};
    }
    case CacheSource::command:
      return {"/bin/sh", "-c", expand_path_marks(order.text, target)};
    case CacheSource::copy:
      return {"/bin/cp", "-RL", "--", order.text, target};
    default:
      why = "nothing to fetch";
      return {};
  }
}

void Fetcher::start(const FetchOrder& order) {
  auto job = std::make_unique<Job>();
  job->order = order;
  job->temporary = context_.space.next_name();
  job->started = aio::steady_now();
  std::string why;
  const auto words = words_of(order, context_.space.path() + "/in/" + job->temporary, why);
  if (words.empty()) return fail(order, why);
  auto capture = context_.captures.acquire();
  if (!capture) return fail(order, "cannot create a file for messages: " + capture.error().message());
  job->capture = std::move(*capture);

  Environment::Block block;
  context_.environment.build_base(block);
  std::vector<const char*> argv;
  for (const auto& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  const auto cwd = context_.space.path();
  os::SpawnPlan plan;
  plan.path = argv[0];
  plan.argv = argv.data();
  plan.envp = block.pointers.data();
  plan.cwd = cwd.c_str();
  plan.stdin_fd = context_.null.get();
  plan.stdout_fd = job->capture.fd.get();
  plan.stderr_fd = job->capture.fd.get();
  auto started = context_.processes.start(fetch_owner | order.id, plan);
  if (!started) return fail(order, "cannot start '" + words.front() + "': " + started.error().message());
  job->wait = std::make_unique<Wait>(context_.io, started->pidfd.release());
  job->wait->async_wait(Wait::wait_read, [this, id = order.id](ErrorCode error) {
    if (!error) on_end(id);
  });
  if (context_.log.detailed()) context_.log.detail("fetching '" + order.name + "': " + order.text);
  jobs_[order.id] = std::move(job);
}

void Fetcher::cancel(std::uint64_t id) {
  const auto at = jobs_.find(id);
  if (at == jobs_.end()) return;
  at->second->cancelled = true;
  context_.processes.signal(fetch_owner | id, SIGKILL);
}

void Fetcher::fail(const FetchOrder& order, const std::string& why) {
  context_.machine.on_fetched(order.id, false, false, 0, 0, 0, why, aio::steady_now(), context_.effects);
  context_.wake();
}

// Checks what was made and gives it its name.
bool Fetcher::adopt(Job& job, std::string& why, bool& directory, std::uint64_t& size, std::uint64_t& entries) {
  struct stat status {};
  if (::fstatat(context_.space.in(), job.temporary.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
      (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) {
    why = "it succeeded but did not make its file";
    return false;
  }
  directory = S_ISDIR(status.st_mode);
  size =
      directory ? os::tree_size(context_.space.in(), job.temporary, 5000) : static_cast<std::uint64_t>(status.st_size);
  entries = directory ? 5000 : 1;
  if (!directory)
    ::fchmodat(context_.space.in(), job.temporary.c_str(), (job.order.mode & 0777 & ~current_umask()) | 0400, 0);
  bool went = false;
  const auto trash_name = context_.space.next_name();
  const auto error =
      replace_in_cache(context_.places(), context_.space.in(), job.temporary, job.order.name, trash_name, went);
  if (went) context_.disposal.add(trash_name);
  if (error) why = "cannot put it into the cache: " + error.message();
  return !error;
}

void Fetcher::on_end(std::uint64_t id) {
  auto node = jobs_.extract(id);
  Job& job = *node.mapped();
  job.wait.reset();
  const auto reaped = context_.processes.end(fetch_owner | id);
  context_.sweep();
  context_.processes.forget(fetch_owner | id);
  auto printed = context_.captures.finish(std::move(job.capture), false);
  context_.captures.discard(printed);
  if (job.cancelled) {
    const auto trash_name = context_.space.next_name();
    if (::renameat(context_.space.in(), job.temporary.c_str(), context_.space.trash(), trash_name.c_str()) == 0) {
      context_.disposal.add(trash_name);
    }
    return;
  }
  bool directory = false;
  std::uint64_t size = 0;
  std::uint64_t entries = 1;
  std::string why;
  const bool fine = WIFEXITED(reaped.wait_status) && WEXITSTATUS(reaped.wait_status) == 0;
  const bool ok = fine && adopt(job, why, directory, size, entries);
  if (!ok) {
    const auto trash_name = context_.space.next_name();
    if (::renameat(context_.space.in(), job.temporary.c_str(), context_.space.trash(), trash_name.c_str()) == 0) {
      context_.disposal.add(trash_name);
    }
    std::string text = std::move(printed.text);
    if (!fine && text.empty()) why = "it " + how_it_ended(reaped.wait_status);
    if (!why.empty()) text += "cannot make '" + job.order.name + "' from '" + job.order.text + "': " + why + "\n";
    return fail(job.order, text);
  }
  const auto duration = static_cast<std::uint64_t>((aio::steady_now() - job.started).count());
  context_.machine.on_fetched(id, true, directory, size, entries, duration, {}, aio::steady_now(), context_.effects);
  context_.wake();
}

}  // namespace taskmill::worker
