// Tasks that run inside an environment, as the worker's machine sees them.
#include <gmock/gmock.h>

#include "tests/unit/worker/machine_fixture.hpp"

namespace taskmill::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(MachineTest, TasksWaitForTheirEnvironmentWithoutResources) {
  machine.on_environment_offered("abc", now.time);
  auto waits = task(1, 2);
  waits.environment = "abc";
  give(waits);
  give(task(2, 2));
  EXPECT_THAT(take().start, ElementsAre(2U));  // the other one is not held up
  started(2);
  pass(100);
  exited(2);
  take();
  machine.on_environment_ready("abc", now.time);
  EXPECT_THAT(take().start, ElementsAre(1U));
  started(1);
  pass(3);
  exited(1);
  take();
  EXPECT_THAT(text_of(answer()), HasSubstr("result 0 0 0 3000000 1\n"));  // waiting was not its time
  auto later = task(3);
  later.environment = "abc";
  give(later);
  EXPECT_THAT(take().start, ElementsAre(3U));
}

TEST_F(MachineTest, AnEnvironmentIsInUseAsLongAsATaskNamesItAndUnknownWhenItWasEvicted) {
  machine.on_environment_offered("abc", now.time);
  machine.on_environment_ready("abc", now.time);
  EXPECT_FALSE(machine.uses_environment("abc"));
  auto first = task(1);
  first.environment = "abc";
  give(first);
  take();
  EXPECT_TRUE(machine.uses_environment("abc"));
  EXPECT_FALSE(machine.uses_environment("other"));
  machine.on_environment_evicted("abc");
  auto crossed = task(2);
  crossed.environment = "abc";
  give(crossed);
  EXPECT_THAT(take().start, IsEmpty());
  EXPECT_THAT(text_of(answer()), HasSubstr("result 40 "));
}

TEST_F(MachineTest, TasksOfAFailedOrUnknownEnvironmentAreGivenBack) {
  machine.on_environment_offered("abc", now.time);
  auto waits = task(1);
  waits.environment = "abc";
  give(waits);
  auto unknown = task(2);
  unknown.environment = "other";
  give(unknown);
  machine.on_environment_failed("abc", now.time);
  auto late = task(3);
  late.environment = "abc";
  give(late);
  EXPECT_THAT(take().start, IsEmpty());
  const auto text = text_of(answer());
  for (const char* id : {" 1\n", " 2\n", " 3\n"}) EXPECT_THAT(text, HasSubstr(std::string("result 40 0 0 0") + id));
  machine.on_environment_offered("abc", now.time);  // another attempt
  give(waits);
  machine.on_environment_ready("abc", now.time);
  EXPECT_EQ(take().start.size(), 1U);
}

TEST_F(MachineTest, AKilledTaskWaitsForNoEnvironment) {
  machine.on_environment_offered("abc", now.time);
  auto waits = task(1);
  waits.environment = "abc";
  give(waits);
  machine.on_kill(1, now.time, fx);
  machine.on_environment_ready("abc", now.time);
  EXPECT_THAT(take().start, IsEmpty());
  machine.on_session_ended(SessionEnd::lost, now.time, fx);
  machine.on_environment_ready("abc", now.time);  // what a thread of the old session still says
  EXPECT_THAT(take().start, IsEmpty());
}

}  // namespace
}  // namespace taskmill::worker
