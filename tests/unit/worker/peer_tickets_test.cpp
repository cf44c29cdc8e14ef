#include "worker/core/peer_tickets.hpp"

#include <gtest/gtest.h>

namespace taskmill::worker {
namespace {

using Verdict = PeerTickets::Verdict;
using namespace std::chrono_literals;

Time at(Duration since) { return Time(since); }
std::string token(char letter) { return std::string(peer_token_length, letter); }

struct PeerTicketsTest : ::testing::Test {
  PeerTickets tickets;
  std::string name;
  Verdict redeem(const std::string& what, const std::string& object, Time now) {
    return tickets.redeem(what, object, now, name);
  }
};

TEST_F(PeerTicketsTest, ATokenIsForOneObjectForATimeAndSoManyFetches) {
  ASSERT_TRUE(tickets.grant(token('a'), "digest", "thing", at(10s), 2, at(0s)));
  EXPECT_EQ(redeem(token('b'), "digest", at(1s)), Verdict::unknown);
  EXPECT_EQ(redeem(token('a'), "other", at(1s)), Verdict::other_object);
  EXPECT_EQ(name, "");
  EXPECT_EQ(redeem(token('a'), "digest", at(1s)), Verdict::granted);
  EXPECT_EQ(name, "thing");
  EXPECT_EQ(redeem(token('a'), "digest", at(9s)), Verdict::granted);
  EXPECT_EQ(redeem(token('a'), "digest", at(9s)), Verdict::used_up);
  EXPECT_EQ(redeem(token('a'), "digest", at(10s)), Verdict::expired);
  EXPECT_EQ(redeem(token('a'), "digest", at(10s)), Verdict::unknown) << "and forgotten";
}

TEST_F(PeerTicketsTest, WhatIsNoTokenIsNotTaken) {
  EXPECT_FALSE(tickets.grant("", "digest", "thing", at(10s), 1, at(0s)));
  EXPECT_FALSE(tickets.grant("short", "digest", "thing", at(10s), 1, at(0s)));
  EXPECT_FALSE(tickets.grant(token('a'), "", "thing", at(10s), 1, at(0s)));
  EXPECT_EQ(redeem("", "", at(0s)), Verdict::unknown);
}

TEST_F(PeerTicketsTest, TheirNumberIsBoundedAndExpiredOnesMakeRoom) {
  const auto numbered = [](int i) { return std::string(peer_token_length - 8, 'x') + std::to_string(10'000'000 + i); };
  int taken = 0;
  while (tickets.grant(numbered(taken), "digest", "thing", at(10s), 1, at(0s))) {
    ASSERT_LT(++taken, 1'000'000);
  }
  EXPECT_GE(taken, 1000);
  EXPECT_TRUE(tickets.grant(token('z'), "digest", "thing", at(30s), 1, at(20s)));
  EXPECT_EQ(tickets.size(), 1U);
}

TEST_F(PeerTicketsTest, NothingOutlivesTheSession) {
  tickets.grant(token('a'), "digest", "thing", at(10s), 1, at(0s));
  tickets.clear();
  EXPECT_EQ(redeem(token('a'), "digest", at(1s)), Verdict::unknown);
}

}  // namespace
}  // namespace taskmill::worker
