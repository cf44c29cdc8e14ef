// The worker's machine, as conversations: this comes in, that is wanted.
#include <gmock/gmock.h>

#include "common/base/random.hpp"
#include "tests/unit/worker/machine_fixture.hpp"

namespace taskmill::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(MachineTest, ATaskRunsIsAnnouncedOnceAndReported) {
  give(task(7));
  const auto start = take();
  ASSERT_THAT(start.start, ElementsAre(1));
  EXPECT_EQ(start.lines, "info tasks_running 1\n");
  started(1);
  pass(0.5);
  exited(1, 3 << 8);
  EXPECT_EQ(take().lines, "info tasks_running 0\navailable_results\n");
  EXPECT_TRUE(take().empty()) << "a second notice";
  EXPECT_EQ(text_of(answer()), "result 0 3 0 500000 7\ninfo tasks_running 0\nend\n");
  EXPECT_EQ(text_of(answer()), "end\n");
  machine.on_kill(7, now.time, fx);
  EXPECT_THAT(take().discard, ElementsAre(1));
  EXPECT_EQ(machine.known_tasks(), 0U);
}

TEST_F(MachineTest, NoNoticeIsSentInsideAnExchange) {
  give(task(1));
  take();
  started(1);
  machine.on_results_requested();
  exited(1);
  EXPECT_EQ(take().lines, "") << "the request has come, its answer not yet gone";
  Effects reply;
  machine.answer_results(now, reply);
  EXPECT_THAT(text_of(reply), HasSubstr("result 0 0 0 0 1"));
}

TEST_F(MachineTest, SmallTasksOvertakeAndOrderIsKept) {
  give(task(1, 1, 60));
  give(task(2, 1, 60));
  give(task(3, 1, 10));
  EXPECT_THAT(take().start, ElementsAre(1, 3));
  started(1);
  started(3);
  exited(1);
  EXPECT_THAT(take().start, ElementsAre(2));
}

TEST_F(MachineTest, WhatNeverFitsIsRefusedAndForgotten) {
  give(task(1, 5));
  const auto effects = take();
  EXPECT_THAT(effects.lines, HasSubstr("resource cores 2 2 2\n"));
  EXPECT_THAT(effects.lines, HasSubstr("available_results\n"));
  EXPECT_EQ(text_of(answer()), "result 40 0 0 0 1\ninfo tasks_running 0\nend\n");
  EXPECT_EQ(machine.known_tasks(), 0U);
}

TEST_F(MachineTest, AMissingInputFailsTheTask) {
  auto description = task(1);
  description.inputs.push_back({"nothere", "x", 1, false});
  give(description);
  take();
  EXPECT_EQ(text_of(answer()), "result 1 1 0 0 1\ninfo tasks_running 0\nend\n");
}

TEST_F(MachineTest, BadNamesFailTheTaskWithWords) {
  auto description = task(1);
  description.outputs.push_back({"x", "../../y", 0});
  give(description);
  take();
  EXPECT_THAT(text_of(answer()), HasSubstr("'../../y' leaves the sandbox"));
}

TEST_F(MachineTest, RecipesAreFetchedOnceForAllWhoWait) {
  machine.on_recipe(CacheSource::url, "u", "http://x", 0644, false, now.time, fx);
  EXPECT_TRUE(take().fetch.empty()) << "nobody needs it yet";
  for (int id = 1; id <= 2; ++id) {
    auto description = task(id);
    description.inputs.push_back({"u", "x", 1, false});
    give(description);
  }
  const auto effects = take();
  ASSERT_EQ(effects.fetch.size(), 1U);
  EXPECT_THAT(effects.start, IsEmpty());
  machine.on_fetched(effects.fetch[0].id, true, false, 5, 1, 77, {}, now.time, fx);
  const auto after = take();
  EXPECT_THAT(after.lines, HasSubstr("cache-update u 5 77\n"));
  EXPECT_THAT(after.start, ElementsAre(1, 2));
}

TEST_F(MachineTest, AFailedRecipeIsToldAndTriedAgain) {
  machine.on_recipe(CacheSource::command, "c", "false %%", 0644, false, now.time, fx);
  auto description = task(1);
  description.inputs.push_back({"c", "x", 1, false});
  give(description);
  machine.on_fetched(take().fetch[0].id, false, false, 0, 1, 0, "why\n", now.time, fx);
  EXPECT_THAT(take().lines, HasSubstr("cache-invalid c 4\nwhy\n"));
  EXPECT_THAT(text_of(answer()), HasSubstr("result 1 1 0 0 1"));
  description.task_id = 2;
  give(description);
  EXPECT_EQ(take().fetch.size(), 1U);
}

