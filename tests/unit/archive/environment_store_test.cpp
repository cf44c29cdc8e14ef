#include "common/archive/environment_store.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "common/archive/ready_marker.hpp"
#include "tests/unit/archive/support.hpp"

namespace taskmill::archive {
namespace {

using namespace test;

std::string sample(int seed, std::size_t size = 50'000) {
  return tar({file("bin/activate", "export WHO=env" + std::to_string(seed) + " PATH=\"/e:$PATH\"\n"),
              file("lib/data", noise(size, static_cast<std::uint64_t>(seed)))});
}

std::unique_ptr<EnvironmentStore> open_store(const std::string& root, std::uint64_t max_bytes = 0) {
  StoreOptions options;
  options.max_bytes = max_bytes;
  auto store = EnvironmentStore::open(root, options);
  EXPECT_TRUE(store.has_value()) << store.error().text;
  return std::move(*store);
}

EnvironmentStore::OpenSource source_of(const std::string& archive, std::atomic<int>* opened = nullptr) {
  return [&archive, opened]() -> Expected<std::unique_ptr<ByteSource>> {
    if (opened != nullptr) ++*opened;
    return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(as_bytes(archive), 1000));
  };
}

EnvironmentLease must_obtain(EnvironmentStore& store, const std::string& archive) {
  auto lease = store.obtain(sha256(as_bytes(archive)), DigestOf::archive, source_of(archive));
  EXPECT_TRUE(lease.has_value()) << lease.error().text;
  return std::move(*lease);
}

TEST(EnvironmentStore, UnpacksOnceAndFindsItAgain) {
  const TempDir root;
  const std::string archive = sample(1);
  {
    auto store = open_store(root / "env");
    const auto lease = must_obtain(*store, archive);
    EXPECT_EQ(contents(lease.path() + "/lib/data"), noise(50'000, 1));
    EXPECT_EQ(apply_activation(lease.activation(), {"PATH=/b"}), (Variables{"PATH=/e:/b", "WHO=env1"}));
    EXPECT_GE(lease.bytes(), 50'000U);
    EXPECT_EQ(store->used_bytes(), lease.bytes());
  }
  auto store = open_store(root / "env");
  auto found = store->find(sha256(as_bytes(archive)));
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->has_value());
}

TEST(EnvironmentStore, TheTreeIsReadOnly) {
  const TempDir root;
  auto store = open_store(root.path());
  const auto lease = must_obtain(*store, sample(1));
  EXPECT_EQ(status_of(lease.path()).st_mode & 0222U, 0U);
  EXPECT_EQ(status_of(lease.path() + "/lib/data").st_mode & 0222U, 0U);
}

TEST(EnvironmentStore, OneOfManyThreadsAndStoresBuilds) {
  const TempDir root;
  const std::string archive = sample(2, 2'000'000);
  std::atomic<int> opened = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      auto store = open_store(root.path());
      auto lease = store->obtain(sha256(as_bytes(archive)), DigestOf::archive, source_of(archive, &opened));
      ASSERT_TRUE(lease.has_value()) << lease.error().text;
      EXPECT_EQ(contents(lease->path() + "/lib/data"), noise(2'000'000, 2));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(opened, 1);
}

TEST(EnvironmentStore, TheKeyMayBeThatOfTheTarStreamInside) {
  const TempDir root;
  auto store = open_store(root.path());
  const std::string plain = sample(3);
  const std::string packed = gzip(plain);
  auto lease = store->obtain(sha256(as_bytes(plain)), DigestOf::plain, source_of(packed));
  ASSERT_TRUE(lease.has_value()) << lease.error().text;
}

TEST(EnvironmentStore, AWrongDigestLeavesNothingBehind) {
  const TempDir root;
  auto store = open_store(root.path());
  const std::string archive = sample(4);
  auto lease = store->obtain(sha256(as_bytes("else")), DigestOf::archive, source_of(archive));
  ASSERT_TRUE(lease.has_error());
  EXPECT_NE(lease.error().text.find("damaged on the way"), std::string::npos);
  EXPECT_EQ(store->used_bytes(), 0U);
  EXPECT_EQ(std::system(("test $(ls '" + root.path() + "') = locks").c_str()), 0);
}

TEST(EnvironmentStore, AFailingActivationIsNotAnEnvironment) {
  const TempDir root;
  auto store = open_store(root.path());
  const std::string archive = tar({file("bin/activate", "return 4\n")});
  auto lease = store->obtain(sha256(as_bytes(archive)), DigestOf::archive, source_of(archive));
  ASSERT_TRUE(lease.has_error());
  auto found = store->find(sha256(as_bytes(archive)));
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->has_value());
}

TEST(EnvironmentStore, RelocatesToTheFinalPlaceNativelyOrByTheScript) {
  const TempDir root;
  auto store = open_store(root.path());
  const std::string native =
      tar({file("home", "/opt/build/x"),
           file("bin/conda-unpack", "\n_prefix_records = [\n('home', '/opt/build', 'text')\n]\n", 0755)});
  const auto lease = must_obtain(*store, native);
  EXPECT_EQ(contents(lease.path() + "/home"), lease.path() + "/x");
  const std::string scripted = tar(
      {file("home", "/opt/build/x"),
       file("bin/conda-unpack", "#!/bin/sh\ncd $(dirname $0)/.. && chmod u+w home && printf \"$PWD\" > home\n", 0755)});
  const auto other = must_obtain(*store, scripted);
  EXPECT_EQ(contents(other.path() + "/home"), other.path());
  EXPECT_EQ(status_of(other.path() + "/home").st_mode & 0222U, 0U);
}

TEST(EnvironmentStore, EvictsTheLeastRecentlyUsedThatNobodyUses) {
  const TempDir root;
  auto store = open_store(root.path());
  const std::string a = sample(1), b = sample(2), c = sample(3);
  auto held = must_obtain(*store, a);  // the oldest, but in use
  must_obtain(*store, b);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  must_obtain(*store, c);
  auto freed = store->evict(2 * held.bytes());
  ASSERT_TRUE(freed.has_value()) << freed.error().text;
  EXPECT_EQ(*freed, held.bytes());
  EXPECT_TRUE(store->find(sha256(as_bytes(a)))->has_value());
  EXPECT_FALSE(store->find(sha256(as_bytes(b)))->has_value());
  EXPECT_TRUE(store->find(sha256(as_bytes(c)))->has_value());
  EXPECT_TRUE(exists(held.path() + "/lib/data"));
}

TEST(EnvironmentStore, MakesRoomForANewOneWithinItsLimit) {
  const TempDir root;
  auto store = open_store(root.path(), 100'000);
  for (int seed = 0; seed < 5; ++seed) must_obtain(*store, sample(seed));
  EXPECT_LE(store->used_bytes(), 160'000U);
}

TEST(EnvironmentStore, AnUnflushedTreeOfAnEarlierBootCountsAsAbsent) {
  const TempDir root;
  auto store = open_store(root.path());
  const std::string archive = sample(6);
  std::string directory;
  {
    const auto lease = must_obtain(*store, archive);
    directory = lease.path().substr(0, lease.path().rfind('/'));
  }
  auto marker = ready_marker_from_text(contents(directory + "/ready"));
  ASSERT_TRUE(marker.has_value());
  marker->boot = "another";
  write_text(directory + "/ready", to_text(*marker));
  EXPECT_FALSE(store->find(sha256(as_bytes(archive)))->has_value());
  marker->synced = true;
  write_text(directory + "/ready", to_text(*marker));
  EXPECT_TRUE(store->find(sha256(as_bytes(archive)))->has_value());
}

TEST(EnvironmentStore, SettledTreesSurviveTheBoot) {
  const TempDir root;
  auto store = open_store(root.path());
  const auto lease = must_obtain(*store, sample(7));
  ASSERT_TRUE(store->settle(lease).has_value());
  const auto marker = ready_marker_from_text(contents(lease.path().substr(0, lease.path().rfind('/')) + "/ready"));
  ASSERT_TRUE(marker.has_value());
  EXPECT_TRUE(marker->synced);
}

TEST(EnvironmentStore, ACutMarkerOrOneOfAnotherPathCountsAsAbsent) {
  const TempDir root;
  const std::string archive = sample(8);
  {
    auto store = open_store(root / "here");
    must_obtain(*store, archive);
  }
  ASSERT_EQ(::rename((root / "here").c_str(), (root / "there").c_str()), 0);
  auto store = open_store(root / "there");
  EXPECT_FALSE(store->find(sha256(as_bytes(archive)))->has_value());
  const auto lease = must_obtain(*store, archive);
  const std::string marker = lease.path().substr(0, lease.path().rfind('/')) + "/ready";
  write_text(marker, contents(marker).substr(0, 90));
  EXPECT_FALSE(store->find(sha256(as_bytes(archive)))->has_value());
}

TEST(EnvironmentStore, KilledBuildersNeverLeaveAHalfEnvironment) {
  const TempDir root;
  const std::string archive = sample(9, 3'000'000);
  const Digest digest = sha256(as_bytes(archive));
  Random random(3);
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = EnvironmentStore::open(root.path(), {});
      (void)(*store)->obtain(digest, DigestOf::archive, source_of(archive));
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(random.below(60'000)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    auto store = open_store(root.path());
    auto found = store->find(digest);
    ASSERT_TRUE(found.has_value());
    if (*found) {
      ASSERT_EQ(contents((*found)->path() + "/lib/data"), noise(3'000'000, 9)) << round;
      found->reset();
      ASSERT_TRUE(store->evict(0).has_value());
    }
  }
  auto store = open_store(root.path());
  EXPECT_EQ(std::system(("test $(ls -d '" + root.path() + "'/tmp.* 2>/dev/null | wc -l) = 0").c_str()), 0);
}

}  // namespace
}  // namespace taskmill::archive
