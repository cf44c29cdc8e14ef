#include "manager/analysis/core/planner.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/base/random.hpp"
#include "tests/unit/analysis/small_settings.hpp"

namespace taskmill::manager::analysis {
namespace {

// Runs items to their end in order of arrival, everything succeeding.
void run_all(Planner& planner, std::uint64_t events_per_file) {
  while (const auto item = planner.next()) {
    if (item->kind == ItemKind::preprocess) planner.on_counted(item->id, events_per_file);
    if (item->kind == ItemKind::process) {
      EXPECT_TRUE(planner.on_processed(item->id, 1, 100));
    }
    if (item->kind == ItemKind::accumulate) {
      EXPECT_TRUE(planner.on_accumulated(item->id));
    }
    ASSERT_EQ(planner.check(), "");
  }
}

TEST(Planner, CutsFilesEvenlyAndMergesToOneResult) {
  Planner planner(small_settings());
  const auto data = planner.add_dataset("data");
  planner.add_file(data, "a");
  planner.add_file(data, "b");
  run_all(planner, 250);
  ASSERT_TRUE(planner.finished());
  ASSERT_EQ(planner.results().size(), 1U);
  EXPECT_EQ(planner.events_of(planner.results()[0]).count(), 500U);
  EXPECT_EQ(planner.progress().events_processed, 500U);
  EXPECT_TRUE(planner.losses().empty());
}

TEST(Planner, ProcessesTheFirstFilesBeforeTheLastAreCounted) {
  Planner planner(small_settings());
  const auto data = planner.add_dataset("data");
  for (int i = 0; i < 500; ++i) planner.add_file(data, "f" + std::to_string(i));
  int counted = 0;
  while (const auto item = planner.next()) {
    if (item->kind == ItemKind::process) break;
    if (item->kind == ItemKind::preprocess) planner.on_counted(item->id, 1000), ++counted;
  }
  EXPECT_LT(counted, 100);
}

TEST(Planner, AnEmptyFileIsCompleteAtOnce) {
  Planner planner(small_settings());
  const auto data = planner.add_dataset("data");
  planner.add_file(data, "empty");
  run_all(planner, 0);
  EXPECT_TRUE(planner.finished());
  EXPECT_TRUE(planner.results().empty());
}

TEST(Planner, SplitsAnExhaustedChunkIntoExactHalves) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 101);
  auto item = planner.next();
  ASSERT_EQ(item->range, (EventRange{0, 51}));
  planner.on_exhausted(item->id, "memory");
  const auto low = planner.next();
  const auto high = planner.next();
  EXPECT_EQ(low->range, (EventRange{0, 25}));
  EXPECT_EQ(high->range, (EventRange{25, 51}));
  EXPECT_TRUE(planner.on_processed(low->id, 1, 1));
  EXPECT_TRUE(planner.on_processed(high->id, 1, 1));
  run_all(planner, 0);
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.events_of(planner.results().at(0)).count(), 101U);
  EXPECT_EQ(planner.progress().splits, 1U);
}

TEST(Planner, ReportsAnEventThatCannotBeSplit) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 1);
  planner.on_exhausted(planner.next()->id, "memory: 500 MB allowed, 812 MB used");
  EXPECT_FALSE(planner.next());
  EXPECT_TRUE(planner.finished());
  ASSERT_EQ(planner.losses().size(), 1U);
  EXPECT_EQ(planner.losses()[0].range, (EventRange{0, 1}));
  EXPECT_EQ(planner.losses()[0].reason, "memory: 500 MB allowed, 812 MB used");
}

TEST(Planner, TriesAFailedChunkAgainAndThenGivesItUpWhileOthersGoOn) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 200);
  int attempts = 0;
  while (const auto item = planner.next()) {
    if (item->kind == ItemKind::accumulate) {
      planner.on_accumulated(item->id);
    } else if (item->range.first == 0) {
      EXPECT_EQ(item->attempt, static_cast<std::uint32_t>(attempts));
      ++attempts;
      planner.on_failed(item->id, "exit code 3");
    } else {
      planner.on_processed(item->id, 1, 1);
    }
  }
  EXPECT_EQ(attempts, 3);
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.progress().events_lost, 100U);
  EXPECT_EQ(planner.processed().missing(0, 200), (EventSet::Ranges{{0, 100}}));
}

TEST(Planner, CountsAReplicatedChunkOnce) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 50);
  const auto item = planner.next();
  EXPECT_TRUE(planner.on_processed(item->id, 1, 1));
  EXPECT_FALSE(planner.on_processed(item->id, 1, 1));
  planner.on_failed(item->id, "late");
  EXPECT_EQ(planner.check(), "");
  EXPECT_EQ(planner.progress().events_processed, 50U);
}