TEST_F(MachineTest, UnlinkOfWhatIsBeingFetchedCancelsIt) {
  machine.on_recipe(CacheSource::url, "u", "http://x", 0644, false, now.time, fx);
  auto description = task(1);
  description.inputs.push_back({"u", "x", 1, false});
  give(description);
  const auto id = take().fetch[0].id;
  machine.on_unlink("u", now.time, fx);
  EXPECT_THAT(take().cancel_fetch, ElementsAre(id));
  machine.on_fetched(id, true, false, 5, 1, 0, {}, now.time, fx);  // it crossed
  EXPECT_EQ(machine.cache().find("u"), nullptr);
}

TEST_F(MachineTest, TasksWaitForAnAwaitedObjectWhateverWayItComes) {
  for (const bool by_peer : {true, false}) {
    const std::string name = by_peer ? "p" : "m";
    machine.on_awaited(name, now.time);
    auto description = task(by_peer ? 1 : 2);
    description.inputs.push_back({name, "x", 1, false});
    give(description);
    machine.on_awaited(name, now.time);
    const auto effects = take();
    EXPECT_TRUE(effects.start.empty() && effects.fetch.empty()) << "it comes by itself";
    if (by_peer) {
      EXPECT_TRUE(machine.on_arrived(name, false, 0644, 5, 1, now.time));
    } else {
      machine.on_stored(name, false, 0644, 5, 1, now.time);
      EXPECT_FALSE(machine.on_arrived(name, false, 0644, 5, 1, now.time)) << "too late";
    }
    EXPECT_EQ(take().start.size(), 1U);
    EXPECT_EQ(machine.cache().find(name)->state, CacheState::present);
  }
}

TEST_F(MachineTest, AnAwaitedObjectThatFailsOrIsRemovedEndsTheWaiting) {
  machine.on_awaited("a", now.time);
  machine.on_awaited("b", now.time);
  for (const auto* name : {"a", "b"}) {
    auto description = task(*name);
    description.inputs.push_back({name, "x", 1, false});
    give(description);
  }
  take();
  machine.on_unlink("a", now.time, fx);
  EXPECT_FALSE(machine.on_arrived("a", false, 0644, 5, 1, now.time)) << "removed meanwhile";
  machine.on_store_failed("b", "disk full", now.time, fx);
  take();
  const auto text = text_of(answer());
  EXPECT_THAT(text, HasSubstr("result 1 1 0 0 97\n"));
  EXPECT_THAT(text, HasSubstr("result 1 1 0 0 98\n"));
  machine.on_awaited("b", now.time);
  EXPECT_EQ(machine.cache().find("b")->state, CacheState::awaited) << "another attempt";
}

TEST_F(MachineTest, KillInEveryStateLeavesNothing) {
  give(task(1));     // will be staging
  give(task(2));     // running
  give(task(3));     // ready
  give(task(4, 9));  // refused
  take();
  started(2);
  machine.on_kill(-1, now.time, fx);
  const auto effects = take();
  EXPECT_THAT(effects.kill, ElementsAre(2));
  EXPECT_EQ(machine.known_tasks(), 0U);
  EXPECT_EQ(machine.living(), 2U) << "processes hold their resources until they are gone";
  started(1);
  EXPECT_THAT(take().kill, ElementsAre(1));
  exited(1);
  exited(2);
  EXPECT_EQ(machine.living(), 0U);
  EXPECT_EQ(machine.ledger().taken(), Allocation{});
}

TEST_F(MachineTest, AnIdUsedAgainBelongsToTheNewTask) {
  give(task(1));
  take();
  started(1);
  give(task(1));
  const auto effects = take();
  EXPECT_THAT(effects.kill, ElementsAre(1));
  EXPECT_THAT(effects.start, ElementsAre(2));
  exited(1);
  started(2);
  exited(2, 5 << 8);
  take();
  EXPECT_THAT(text_of(answer()), HasSubstr("result 0 5 0 0 1"));
}

TEST_F(MachineTest, WallTimeActsAfterItsSlackFirstGently) {
  auto description = task(1);
  description.wall_time = 1;
  give(description);
  take();
  started(1);
  EXPECT_EQ(machine.next_deadline(), now.time + std::chrono::seconds(5));
  pass(4.9);
  EXPECT_TRUE(take().empty());
  pass(0.1);
  EXPECT_THAT(take().terminate, ElementsAre(1));
  pass(2);
  EXPECT_THAT(take().kill, ElementsAre(1));
  exited(1, 9);
  take();
  EXPECT_THAT(text_of(answer()), HasSubstr("result 56 9 0 7000000 1"));
}

TEST_F(MachineTest, TwentyDaysAreNotMicroseconds) {
  auto description = task(1);
  description.wall_time = 1728000;
  give(description);
  take();
  started(1);
  pass(1000);
  EXPECT_THAT(take().terminate, IsEmpty());
}

