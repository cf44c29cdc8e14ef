// The worker's decoder: staging, task blocks, requests. Whole tasks must survive being formatted again.
#include "protocol/format.hpp"
#include "tests/fuzz/session_checks.hpp"

using namespace taskmill;

namespace {

testing::WorkerDriver make_worker(const fuzzing::Switches& switches) {
  testing::WorkerDriver worker({.version = switches.version_9 ? 9 : 11});
  worker.session.allow_frames(switches.frames);
  return worker;
}

// What can be said again must be understood as the same task.
void check_task(const protocol::TaskDescription& task, int version) {
  std::string bytes;
  if (!protocol::task(bytes, task, version)) return;
  testing::WorkerDriver again({.version = version});
  again.feed(bytes);
  fuzzing::require(again.events.size() == 1 && !again.failed, "a formatted task is one message");
  std::string second;
  protocol::WorkerSession session({.version = version});
  std::span<const char> input(bytes);
  while (!input.empty()) {
    auto step = session.next(input);
    input = input.subspan(step.consumed);
    if (step.message) {
      fuzzing::require(protocol::task(second, std::get<protocol::RunTask>(*step.message).task, version),
                       "a parsed task can be said");
    }
  }
  fuzzing::require(second == bytes, "formatting a parsed task gives the same bytes");
}

void check_messages(std::string_view stream, const fuzzing::Switches& switches) {
  auto driver = make_worker(switches);
  auto& session = driver.session;
  std::span<const char> input(stream);
  while (!input.empty()) {
    if (const auto left = session.body_left(); left > 0) {
      const auto count = std::min<std::size_t>(left, input.size());
      session.body_taken(count);
      input = input.subspan(count);
      continue;
    }
    const auto step = session.next(input);
    fuzzing::require(step.consumed <= input.size(), "no more is consumed than there is");
    if (step.failed() || (!step.message && step.consumed == 0)) return;
    input = input.subspan(step.consumed);
    if (!step.message) continue;
    if (const auto* run = std::get_if<protocol::RunTask>(&*step.message)) {
      check_task(run->task, switches.version_9 ? 9 : 11);
    }
    if (const auto* put = std::get_if<protocol::PutFile>(&*step.message)) {
      const auto framed = "/" + std::string(put->path) + "/";
      for (const auto* bad : {"//", "/./", "/../"}) {
        fuzzing::require(framed.find(bad) == std::string::npos, "no path leaves the cache");
      }
      fuzzing::require(put->path.size() <= protocol::max_path && put->mode <= 0777, "paths and modes are bounded");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view stream(reinterpret_cast<const char*>(data), size);
  const auto switches = fuzzing::take_switches(stream);
  fuzzing::check_splits(stream, [&] { return make_worker(switches); });
  check_messages(stream, switches);
  return 0;
}
