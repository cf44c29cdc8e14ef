#include "manager/core/peer_plan.hpp"

#include <gtest/gtest.h>

#include <map>

#include "common/base/random.hpp"

namespace taskmill::manager {
namespace {

using namespace std::chrono_literals;

constexpr ObjectId environment = 7;
Time at(Duration since) { return Time(since); }

struct PeerPlanTest : ::testing::Test {
  PeerPlan plan;

  void configure(int sends, Duration least = 30s) {
    PeerPlanConfig config;
    config.sends_per_source = sends;
    config.least_time = least;
    plan.configure(config);
  }
  void add(std::uint32_t first, std::uint32_t count) {
    for (std::uint32_t i = first; i < first + count; ++i) {
      plan.join(i, "host" + std::to_string(i), false);
      plan.serves(i);
    }
  }
  void add_environment(std::uint64_t bytes = 1000) {
    plan.add_object(environment, bytes);
    plan.make_passable(environment);
  }
  std::vector<PeerOrder> orders(Time now) {
    std::vector<PeerOrder> out;
    plan.plan(now, out);
    plan.check_invariants();
    return out;
  }
};

TEST_F(PeerPlanTest, TheManagerStartsAndPeersGoOn) {
  configure(2);
  add(0, 7);
  add_environment();
  for (std::uint32_t i = 0; i < 7; ++i) plan.want(i, environment, at(0s));
  auto given = orders(at(0s));
  ASSERT_EQ(given.size(), 2U);
  EXPECT_EQ(given[0].source, no_index);
  EXPECT_EQ(given[0].target, 0U);
  EXPECT_EQ(given[1].source, no_index);
  EXPECT_TRUE(orders(at(1s)).empty());
  plan.got(given[0].id);
  given = orders(at(2s));
  ASSERT_EQ(given.size(), 2U) << "from the peer; the manager has sent its part";
  for (const auto& order : given) EXPECT_EQ(order.source, 0U);
}

TEST_F(PeerPlanTest, TheManagerSendsNoMoreThanItsShareWhilePeersCan) {
  configure(3);
  add(0, 100);
  add_environment();
  for (std::uint32_t i = 0; i < 100; ++i) plan.want(i, environment, at(0s));
  int by_manager = 0;
  int rounds = 0;
  for (; plan.waiting() + plan.running() > 0; ++rounds) {
    const auto given = orders(at(std::chrono::milliseconds(rounds)));
    for (const auto& order : given) {
      if (order.source == no_index) ++by_manager;
      plan.got(order.id);
    }
    ASSERT_LT(rounds, 20);
  }
  EXPECT_EQ(by_manager, 3);
  EXPECT_LE(rounds, 5) << "3, then four times as many each round";
}

TEST_F(PeerPlanTest, PrefersANearSourceThenAnIdleOne) {
  configure(3);
  for (std::uint32_t i = 1; i <= 4; ++i) {
    plan.join(i, i == 1 ? "far" : "near", false);
    plan.serves(i);
  }
  add_environment();
  plan.has(1, environment);
  plan.has(2, environment);
  plan.want(3, environment, at(0s));
  auto given = orders(at(0s));
  ASSERT_EQ(given.size(), 1U);
  EXPECT_EQ(given[0].source, 2U);
  plan.got(given[0].id);
  plan.want(4, environment, at(0s));
  given = orders(at(0s));
  ASSERT_EQ(given.size(), 1U);
  EXPECT_NE(given[0].source, 1U);
}

TEST_F(PeerPlanTest, ALocalWorkerSendsOnlyToLocalOnes) {
  configure(1);
  plan.join(1, "here", true);
  plan.serves(1);
  plan.join(2, "here", true);
  plan.join(3, "away", false);
  add_environment();
  plan.has(1, environment);
  plan.want(3, environment, at(0s));
  plan.want(2, environment, at(0s));
  const auto given = orders(at(0s));
  ASSERT_EQ(given.size(), 2U);
  EXPECT_EQ(given[0].source, no_index);
  EXPECT_EQ(given[1].source, 1U);
}

TEST_F(PeerPlanTest, AFailedSourceIsReplacedByAnotherThenByTheManager) {
  configure(3);
  add(0, 4);
  add_environment();
  for (std::uint32_t i = 0; i < 3; ++i) plan.has(i, environment);
  plan.want(3, environment, at(0s));
  const auto first = orders(at(0s));
  ASSERT_EQ(first.size(), 1U);
  EXPECT_NE(first[0].source, no_index);
  plan.failed(first[0].id, true, at(1s));
  const auto second = orders(at(1s));
  ASSERT_EQ(second.size(), 1U);
  EXPECT_NE(second[0].source, no_index);
  EXPECT_NE(second[0].source, first[0].source);
  plan.failed(second[0].id, true, at(2s));
  const auto third = orders(at(2s));
  ASSERT_EQ(third.size(), 1U);
  EXPECT_EQ(third[0].source, no_index);
}

TEST_F(PeerPlanTest, AReceiverWithATroubleOfItsOwnMakesNobodySuspect) {
  configure(1);
  add(0, 3);
  add_environment();
  plan.has(0, environment);
  plan.want(1, environment, at(0s));
  const auto first = orders(at(0s));
  ASSERT_EQ(first.size(), 1U);
  plan.failed(first[0].id, false, at(1s));
  plan.want(2, environment, at(1s));
  bool used = false;
  for (const auto& order : orders(at(1s))) used = used || (order.source == 0 && order.target == 2);
  EXPECT_TRUE(used);
}

TEST_F(PeerPlanTest, ASilentPeerStallsNobodyBeyondTheDeadline) {
  configure(1, 10s);
  add(0, 2);
  add_environment(30'000'000);
  plan.has(0, environment);
  plan.want(1, environment, at(0s));
  const auto given = orders(at(0s));
  ASSERT_EQ(given.size(), 1U);
  EXPECT_EQ(given[0].source, 0U);
  EXPECT_EQ(plan.next_deadline(), at(30s));
  EXPECT_TRUE(orders(at(29s)).empty());
  const auto again = orders(at(30s));
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].source, no_index);
  EXPECT_FALSE(plan.got(given[0].id)) << "too late, and about an order that is no more";
  EXPECT_EQ(plan.running(), 1U);
}