TEST_F(MachineTest, EndTimeIsAbsolute) {
  auto description = task(1);
  description.end_time_s = 1'800'000'003.5;
  give(description);
  take();
  started(1);
  pass(3.4);
  EXPECT_TRUE(take().empty());
  pass(0.2);
  EXPECT_THAT(take().terminate, ElementsAre(1));
  exited(1, 15);
  take();
  EXPECT_THAT(text_of(answer()), HasSubstr("result 24 9 0 "));
}

TEST_F(MachineTest, IdlenessCountsOnlyWithoutTasks) {
  give(task(1));
  take();
  started(1);
  pass(2000);
  EXPECT_FALSE(take().leave);
  exited(1);
  take();
  answer();
  machine.on_kill(1, now.time, fx);
  take();
  pass(899);
  EXPECT_FALSE(take().leave);
  pass(1);
  const auto effects = take();
  ASSERT_TRUE(effects.leave);
  EXPECT_EQ(effects.leave->end, SessionEnd::idle);
  EXPECT_EQ(effects.lines, "info idle-disconnecting 900\n");
}

TEST_F(MachineTest, AManagerThatNeverAsksForResultsIsLeft) {
  give(task(1));
  take();
  started(1);
  exited(1);
  take();
  pass(899);
  EXPECT_FALSE(take().leave);
  pass(2);
  const auto effects = take();
  ASSERT_TRUE(effects.leave);
  EXPECT_EQ(effects.leave->end, SessionEnd::lost);
}

TEST_F(MachineTest, WatchedFilesAreReportedInBatches) {
  auto description = task(1);
  description.outputs.push_back({"c", "w", 16});
  give(description);
  take();
  started(1);
  machine.on_watch_size(1, 0, 4, now.time);
  EXPECT_EQ(take().lines, "available_results\n");
  const auto reply = answer();
  EXPECT_EQ(text_of(reply), "update 1 w 0 4\n<4>end\n");
  machine.on_watch_size(1, 0, 9, now.time);
  EXPECT_TRUE(take().lines.empty()) << "too soon after the last batch";
  pass(1);
  EXPECT_EQ(take().lines, "available_results\n");
  EXPECT_EQ(text_of(answer()), "update 1 w 4 5\n<5>end\n");
  machine.on_watch_size(1, 0, 3, now.time);
  machine.on_watch_size(1, 0, 30, now.time);
  pass(5);
  EXPECT_TRUE(take().lines.empty()) << "a file that shrank is not watched any more";
}

TEST_F(MachineTest, ASpoiledInputSendsWaitingTasksBack) {
  machine.on_stored("in", false, 0644, 5, 1, now.time);
  for (int id = 1; id <= 3; ++id) {
    auto description = task(id, 2);
    description.inputs.push_back({"in", "x", 1, false});
    give(description);
  }
  take();
  started(1);
  TaskExit exit;
  exit.spoiled = {"in"};
  machine.on_exited(1, exit, now, fx);
  const auto effects = take();
  EXPECT_THAT(effects.lines, HasSubstr("cache-invalid in "));
  ASSERT_EQ(effects.remove.size(), 1U);
  const auto text = text_of(answer());
  EXPECT_THAT(text, HasSubstr("result 0 0 0 0 1\n"));
  EXPECT_THAT(text, HasSubstr("result 40 0 0 0 2\n"));
  EXPECT_THAT(text, HasSubstr("result 40 0 0 0 3\n"));
}

TEST_F(MachineTest, ALostSessionForgetsTasksAndCache) {
  machine.on_stored("in", false, 0644, 5, 1, now.time);
  give(task(1));
  give(task(2, 2));
  take();
  started(1);
  Effects last;
  machine.on_session_ended(SessionEnd::lost, now.time, last);
  EXPECT_THAT(last.kill, ElementsAre(1));
  EXPECT_EQ(machine.cache().count(), 0U);
  machine.on_session_started("m", 9, now, fx);
  EXPECT_THAT(take().lines, HasSubstr("workqueue 9 h Linux"));
  exited(1);
  EXPECT_TRUE(take().lines.empty()) << "an old task's end is nobody's business";
}

TEST_F(MachineTest, DiskPromisesAreKeptOrTheWorkerLeaves) {
  auto promising = config();
  promising.disk_promise = 10;
  promising.offered.disk = 10;
  Machine strict(promising, now.time);
  strict.on_session_started("m", 11, now, fx);
  strict.on_stored("big", false, 0644, 11U << 20, 1, now.time);
  Effects full;
  strict.run(now, full);  // nothing has to be measured for that
  ASSERT_TRUE(full.leave);
  EXPECT_EQ(full.leave->end, SessionEnd::lost);
  EXPECT_EQ(full.lines, "info disk_exhausted 11\n");
}