TEST(Planner, StopsAtTheRequestedNumberOfChunks) {
  auto settings = small_settings();
  settings.maxchunks = 2;
  Planner planner(settings);
  const auto data = planner.add_dataset("data");
  for (int i = 0; i < 5; ++i) planner.add_file(data, "f");
  run_all(planner, 300);
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.progress().events_processed, 200U);
}

TEST(Planner, ABadFileIsSkippedAndReportedWhenAsked) {
  auto settings = small_settings();
  settings.skip_bad_files = true;
  Planner planner(settings);
  const auto data = planner.add_dataset("data");
  planner.add_file(data, "bad");
  planner.add_file(data, "good");
  while (const auto item = planner.next()) {
    if (item->kind == ItemKind::preprocess && item->file == 0) {
      planner.on_failed(item->id, "not a ROOT file");
    } else if (item->kind == ItemKind::preprocess) {
      planner.on_counted(item->id, 10);
    } else {
      planner.on_processed(item->id, 1, 1);
    }
  }
  EXPECT_TRUE(planner.finished());
  ASSERT_EQ(planner.losses().size(), 1U);
  EXPECT_EQ(planner.losses()[0].kind, ItemKind::preprocess);
  EXPECT_EQ(planner.progress().events_processed, 10U);
}

TEST(Planner, ABadFileStopsTheRunAndWhatIsDoneIsStillMerged) {
  auto settings = small_settings();
  settings.retries = 1;
  Planner planner(settings);
  const auto data = planner.add_dataset("data");
  planner.add_file(data, "good", 1000);
  planner.add_file(data, "bad");
  std::vector<WorkItem> chunks;
  while (const auto item = planner.next()) {
    if (item->kind == ItemKind::preprocess) planner.on_failed(item->id, "not a ROOT file");
    if (item->kind == ItemKind::accumulate) planner.on_accumulated(item->id);
    if (item->kind == ItemKind::process) chunks.push_back(*item);
    if (chunks.size() == 3) {
      for (const auto& chunk : chunks) planner.on_processed(chunk.id, 1, 1);
      chunks.clear();
    }
  }
  for (const auto& chunk : chunks) planner.on_processed(chunk.id, 1, 1);
  while (const auto item = planner.next()) {
    ASSERT_EQ(item->kind, ItemKind::accumulate);
    planner.on_accumulated(item->id);
  }
  EXPECT_TRUE(planner.finished());
  EXPECT_TRUE(planner.stopping());
  EXPECT_EQ(planner.failure(), "bad cannot be counted: not a ROOT file");
  EXPECT_EQ(planner.check(), "");
  EXPECT_LT(planner.progress().events_processed, 1000U);
}

TEST(Planner, GivesOneResultPerDatasetWhenAsked) {
  auto settings = small_settings();
  settings.result_per_dataset = true;
  Planner planner(settings);
  const auto muons = planner.add_dataset("muons");
  const auto electrons = planner.add_dataset("electrons");
  planner.add_file(muons, "m", 1000);
  planner.add_file(electrons, "e", 500);
  run_all(planner, 0);
  ASSERT_EQ(planner.results().size(), 2U);
  EXPECT_EQ(planner.events_of(planner.results()[0]).count() + planner.events_of(planner.results()[1]).count(), 1500U);
}

TEST(Planner, StoppingMergesWhatIsDone) {
  auto settings = small_settings();
  settings.treereduction = 20;
  Planner planner(settings);
  planner.add_file(planner.add_dataset("data"), "a", 1000);
  for (int i = 0; i < 4; ++i) planner.on_processed(planner.next()->id, 1, 1);
  const auto running = planner.next();
  planner.stop_submitting();
  planner.on_processed(running->id, 1, 1);
  while (const auto item = planner.next()) {
    ASSERT_EQ(item->kind, ItemKind::accumulate);
    planner.on_accumulated(item->id);
  }
  EXPECT_TRUE(planner.finished());
  ASSERT_EQ(planner.results().size(), 1U);
  EXPECT_EQ(planner.events_of(planner.results()[0]).files().at(0), (EventSet::Ranges{{0, 500}}));
}

