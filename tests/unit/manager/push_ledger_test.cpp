// What was pushed is acknowledged in order, when nothing of it is needed any more.
#include "manager/net/push_ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace taskmill::manager {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PushLedgerTest : public ::testing::Test {
 protected:
  void batch(std::uint64_t sequence, std::initializer_list<std::int64_t> tasks) {
    ASSERT_TRUE(ledger.begin(sequence));
    for (const auto task : tasks) ledger.add(task);
    ledger.end();
  }
  std::uint64_t take() { return ledger.take(drops); }

  PushLedger ledger;
  std::vector<std::string> drops;
};

TEST_F(PushLedgerTest, AcknowledgesABatchWhenEachOfItsTasksIsSettled) {
  batch(1, {4, 5});
  EXPECT_TRUE(ledger.settle(4));
  EXPECT_FALSE(ledger.is_due());
  EXPECT_TRUE(ledger.settle(5));
  EXPECT_TRUE(ledger.is_due());
  EXPECT_EQ(take(), 1U);
  EXPECT_FALSE(ledger.is_due());
}

TEST_F(PushLedgerTest, AcknowledgesInOrder) {
  batch(1, {4});
  batch(2, {5});
  ledger.settle(5);
  EXPECT_FALSE(ledger.is_due()) << "batch 1 is still needed";
  ledger.settle(4);
  EXPECT_EQ(take(), 2U);
}

TEST_F(PushLedgerTest, SettlesWhileABatchIsRead) {
  batch(1, {4});
  ASSERT_TRUE(ledger.begin(2));
  ledger.add(4);  // the number again: the first one is done with
  EXPECT_TRUE(ledger.settle(4));
  EXPECT_EQ(take(), 1U);
  ledger.add(6);
  ledger.end();
  ledger.settle(6);
  EXPECT_EQ(take(), 2U);
}

TEST_F(PushLedgerTest, TellsWordsFromAcknowledgements) {
  EXPECT_FALSE(ledger.settle(9)) << "not pushed: to be killed in words";
  batch(1, {});
  EXPECT_EQ(take(), 1U);
}

TEST_F(PushLedgerTest, RefusesBatchesOutOfOrder) {
  EXPECT_FALSE(ledger.begin(2));
  batch(1, {1});
  EXPECT_FALSE(ledger.begin(1));
  EXPECT_FALSE(ledger.begin(3));
}

TEST_F(PushLedgerTest, DropsOnlyWhatIsThere) {
  ledger.note_absent("in");
  EXPECT_FALSE(ledger.drop("in"));
  EXPECT_FALSE(ledger.is_due());
  EXPECT_TRUE(ledger.drop("out"));
  EXPECT_TRUE(ledger.is_due());
  EXPECT_EQ(take(), 0U);
  EXPECT_THAT(drops, ElementsAre("out"));
  EXPECT_TRUE(ledger.drop("in")) << "known once only: the name may be used again";
  take();
  EXPECT_THAT(drops, ElementsAre("in"));
}

}  // namespace
}  // namespace taskmill::manager