TEST_F(PeerPlanTest, AReceiverThatDoesNotReadTakesNoPlaceOfTheManagerForLong) {
  configure(1, 10s);
  add(0, 3);
  add_environment();
  plan.want(0, environment, at(0s));
  plan.want(1, environment, at(0s));
  ASSERT_EQ(orders(at(0s)).size(), 1U);
  EXPECT_TRUE(orders(at(9s)).empty());
  const auto given = orders(at(10s));
  ASSERT_EQ(given.size(), 1U);
  EXPECT_EQ(given[0].target, 1U);
  EXPECT_EQ(given[0].source, no_index);
}

TEST_F(PeerPlanTest, WithoutADigestOnlyTheManagerSends) {
  configure(1);
  add(0, 3);
  plan.add_object(environment, 1);
  plan.want(0, environment, at(0s));
  plan.want(1, environment, at(0s));
  const auto given = orders(at(0s));
  ASSERT_EQ(given.size(), 1U);
  EXPECT_TRUE(plan.needs_digest(environment));
  plan.got(given[0].id);
  EXPECT_TRUE(orders(at(1s)).empty());
  plan.make_hopeless(environment);
  const auto rest = orders(at(2s));
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].source, no_index);
}

TEST_F(PeerPlanTest, OneReceiverTakesABoundedNumberFromOthers) {
  configure(100);
  add(0, 2);
  for (ObjectId object = 1; object <= 20; ++object) {
    plan.add_object(object, 1);
    plan.make_passable(object);
    plan.has(0, object);
    plan.want(1, object, at(0s));
  }
  auto given = orders(at(0s));
  std::size_t from_peer = 0;
  for (const auto& order : given) from_peer += order.source == 0 ? 1 : 0;
  EXPECT_EQ(from_peer, 8U);
  for (int round = 0; plan.waiting() + plan.running() > 0; ++round) {
    ASSERT_LT(round, 10);
    for (const auto& order : given) plan.got(order.id);
    given = orders(at(0s));
  }
}