TEST(Planner, AMergeThatFailsIsTriedWithFewerInputsAndNothingIsLost) {
  auto settings = small_settings();
  settings.treereduction = 8;
  settings.retries = 0;
  Planner planner(settings);
  planner.add_file(planner.add_dataset("data"), "a", 800);
  while (const auto item = planner.next()) {
    if (item->kind == ItemKind::process) planner.on_processed(item->id, 1, 1);
    if (item->kind != ItemKind::accumulate) continue;
    if (item->inputs.size() > 4) {
      planner.on_exhausted(item->id, "memory");
    } else {
      planner.on_accumulated(item->id);
    }
    ASSERT_EQ(planner.check(), "");
  }
  EXPECT_TRUE(planner.finished());
  ASSERT_EQ(planner.results().size(), 1U);
  EXPECT_EQ(planner.events_of(planner.results()[0]).count(), 800U);
}

TEST(Planner, AnUnmergeablePairStaysTwoResults) {
  auto settings = small_settings();
  settings.retries = 1;
  Planner planner(settings);
  planner.add_file(planner.add_dataset("data"), "a", 200);
  while (const auto item = planner.next()) {
    if (item->kind == ItemKind::process) planner.on_processed(item->id, 1, 1);
    if (item->kind == ItemKind::accumulate) planner.on_failed(item->id, "exit code 1");
  }
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.results().size(), 2U);
  EXPECT_EQ(planner.losses().size(), 1U);
}

TEST(Planner, ALostPartialResultIsProcessedAgain) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 300);
  const auto first = planner.next();
  const auto partial = planner.on_processed(first->id, 1, 1, 7);
  planner.on_partial_lost(*partial);
  EXPECT_EQ(planner.check(), "");
  run_all(planner, 0);
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.events_of(planner.results().at(0)).count(), 300U);
}

TEST(Planner, TakesOverTheCheckpointOfAnEarlierRun) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 300);
  EventSet done;
  ASSERT_TRUE(done.add(0, {50, 250}));
  PartialId id;
  ASSERT_TRUE(planner.restore(0, done, id));
  EXPECT_FALSE(planner.restore(0, done, id));
  run_all(planner, 0);
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.events_of(planner.results().at(0)).count(), 300U);
}

TEST(Planner, AFixedOrderTakesOverChunksAndNothingLarger) {
  auto settings = small_settings();
  settings.deterministic = true;
  Planner planner(settings);
  planner.add_file(planner.add_dataset("data"), "a", 300);
  EventSet merged;
  ASSERT_TRUE(merged.add(0, {0, 100}) && merged.add(0, {200, 300}));
  PartialId id;
  EXPECT_FALSE(planner.restore(0, merged, id));
  EventSet chunk;
  ASSERT_TRUE(chunk.add(0, {100, 200}));
  EXPECT_TRUE(planner.restore(0, chunk, id));
  run_all(planner, 0);
  EXPECT_TRUE(planner.finished());
  ASSERT_EQ(planner.results().size(), 1U);
  EXPECT_EQ(planner.events_of(planner.results()[0]).count(), 300U);
}

TEST(Planner, RefusesWhatDoesNotFitTheFiles) {
  auto settings = small_settings();
  settings.result_per_dataset = true;
  Planner planner(settings);
  planner.add_file(planner.add_dataset("one"), "a", 300);
  planner.add_file(planner.add_dataset("two"), "b");
  EventSet too_long;
  ASSERT_TRUE(too_long.add(0, {200, 301}));
  EventSet other;
  ASSERT_TRUE(other.add(1, {0, 10}));
  PartialId id;
  EXPECT_FALSE(planner.restore(0, too_long, id));
  EXPECT_FALSE(planner.restore(0, other, id));
  EXPECT_FALSE(planner.restore(2, other, id));
  EXPECT_TRUE(planner.restore(1, other, id));
}

TEST(Planner, DynamicChunksShrinkTowardsTheEnd) {
  auto settings = small_settings();
  settings.chunksize = 1024;
  settings.dynamic_chunksize = ChunkTargets{1e9, std::nullopt};
  Planner planner(settings);
  planner.set_capacity(8);
  planner.add_file(planner.add_dataset("data"), "a", 1 << 16);
  std::uint64_t largest = 0;
  std::uint64_t last = 0;
  while (const auto item = planner.next()) {
    if (item->kind != ItemKind::process) {
      planner.on_accumulated(item->id);
      continue;
    }
    largest = std::max(largest, item->range.count());
    last = item->range.count();
    planner.on_processed(item->id, 0.001 * static_cast<double>(item->range.count()), 1);
  }
  EXPECT_GE(largest, 1024U);
  EXPECT_LE(last, largest / 8);
  EXPECT_EQ(planner.progress().events_processed, 1U << 16);
}

