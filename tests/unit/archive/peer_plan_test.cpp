#include "common/archive/peer_plan.hpp"

#include <gtest/gtest.h>

#include "common/base/random.hpp"

namespace taskmill::archive {
namespace {

using namespace std::chrono_literals;

const Digest environment = sha256(as_bytes("environment"));
WorkerId worker(std::uint32_t number) { return WorkerId(number); }
Time at(Duration since) { return Time(since); }

void add(PeerPlan& plan, std::uint32_t first, std::uint32_t count, bool serves = true) {
  for (std::uint32_t i = first; i < first + count; ++i) plan.add_worker(worker(i), serves, "host" + std::to_string(i));
}

TEST(PeerPlan, TheManagerStartsAndPeersGoOn) {
  PeerPlan plan({.sends_per_source = 2, .sends_by_manager = 1});
  add(plan, 0, 4);
  for (std::uint32_t i = 0; i < 4; ++i) plan.want(worker(i), environment, 1000);
  auto orders = plan.plan(at(0s));
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_FALSE(orders[0].source.valid());
  EXPECT_EQ(orders[0].target, worker(0));
  EXPECT_TRUE(plan.plan(at(1s)).empty());
  plan.got(orders[0].id);
  orders = plan.plan(at(2s));
  ASSERT_EQ(orders.size(), 3U);  // two from the peer, one more from the manager
  EXPECT_EQ(orders[0].source, worker(0));
  EXPECT_EQ(orders[1].source, worker(0));
  EXPECT_FALSE(orders[2].source.valid());
}

TEST(PeerPlan, PrefersANearSourceThenAnIdleOne) {
  PeerPlan plan;
  plan.add_worker(worker(1), true, "far");
  plan.add_worker(worker(2), true, "near");
  plan.add_worker(worker(3), true, "near");
  plan.has(worker(1), environment);
  plan.has(worker(2), environment);
  plan.want(worker(3), environment, 1);
  const auto orders = plan.plan(at(0s));
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_EQ(orders[0].source, worker(2));
}

TEST(PeerPlan, AFailedSourceIsReplacedByAnotherThenByTheManager) {
  PeerPlan plan({.sends_per_source = 3, .sends_by_manager = 0, .most_failures = 2});
  add(plan, 0, 4);
  for (std::uint32_t i = 0; i < 3; ++i) plan.has(worker(i), environment);
  plan.want(worker(3), environment, 1);
  auto first = plan.plan(at(0s));
  ASSERT_EQ(first.size(), 1U);
  plan.failed(first[0].id, at(1s));
  auto second = plan.plan(at(1s));
  ASSERT_EQ(second.size(), 1U);
  EXPECT_NE(second[0].source, first[0].source);
  plan.failed(second[0].id, at(2s));
  auto third = plan.plan(at(2s));
  ASSERT_EQ(third.size(), 1U);
  EXPECT_FALSE(third[0].source.valid());  // although sends_by_manager is 0
}

TEST(PeerPlan, ASilentPeerStallsNobodyBeyondTheDeadline) {
  PeerPlan plan({.sends_by_manager = 1, .least_time = 10s, .slowest_rate = 1e6});
  add(plan, 0, 2);
  plan.has(worker(0), environment);
  plan.want(worker(1), environment, 30'000'000);
  const auto orders = plan.plan(at(0s));
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_EQ(plan.next_deadline(), at(30s));
  EXPECT_TRUE(plan.plan(at(29s)).empty());
  std::vector<std::uint64_t> cancelled;
  const auto again = plan.plan(at(30s), &cancelled);
  EXPECT_EQ(cancelled, std::vector<std::uint64_t>{orders[0].id});
  ASSERT_EQ(again.size(), 1U);
  EXPECT_FALSE(again[0].source.valid());
  plan.got(orders[0].id);  // too late, and about an order that is no more
  EXPECT_EQ(plan.running(), 1U);
}

TEST(PeerPlan, AWorkerThatLeavesFreesItsSourcesAndItsReceivers) {
  PeerPlan plan({.sends_per_source = 1, .sends_by_manager = 1});
  add(plan, 0, 3);
  plan.has(worker(0), environment);
  plan.want(worker(1), environment, 1);
  plan.want(worker(2), environment, 1);
  auto orders = plan.plan(at(0s));
  ASSERT_EQ(orders.size(), 2U);
  EXPECT_EQ(orders[0].source, worker(0));
  plan.forget_worker(worker(0));
  plan.check_invariants();
  EXPECT_EQ(plan.running(), 1U);
  plan.got(orders[1].id);
  orders = plan.plan(at(1s));
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_EQ(orders[0].source, worker(2));
  EXPECT_EQ(orders[0].target, worker(1));
}

TEST(PeerPlan, AHundredWorkersAreServedInLogarithmicTime) {
  PeerPlan plan({.sends_per_source = 2, .sends_by_manager = 2});
  add(plan, 0, 100);
  for (std::uint32_t i = 0; i < 100; ++i) plan.want(worker(i), environment, 1);
  int rounds = 0;
  for (; plan.waiting() > 0; ++rounds) {
    for (const auto& order : plan.plan(at(std::chrono::seconds(rounds)))) plan.got(order.id);
    plan.check_invariants();
    ASSERT_LT(rounds, 20);
  }
  EXPECT_LE(rounds, 6);  // 2, then three times as many each round
}

/// Random joins, losses, silent and lying peers: every wish of a worker that stays is fulfilled.
TEST(PeerPlan, EveryWishEndsWhateverPeersDo) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    PeerPlan plan({.suspect_time = 20s, .least_time = 5s});
    std::vector<Digest> objects;
    for (int i = 0; i < 3; ++i) objects.push_back(sha256(as_bytes(std::to_string(i))));
    std::map<std::uint64_t, PeerOrder> open;
    std::uint32_t next = 0;
    Time now{};
    for (int step = 0; step < 400; ++step) {
      now += std::chrono::milliseconds(random.below(2000));
      const bool faults = step < 300;
      if (faults && random.below(4) == 0) {
        plan.add_worker(worker(next), random.below(4) > 0, "h" + std::to_string(random.below(5)));
        for (const Digest& object : objects) plan.want(worker(next), object, 1000);
        ++next;
      }
      if (faults && next > 0 && random.below(10) == 0)
        plan.forget_worker(worker(static_cast<std::uint32_t>(random.below(next))));
      if (faults && next > 0 && random.below(10) == 0) {
        plan.lost(worker(static_cast<std::uint32_t>(random.below(next))), objects[random.below(3)]);
      }
      for (const auto& order : plan.plan(now)) open.emplace(order.id, order);
      plan.check_invariants();
      for (auto it = open.begin(); it != open.end();) {
        const std::uint64_t luck = random.below(10);
        const bool from_manager = !it->second.source.valid();
        if (luck < 5 || (from_manager && luck < 8))
          plan.got(it->first);
        else if (luck < 7)
          plan.failed(it->first, now);
        else if (faults && luck < 9) {
          ++it;
          continue;  // silence
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
}  // namespace taskmill::archive
