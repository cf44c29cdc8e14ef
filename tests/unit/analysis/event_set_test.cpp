#include "manager/analysis/core/event_set.hpp"

#include <gtest/gtest.h>

#include <set>

#include "common/base/random.hpp"

namespace taskmill::manager::analysis {
namespace {

TEST(EventSet, JoinsNeighboursAndRefusesOverlap) {
  EventSet set;
  EXPECT_TRUE(set.add(0, {0, 10}));
  EXPECT_TRUE(set.add(0, {20, 30}));
  EXPECT_FALSE(set.add(0, {9, 11}));
  EXPECT_FALSE(set.add(0, {25, 25}));
  EXPECT_TRUE(set.add(0, {10, 20}));
  EXPECT_EQ(set.files().at(0), (EventSet::Ranges{{0, 30}}));
  EXPECT_EQ(set.count(), 30U);
}

TEST(EventSet, MergesOnlyWhatIsDisjoint) {
  EventSet a;
  EventSet b;
  ASSERT_TRUE(a.add(0, {0, 5}) && b.add(0, {5, 9}) && b.add(1, {0, 1}));
  ASSERT_TRUE(a.merge(b));
  EXPECT_EQ(a.count(), 10U);
  EXPECT_FALSE(a.merge(b));
  EXPECT_EQ(a.count(), 10U);
}

TEST(EventSet, TellsWhatIsMissing) {
  EventSet set;
  ASSERT_TRUE(set.add(3, {2, 4}) && set.add(3, {6, 10}));
  EXPECT_EQ(set.missing(3, 12), (EventSet::Ranges{{0, 2}, {4, 6}, {10, 12}}));
  EXPECT_EQ(set.missing(4, 5), (EventSet::Ranges{{0, 5}}));
  EXPECT_TRUE(set.missing(3, 0).empty());
}

TEST(EventSet, AgreesWithASetOfNumbers) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    EventSet set;
    std::set<std::uint64_t> reference;
    for (int step = 0; step < 300; ++step) {
      const auto first = random.below(500);
      const EventRange range{first, first + 1 + random.below(12)};
      const auto hit = reference.lower_bound(range.first);
      const bool free = hit == reference.end() || *hit >= range.last;
      EXPECT_EQ(set.add(0, range), free) << "seed " << seed;
      if (free) {
        for (auto event = range.first; event < range.last; ++event) reference.insert(event);
      }
      ASSERT_EQ(set.count(), reference.size());
    }
    std::uint64_t missing = 0;
    for (const auto& gap : set.missing(0, 600)) missing += gap.count();
    EXPECT_EQ(missing, 600 - reference.size());
  }
}

}  // namespace
}  // namespace taskmill::manager::analysis
