// The manager's decoder: lines of workers, status clients and browsers.
#include "tests/fuzz/session_checks.hpp"

using namespace taskmill;

namespace {

// The cache names the seeds ask for, as the golden transcripts use them.
testing::ManagerDriver make_manager(const fuzzing::Switches& switches) {
  testing::ManagerDriver manager({});
  manager.session.allow_frames(switches.frames);
  if (!switches.requests) return manager;
  for (int round = 0; round < 4; ++round) {
    manager.session.expect_results();
    manager.session.expect_get("file-1-x-out");
    manager.session.expect_get("f");
  }
  return manager;
}

void check_path(std::string_view path) {
  if (path.empty()) return;
  const auto framed = "/" + std::string(path) + "/";
  for (const auto* bad : {"//", "/./", "/../"}) {
    fuzzing::require(framed.find(bad) == std::string::npos, "no path leaves the requested name");
  }
}

// Paths handed on must stay below the requested name, whatever came.
void check_paths(std::string_view stream, const fuzzing::Switches& switches) {
  auto driver = make_manager(switches);
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
    if (const auto* item = std::get_if<protocol::FileItem>(&*step.message)) check_path(item->path);
    if (const auto* item = std::get_if<protocol::DirItem>(&*step.message)) check_path(item->path);
    if (const auto* item = std::get_if<protocol::MissingItem>(&*step.message)) check_path(item->path);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view stream(reinterpret_cast<const char*>(data), size);
  const auto switches = fuzzing::take_switches(stream);
  fuzzing::check_splits(stream, [&] { return make_manager(switches); });
  check_paths(stream, switches);
  return 0;
}