TEST_F(PeerPlanTest, AWorkerThatLeavesFreesItsSourcesAndItsReceivers) {
  configure(1);
  add(0, 3);
  add_environment();
  plan.has(0, environment);
  plan.want(1, environment, at(0s));
  plan.want(2, environment, at(0s));
  auto given = orders(at(0s));
  ASSERT_EQ(given.size(), 2U);
  EXPECT_EQ(given[0].source, 0U);
  EXPECT_EQ(given[1].source, no_index);
  plan.leave(0);
  plan.check_invariants();
  EXPECT_EQ(plan.running(), 1U);
  plan.got(given[1].id);
  given = orders(at(1s));
  ASSERT_EQ(given.size(), 1U);
  EXPECT_EQ(given[0].source, 2U);
  EXPECT_EQ(given[0].target, 1U);
  plan.leave(1);
  plan.leave(2);
  EXPECT_TRUE(plan.drop_if_unused(environment));
}

/// Random joins, losses, silent and lying peers: every wish of a worker that stays is fulfilled.
TEST(PeerPlan, EveryWishEndsWhateverPeersDo) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    PeerPlan plan;
    PeerPlanConfig config;
    config.suspect_time = 20s;
    config.least_time = 5s;
    plan.configure(config);
    for (ObjectId object = 0; object < 3; ++object) plan.add_object(object, 1000);
    std::map<std::uint64_t, PeerOrder> open;
    std::uint32_t next = 0;
    Time now{};
    std::vector<PeerOrder> given;
    for (int step = 0; step < 400; ++step) {
      now += std::chrono::milliseconds(random.below(2000));
      const bool faults = step < 300;
      if (step == 50) plan.make_passable(0);
      if (step == 100) plan.make_passable(1);
      if (step == 150) random.below(2) == 0 ? plan.make_hopeless(2) : plan.make_passable(2);
      const auto some = [&] { return static_cast<std::uint32_t>(random.below(next)); };
      if (faults && random.below(4) == 0) {
        plan.join(next, "h" + std::to_string(random.below(5)), random.below(3) == 0);
        if (random.below(4) > 0) plan.serves(next);
        for (ObjectId object = 0; object < 3; ++object) plan.want(next, object, now);
        ++next;
      }
      if (faults && next > 0 && random.below(10) == 0) plan.leave(some());
      if (faults && next > 0 && random.below(10) == 0) plan.lost(some(), random.below(3));
      if (faults && next > 0 && random.below(10) == 0) plan.unwant(some(), random.below(3));
      given.clear();
      plan.plan(now, given);
      for (const auto& order : given) open.emplace(order.id, order);
      plan.check_invariants();
      for (auto it = open.begin(); it != open.end();) {
        const std::uint64_t luck = random.below(10);
        const bool from_manager = it->second.source == no_index;
        if (luck < 5 || (from_manager && luck < 8)) {
          plan.got(it->first);
        } else if (luck < 7 && !from_manager) {
          plan.failed(it->first, random.below(2) == 0, now);
        } else if (faults && luck < 9) {
          ++it;
          continue;  // silence
        } else if (from_manager) {
          plan.got(it->first);
        }
        it = open.erase(it);
        plan.check_invariants();
      }
    }
    EXPECT_EQ(plan.waiting(), 0U);
    EXPECT_EQ(plan.running(), 0U);
  }
}

}  // namespace
}  // namespace taskmill::manager