TEST_F(MachineTest, ABatchSystemsDiskIsNotExceededHoweverMuchIsFree) {
  auto granted = config();
  granted.disk_granted = 100;
  granted.offered.disk = 100;
  Machine batch(granted, now.time);
  batch.on_session_started("m", 11, now, fx);
  take();
  batch.on_disk_measured(70'000, now.time, fx);
  EXPECT_TRUE(take().lines.empty()) << "nothing has changed";
  batch.on_stored("big", false, 0644, 150U << 20, 1, now.time);
  batch.run(now, fx);
  EXPECT_FALSE(take().leave) << "a grant is no promise of ours";
}

TEST_F(MachineTest, ALargeChangeOfDiskIsAnnounced) {
  machine.on_disk_measured(990, now.time, fx);
  EXPECT_TRUE(take().lines.empty());
  machine.on_disk_measured(500, now.time, fx);
  EXPECT_THAT(take().lines, HasSubstr("resource disk 500 500 500\n"));
}

// Everything at random, with the invariants checked after each step.
TEST_F(MachineTest, RandomLivesKeepTheInvariants) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Machine wild(config(), now.time);
    Effects effects;
    wild.on_session_started("m", random.below(2) == 0 ? 9 : 11, now, effects);
    std::vector<TaskKey> staging, running;
    std::vector<std::uint64_t> fetching;
    std::int64_t next_id = 1;
    const auto some = [&](std::vector<TaskKey>& keys) {
      const auto index = random.below(keys.size());
      const auto key = keys[index];
      keys.erase(keys.begin() + static_cast<std::ptrdiff_t>(index));
      return key;
    };
    for (int step = 0; step < 600; ++step) {
      pass(random.uniform());
      switch (random.below(11)) {
        case 0:
        case 1: {
          auto description = task(static_cast<std::int64_t>(random.below(3)) == 0 ? next_id : ++next_id,
                                  static_cast<double>(random.below(4)), static_cast<double>(random.below(120)));
          if (random.below(3) == 0)
            description.inputs.push_back({"f" + std::to_string(random.below(4)), "x", 1, false});
          if (random.below(4) == 0) description.wall_time = 1;
          wild.on_task(description, now, effects);
          break;
        }
        case 2:
          wild.on_kill(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(next_id) + 1)), now.time,
                       effects);
          break;
        case 3:
          wild.on_stored("f" + std::to_string(random.below(2)), false, 0644, random.below(100), 1, now.time);
          if (random.below(2) == 0) wild.on_awaited("f" + std::to_string(random.below(4)), now.time);
          if (random.below(2) == 0) {
            wild.on_arrived("f" + std::to_string(random.below(4)), false, 0644, random.below(100), 1, now.time);
          }
          break;
        case 4:
          wild.on_recipe(CacheSource::url, "f" + std::to_string(2 + random.below(2)), "u", 0644, random.below(2) == 0,
                         now.time, effects);
          break;
        case 5:
          wild.on_unlink("f" + std::to_string(random.below(4)), now.time, effects);
          break;
        case 6:
          if (!staging.empty()) {
            const auto key = some(staging);
            if (random.below(4) == 0) {
              wild.on_start_failed(key, 1, 1, "no", now.time, effects);
            } else {
              wild.on_started(key, now, effects);
              running.push_back(key);
            }
          }
          break;
        case 7:
          if (!running.empty()) {
            TaskExit exit;
            if (random.below(5) == 0) exit.spoiled.push_back("f0");
            wild.on_exited(some(running), exit, now, effects);
          }
          break;
        case 8:
          if (!fetching.empty()) {
            const auto id = fetching.back();
            fetching.pop_back();
            wild.on_fetched(id, random.below(2) == 0, false, 3, 1, 1, "t", now.time, effects);
          }
          break;
        case 9: {
          wild.on_results_requested();
          Effects reply;
          wild.answer_results(now, reply);
          break;
        }
        default:
          if (random.below(20) == 0) {
            wild.on_session_ended(SessionEnd::lost, now.time, effects);
            fetching.clear();
            effects.clear();
            wild.on_session_started("m", 11, now, effects);
          }
      }
      wild.run(now, effects);
      wild.check_invariants();
      staging.insert(staging.end(), effects.start.begin(), effects.start.end());
      for (const auto& order : effects.fetch) fetching.push_back(order.id);
      effects.clear();
    }
    while (!staging.empty()) wild.on_start_failed(some(staging), 0, 0, {}, now.time, effects);
    while (!running.empty()) wild.on_exited(some(running), {}, now, effects);
    wild.check_invariants();
    EXPECT_EQ(wild.living(), wild.running());
  }
}

}  // namespace
}  // namespace taskmill::worker
