// Partial results that lie where they were made: merged there, fetched at the end, made again when they are lost.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "common/base/random.hpp"
#include "manager/analysis/core/planner.hpp"
#include "tests/unit/analysis/small_settings.hpp"

namespace taskmill::manager::analysis {
namespace {

TEST(KeptPartials, AreMergedWhereTheyLieAndOnlyOneOfEachPlaceIsFetched) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 1200);
  std::uint32_t place = 1;
  std::size_t fetched = 0;
  std::size_t merged_here = 0;
  while (!planner.finished()) {
    while (const auto item = planner.next()) {
      if (item->kind == ItemKind::process) {
        place = 3 - place;
        ASSERT_TRUE(planner.on_processed(item->id, 1, 1, place, true));
      } else {
        merged_here += item->place == 0 ? 1 : 0;
        ASSERT_TRUE(planner.on_accumulated(item->id, item->place, item->place != 0));
      }
      ASSERT_EQ(planner.check(), "");
    }
    for (const auto id : planner.take_fetches()) {
      ++fetched;
      planner.on_partial_fetched(id);
      ASSERT_EQ(planner.check(), "");
    }
  }
  EXPECT_EQ(fetched, 2U) << "twelve chunks at two places";
  EXPECT_EQ(merged_here, 1U);
  ASSERT_EQ(planner.results().size(), 1U);
  EXPECT_EQ(planner.events_of(planner.results()[0]).count(), 1200U);
}

TEST(KeptPartials, NothingIsFinishedBeforeTheyAreFetched) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 50);
  const auto item = planner.next();
  planner.on_processed(item->id, 1, 1, 4, true);
  EXPECT_FALSE(planner.next());
  EXPECT_FALSE(planner.finished());
  const auto wanted = planner.take_fetches();
  ASSERT_EQ(wanted.size(), 1U);
  EXPECT_TRUE(planner.take_fetches().empty()) << "each is named once";
  EXPECT_FALSE(planner.finished());
  planner.on_partial_fetched(wanted[0]);
  EXPECT_TRUE(planner.finished());
}

TEST(KeptPartials, AStopFetchesThemAllAtOnce) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 1000);
  for (int i = 0; i < 2; ++i) planner.on_processed(planner.next()->id, 1, 1, 1, true);
  EXPECT_TRUE(planner.take_fetches().empty());
  planner.stop_submitting();
  for (const auto id : planner.take_fetches()) planner.on_partial_fetched(id);
  const auto merge = planner.next();
  ASSERT_TRUE(merge);
  EXPECT_EQ(merge->place, 0U);
  planner.on_accumulated(merge->id);
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.processed().count(), 200U);
}

TEST(KeptPartials, WhatIsGivenUpIsNotInTheResult) {
  Planner planner(small_settings());
  planner.add_file(planner.add_dataset("data"), "a", 300);
  planner.on_processed(planner.next()->id, 1, 1, 1, true);
  planner.on_processed(planner.next()->id, 1, 1, 2, false);
  planner.on_processed(planner.next()->id, 1, 1, 1, true);
  planner.give_up_kept();
  EXPECT_EQ(planner.check(), "");
  EXPECT_EQ(planner.processed().missing(0, 300), (EventSet::Ranges{{0, 100}, {200, 300}}));
  EXPECT_EQ(planner.results().size(), 1U);
}

TEST(KeptPartials, LostChunksAreMadeAgainAlsoWhenNoMoreChunksAreAllowed) {
  auto settings = small_settings();
  settings.maxchunks = 2;
  Planner planner(settings);
  planner.add_file(planner.add_dataset("data"), "a", 1000);
  const auto lost = planner.on_processed(planner.next()->id, 1, 1, 1, true);
  planner.on_processed(planner.next()->id, 1, 1, 2, false);
  EXPECT_FALSE(planner.next());
  planner.on_partial_lost(*lost);
  const auto again = planner.next();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->range, (EventRange{0, 100}));
  planner.on_processed(again->id, 1, 1, 2, false);
  const auto merge = planner.next();
  ASSERT_TRUE(merge);
  planner.on_accumulated(merge->id);
  EXPECT_TRUE(planner.finished());
  EXPECT_EQ(planner.processed().count(), 200U);
}

