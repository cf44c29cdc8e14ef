// A disk that is nearly full: what the worker's machine takes out of its cache, and whom it tells.
#include <gmock/gmock.h>

#include "protocol/result_code.hpp"
#include "tests/unit/worker/machine_fixture.hpp"

namespace taskmill::worker {
namespace {

using ::testing::HasSubstr;

struct SmallDisk : MachineTest {
  protocol::TaskDescription with_input(std::int64_t id, const std::string& name) {
    auto description = task(id);
    description.inputs.push_back({name, name, protocol::file_flag::cache, false});
    return description;
  }
  void store(const std::string& name, std::uint64_t megabytes) {
    machine.on_stored(name, false, 0644, megabytes << 20U, 1, now.time);
  }
  void run(std::int64_t id, const std::string& name) {
    give(with_input(id, name));
    const auto key = take().start.at(0);
    started(key);
    exited(key);
    take();
    answer();
    machine.on_kill(id, now.time, fx);
    take();
  }
};

TEST_F(SmallDisk, UnusedFilesGoLeastRecentlyUsedFirstAndTheManagerIsTold) {
  for (const char* name : {"a", "b", "c", "waiting"}) store(name, 20);
  run(1, "b");
  run(2, "a");
  run(3, "c");
  give(with_input(4, "b"));  // runs on, and needs it
  take();
  machine.on_disk_measured(25, now.time, fx);
  const auto effects = take();
  ASSERT_EQ(effects.remove.size(), 2U) << "25 MB are missing: two files of 20 MB";
  EXPECT_EQ(effects.remove[0].name, "a");
  EXPECT_EQ(effects.remove[1].name, "c");
  EXPECT_THAT(effects.lines, HasSubstr("cache-invalid a "));
  machine.on_disk_measured(10, now.time, fx);
  EXPECT_TRUE(take().remove.empty()) << "one is in use, the other was just sent for a task to come";

  // The manager did not know yet: the task goes back, to come again with its file.
  give(with_input(5, "a"));
  take();
  EXPECT_THAT(text_of(answer()), HasSubstr("result 40 0 0 0 5"));
  store("a", 20);
  give(with_input(6, "a"));
  EXPECT_EQ(take().start.size(), 1U);
}

TEST_F(SmallDisk, AnOldManagerThatCannotBeToldKeepsItsFiles) {
  machine.on_session_ended(SessionEnd::lost, now.time, fx);
  take();
  machine.on_session_started("m", 9, now, fx);
  take();
  store("a", 2000);
  run(1, "a");
  machine.on_disk_measured(0, now.time, fx);
  EXPECT_TRUE(take().remove.empty());
}

}  // namespace
}  // namespace taskmill::worker