// The inputs of every merge, written as nested lists, are the same in whatever order things finish.
std::string ordered_result(std::uint64_t seed) {
  auto settings = small_settings();
  settings.deterministic = true;
  Planner planner(settings);
  const auto data = planner.add_dataset("data");
  for (int i = 0; i < 7; ++i) planner.add_file(data, "f" + std::to_string(i));
  Random random(seed);
  std::vector<WorkItem> running;
  std::map<std::uint64_t, std::string> text;
  while (true) {
    while (running.size() < 6) {
      auto item = planner.next();
      if (!item) break;
      running.push_back(*item);
    }
    if (running.empty()) break;
    const auto pick = random.below(running.size());
    const WorkItem item = running[pick];
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(pick));
    if (random.below(5) == 0 && item.attempt < 2) {
      planner.on_failed(item.id, "killed");
    } else if (item.kind == ItemKind::preprocess) {
      planner.on_counted(item.id, 130 * item.file);
    } else if (item.kind == ItemKind::process) {
      const auto partial = planner.on_processed(item.id, 1, 1);
      text[partial->value()] = std::to_string(item.file) + ":" + std::to_string(item.range.first);
    } else {
      std::string joined = "(";
      for (const auto input : item.inputs) joined += text.at(input.value()) + " ";
      const auto partial = planner.on_accumulated(item.id);
      text[partial->value()] = joined + ")";
    }
    EXPECT_EQ(planner.check(), "") << "seed " << seed;
  }
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.results().size(), 1U);
  return text.at(planner.results().at(0).value());
}

TEST(Planner, DeterministicMergesDoNotDependOnTheOrderOfCompletion) {
  const auto expected = ordered_result(1);
  for (std::uint64_t seed = 2; seed < 40; ++seed) EXPECT_EQ(ordered_result(seed), expected) << "seed " << seed;
}

// Random faults of every kind; at the end each event is in the result or in the list of losses, once.
TEST(Planner, AccountsForEveryEventUnderRandomFaults) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    auto settings = small_settings();
    settings.skip_bad_files = true;
    settings.treereduction = static_cast<std::uint32_t>(2 + random.below(6));
    if (random.below(2) == 0) settings.dynamic_chunksize = ChunkTargets{20.0, 800.0};
    Planner planner(settings);
    std::map<std::uint32_t, std::uint64_t> truth;
    for (int d = 0; d < 3; ++d) {
      const auto dataset = planner.add_dataset("d" + std::to_string(d));
      for (int f = 0; f < 8; ++f) {
        const auto events = random.below(1500);
        truth[planner.add_file(dataset, "f")] = events;
      }
    }
    std::vector<WorkItem> running;
    std::vector<PartialId> known;
    while (true) {
      while (running.size() < 10) {
        auto item = planner.next();
        if (!item) break;
        running.push_back(*item);
      }
      if (running.empty()) break;
      const auto pick = random.below(running.size());
      const WorkItem item = running[pick];
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(pick));
      const auto fate = random.below(20);
      std::optional<PartialId> made;
      if (fate == 0) {
        planner.on_failed(item.id, "exit code 1");
      } else if (fate == 1 && item.range.count() > 20) {
        planner.on_exhausted(item.id, "memory");
      } else if (item.kind == ItemKind::preprocess) {
        planner.on_counted(item.id, truth[item.file]);
      } else if (item.kind == ItemKind::process) {
        made = planner.on_processed(item.id, 0.01 * static_cast<double>(item.range.count()), 100,
                                    static_cast<std::uint32_t>(random.below(3)));
      } else {
        made = planner.on_accumulated(item.id, static_cast<std::uint32_t>(random.below(3)));
      }
      if (made) known.push_back(*made);
      if (!known.empty() && random.below(30) == 0) {
        planner.on_partial_lost(known[random.below(known.size())]);
        std::erase_if(running, [&](const WorkItem& other) { return !planner.is_active(other.id); });
      }
      if (random.below(8) == 0) {
        ASSERT_EQ(planner.check(), "") << "seed " << seed;
      }
    }
    ASSERT_EQ(planner.check(), "") << "seed " << seed;
    ASSERT_TRUE(planner.finished()) << "seed " << seed;
    EventSet all = planner.processed();
    std::set<std::uint32_t> bad;
    for (const auto& loss : planner.losses()) {
      if (loss.kind == ItemKind::process) {
        EXPECT_TRUE(all.add(loss.file, loss.range)) << "seed " << seed;
      }
      if (loss.kind == ItemKind::preprocess) bad.insert(loss.file);
    }
    for (const auto& [file, events] : truth) {
      if (bad.contains(file)) continue;
      EXPECT_TRUE(all.missing(file, events).empty()) << "seed " << seed << " file " << file;
    }
  }
}

}  // namespace
}  // namespace taskmill::manager::analysis
