// An environment on its way into the store, with a manager made of a chunk store in the same process.
#include "worker/host/environment_intake.hpp"

#include <gmock/gmock.h>

#include <thread>

#include "tests/unit/archive/support.hpp"

namespace taskmill::worker {
namespace {

using namespace archive;
using namespace archive::test;
using ::testing::HasSubstr;

std::string archive_of(const std::string& changed, int files = 40) {
  std::vector<Member> members{directory("lib")};
  for (int i = 0; i < files; ++i) members.push_back(file("lib/" + std::to_string(i), noise(100'000, 100 + i)));
  members.push_back(file("lib/changed", changed));
  return tar(members);
}

class IntakeTest : public ::testing::Test {
 protected:
  IntakeTest() {
    manager = std::move(*ChunkStore::open(dir / "manager", {}));
    store = std::move(*EnvironmentStore::open(dir / "trees", {}));
  }
  ChunkIndex publish(const std::string& stream) {
    MemorySource source(as_bytes(stream));
    auto index = manager->ingest(source);
    EXPECT_TRUE(index.has_value());
    return *index;
  }
  EnvironmentPlaces places() {
    const auto own_store = [this]() -> Expected<EnvironmentStore*> {
      if (!own) own = std::move(*EnvironmentStore::open(dir / "own", {}));
      return own.get();
    };
    return {*store, own_store, dir / "chunks", {}, patience};
  }
  /// Answers every question at once, as `reply` wants it.
  EnvironmentOutcome receive(const ChunkIndex& index, std::vector<Digest> bases = {}) {
    std::shared_ptr<EnvironmentIntake> intake;
    const auto ask = [&](const EnvironmentQuestion& question) { answer(*intake, index, question); };
    intake = std::make_shared<EnvironmentIntake>(
        places(), EnvironmentWish{index.stream, index.bytes(), 0, std::move(bases)}, ask);
    running = intake.get();
    return intake->run();
  }
  void answer(EnvironmentIntake& intake, const ChunkIndex& index, const EnvironmentQuestion& question) {
    if (question.list) {
      const auto base = question.base ? manager->find_index(*question.base) : std::nullopt;
      lists.push_back(encode(make_delta(base ? &*base : nullptr, index)));
      EXPECT_TRUE(intake.on_list(spoil_list ? "nonsense" : lists.back()));
    }
    for (const auto& run : question.missing) {
      for (std::uint32_t i = run.first; i < run.first + run.count; ++i) {
        auto data = *manager->packed(index.chunks[i].digest);
        if (damage && damage(i)) data.back() = static_cast<char>(data.back() ^ 1);
        ++sent;
        if (cancel_after > 0 && sent == cancel_after) return intake.cancel();
        intake.on_chunk(i, data, true);
      }
    }
  }

  TempDir dir;
  std::unique_ptr<ChunkStore> manager;
  std::unique_ptr<EnvironmentStore> store, own;
  std::chrono::milliseconds patience = std::chrono::hours(1);
  EnvironmentIntake* running = nullptr;
  std::vector<std::string> lists;
  std::function<bool(std::uint32_t)> damage;
  bool spoil_list = false;
  std::size_t sent = 0, cancel_after = 0;
};

TEST_F(IntakeTest, BringsEveryChunkOnceAndUnpacks) {
  const auto index = publish(archive_of("one"));
  const auto outcome = receive(index);
  ASSERT_NE(outcome.lease, nullptr) << outcome.error;
  EXPECT_TRUE(outcome.unpacked);
  EXPECT_EQ(sent, index.chunks.size());
  EXPECT_GT(outcome.received_bytes, 3'900'000U);
  EXPECT_EQ(contents(outcome.lease->path() + "/lib/changed"), "one");
  EXPECT_EQ(contents(outcome.lease->path() + "/lib/7"), noise(100'000, 107));
  // The next task (or worker) finds it.
  sent = 0;
  const auto again = receive(index);
  EXPECT_NE(again.lease, nullptr);
  EXPECT_FALSE(again.unpacked);
  EXPECT_EQ(sent, 0U);
}

TEST_F(IntakeTest, AChangeBringsOnlyWhatChangedAndAShortList) {
  const auto first = publish(archive_of("one"));
  ASSERT_NE(receive(first).lease, nullptr);
  const auto second = publish(archive_of("two"));
  sent = 0;
  const auto outcome = receive(second, {first.stream});
  ASSERT_NE(outcome.lease, nullptr) << outcome.error;
  EXPECT_LE(sent, 3U);
  EXPECT_LT(lists.back().size(), 400U);
  EXPECT_GT(outcome.reused_bytes, 3'500'000U);
  EXPECT_EQ(contents(outcome.lease->path() + "/lib/changed"), "two");
}

TEST_F(IntakeTest, ABadChunkIsAskedForOnceMore) {
  const auto index = publish(archive_of("one"));
  int damaged = 0;
  damage = [&](std::uint32_t i) { return i == 5 && damaged++ == 0; };
  EXPECT_NE(receive(index).lease, nullptr);
  EXPECT_EQ(sent, index.chunks.size() + 1);
}

TEST_F(IntakeTest, AChunkThatStaysBadFailsAndLeavesNothing) {
  const auto index = publish(archive_of("one"));
  damage = [](std::uint32_t i) { return i == 5; };
  const auto outcome = receive(index);
  EXPECT_EQ(outcome.lease, nullptr);
  EXPECT_THAT(outcome.error, HasSubstr("chunk 5 arrived damaged twice"));
  EXPECT_TRUE(outcome.retry);
  EXPECT_FALSE(store->find(index.stream)->has_value());
  // What was good is kept: another attempt asks for the rest.
  damage = nullptr;
  sent = 0;
  EXPECT_NE(receive(index).lease, nullptr);
  EXPECT_EQ(sent, index.chunks.size() - 5);
}

TEST_F(IntakeTest, GoesOnWhereItWasGivenUp) {
  const auto index = publish(archive_of("one"));
  cancel_after = 60;
  const auto outcome = receive(index);
  EXPECT_TRUE(outcome.cancelled);
  EXPECT_FALSE(store->find(index.stream)->has_value());
  cancel_after = sent = 0;
  EXPECT_NE(receive(index).lease, nullptr);
  EXPECT_LT(sent, index.chunks.size());
}

TEST_F(IntakeTest, RefusesANonsensicalListAndOneThatNobodyAskedFor) {
  const auto index = publish(archive_of("one"));
  spoil_list = true;
  const auto outcome = receive(index);
  EXPECT_THAT(outcome.error, HasSubstr("list of its chunks makes no sense"));
  EnvironmentIntake idle(places(), {index.stream, index.bytes(), 0, {}}, [](const EnvironmentQuestion&) {});
  idle.on_chunk(0, "x", true);  // dropped
  EXPECT_FALSE(idle.on_list(encode(make_delta(nullptr, index))));
}

TEST_F(IntakeTest, AnArchiveThatIsRefusedIsNotWorthAnotherTry) {
  const auto index = publish(tar({directory("lib"), symlink("lib/x", "/etc")}));
  const auto outcome = receive(index);
  EXPECT_EQ(outcome.lease, nullptr);
  EXPECT_FALSE(outcome.retry);
  EXPECT_THAT(outcome.error, HasSubstr("link that leads out"));
}

TEST_F(IntakeTest, WhoWaitsForAFrozenBuilderGoesOnAlone) {
  const auto index = publish(archive_of("one", 10));
  // Somebody has begun and does nothing any more, as a process that was stopped.
  auto beginning = *store->begin(index.stream, DigestOf::plain);
  ASSERT_TRUE(std::holds_alternative<std::unique_ptr<EnvironmentBuild>>(beginning));
  patience = std::chrono::milliseconds(50);
  const auto outcome = receive(index);
  ASSERT_NE(outcome.lease, nullptr) << outcome.error;
  EXPECT_TRUE(outcome.unpacked);
  EXPECT_TRUE(outcome.lease->path().starts_with(own->root())) << outcome.lease->path();
  EXPECT_EQ(contents(outcome.lease->path() + "/lib/changed"), "one");
  EXPECT_FALSE(store->find(index.stream)->has_value()) << "the frozen one's place was not touched";
}

TEST_F(IntakeTest, ABuilderThatRunsShowsIt) {
  const auto index = publish(archive_of("one", 10));
  auto beginning = *store->begin(index.stream, DigestOf::plain);
  auto& build = *std::get<std::unique_ptr<EnvironmentBuild>>(beginning);
  const auto sign = [&] { return std::get<Busy>(*store->begin(index.stream, DigestOf::plain)).sign; };
  const auto first = sign();
  EXPECT_EQ(sign(), first);
  while (sign() == first) build.show_life();  // ends, or the test does by its time limit
}

TEST_F(IntakeTest, TwoAtOnceUnpackOnce) {
  const auto index = publish(archive_of("one", 10));
  std::vector<EnvironmentOutcome> outcomes(4);
  std::vector<std::thread> threads;
  std::mutex answering;
  for (auto& outcome : outcomes) {
    threads.emplace_back([&] {
      std::shared_ptr<EnvironmentIntake> intake;
      const auto ask = [&](const EnvironmentQuestion& question) {
        const std::lock_guard lock(answering);
        answer(*intake, index, question);
      };
      intake = std::make_shared<EnvironmentIntake>(places(), EnvironmentWish{index.stream, index.bytes(), 0, {}}, ask);
      outcome = intake->run();
    });
  }
  for (auto& thread : threads) thread.join();
  int unpacked = 0;
  for (const auto& outcome : outcomes) {
    ASSERT_NE(outcome.lease, nullptr) << outcome.error;
    unpacked += outcome.unpacked ? 1 : 0;
  }
  EXPECT_EQ(unpacked, 1);
  EXPECT_EQ(sent, index.chunks.size());
}

}  // namespace
}  // namespace taskmill::worker