// A cluster whose workers are lost at every step: while chunks run, while results lie there, during merges and fetches.
class Cluster {
 public:
  explicit Cluster(std::uint64_t seed) : random_(seed), planner_(settings()) {
    for (int d = 0; d < 2; ++d) {
      const auto dataset = planner_.add_dataset("d" + std::to_string(d));
      for (int f = 0; f < 5; ++f) {
        const auto events = random_.below(3000);
        truth_[planner_.add_file(dataset, "f", events)] = events;
      }
    }
    stop_after_ = random_.below(4) == 0 ? 20 + random_.below(60) : ~std::uint64_t{0};
  }

  void run() {
    for (std::uint64_t step = 0; !planner_.finished(); ++step) {
      ASSERT_LT(step, 100'000U);
      if (step == stop_after_) planner_.stop_submitting();
      submit();
      const auto what = random_.below(12);
      if (what == 0 && losses_left_ > 0) {
        lose(static_cast<std::uint32_t>(1 + random_.below(4)));
      } else if (what < 4 && !fetching_.empty()) {
        arrive();
      } else if (!running_.empty()) {
        end_one();
      }
      ASSERT_EQ(planner_.check(), "");
    }
    check();
  }

 private:
  struct Running {
    WorkItem item;
    std::uint32_t at = 0;
  };

  PlannerSettings settings() {
    auto s = small_settings();
    s.treereduction = static_cast<std::uint32_t>(2 + random_.below(5));
    s.result_per_dataset = random_.below(2) == 0;
    return s;
  }

  void submit() {
    while (running_.size() < 8) {
      const auto item = planner_.next();
      if (!item) break;
      running_.push_back({*item, item->place != 0 ? item->place : static_cast<std::uint32_t>(1 + random_.below(4))});
    }
    for (const auto id : planner_.take_fetches()) {
      const bool there = kept_.contains(id);  // what is named is kept somewhere
      ASSERT_TRUE(there);
      fetching_.push_back(id);
    }
  }

  void end_one() {
    const auto pick = random_.below(running_.size());
    const auto [item, at] = running_[pick];
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(pick));
    if (random_.below(15) == 0) return planner_.on_failed(item.id, "exit code 1");
    const bool native = at != 4;  // the worker at 4 is an old one
    std::optional<PartialId> made;
    if (item.kind == ItemKind::process) {
      made = planner_.on_processed(item.id, 1, 1, at, native);
    } else {
      made = planner_.on_accumulated(item.id, at, item.place != 0);
    }
    ASSERT_TRUE(made);
    for (const auto input : item.inputs) kept_.erase(input);
    if (item.kind == ItemKind::process ? native : item.place != 0) kept_[*made] = at;
  }

  void arrive() {
    const auto id = fetching_.front();
    fetching_.erase(fetching_.begin());
    kept_.erase(id);
    planner_.on_partial_fetched(id);
  }

  // Tasks there run elsewhere, but merges of what lay there are taken back.
  void lose(std::uint32_t place) {
    --losses_left_;
    std::vector<PartialId> gone;
    for (const auto& [id, at] : kept_) {
      if (at == place) gone.push_back(id);
    }
    for (const auto id : gone) {
      kept_.erase(id);
      std::erase(fetching_, id);
      planner_.on_partial_lost(id);
    }
    std::erase_if(running_, [this](const Running& r) { return !planner_.is_active(r.item.id); });
  }

  void check() {
    EXPECT_TRUE(kept_.empty());
    EventSet all = planner_.processed();
    for (const auto& loss : planner_.losses()) {
      if (loss.kind == ItemKind::process) {
        EXPECT_TRUE(all.add(loss.file, loss.range));
      }
    }
    if (planner_.stopping()) return;
    for (const auto& [file, events] : truth_) EXPECT_TRUE(all.missing(file, events).empty()) << "file " << file;
  }

  Random random_;
  Planner planner_;
  std::map<std::uint32_t, std::uint64_t> truth_;
  std::vector<Running> running_;
  std::map<PartialId, std::uint32_t> kept_;
  std::vector<PartialId> fetching_;
  int losses_left_ = 40;
  std::uint64_t stop_after_ = 0;
};

TEST(KeptPartials, EachEventCountsOnceWhateverWorkersAreLost) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster(seed).run();
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace taskmill::manager::analysis
