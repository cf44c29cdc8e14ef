// The worker's hands: workspace, sandboxes, processes, removal of trees.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/os/file.hpp"
#include "common/os/process.hpp"
#include "common/os/tree.hpp"
#include "worker/host/cache_writer.hpp"
#include "worker/host/capture.hpp"
#include "worker/host/sandbox.hpp"
#include "worker/host/workspace.hpp"

namespace taskmill::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class Host : public ::testing::Test {
 protected:
  Host() {
    std::string pattern = (fs::temp_directory_path() / "worker-host-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    fd_.reset(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~Host() override {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  void write(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    std::ofstream(root_ + "/" + name) << text;
    ::chmod((root_ + "/" + name).c_str(), mode);
  }
  std::string read(const std::string& name) const {
    std::ifstream in(root_ + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string root_;
  os::UniqueFd fd_;
};

TEST_F(Host, OpenBeneathNeverLeaves) {
  fs::create_directory(root_ + "/d");
  write("d/f", "x");
  fs::create_symlink("/etc/passwd", root_ + "/d/out");
  fs::create_symlink("f", root_ + "/d/in");
  fs::create_symlink("..", root_ + "/d/up");
  EXPECT_TRUE(os::open_beneath(fd_.get(), "d/f", O_RDONLY, 0, os::Links::refuse));
  EXPECT_TRUE(os::open_beneath(fd_.get(), "d/in", O_RDONLY, 0, os::Links::inside_the_tree));
  EXPECT_FALSE(os::open_beneath(fd_.get(), "d/in", O_RDONLY, 0, os::Links::refuse));
  for (const char* bad : {"d/out", "../x", "/etc/passwd", "d/up/../../etc"}) {
    EXPECT_FALSE(os::open_beneath(fd_.get(), bad, O_RDONLY, 0, os::Links::inside_the_tree)) << bad;
  }
}

TEST_F(Host, ParentsAreNotMadeThroughLinks) {
  fs::create_directory(root_ + "/outside");
  fs::create_directory(root_ + "/in");
  fs::create_symlink("../outside", root_ + "/in/link");
  const os::UniqueFd in(::openat(fd_.get(), "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::string leaf;
  EXPECT_FALSE(os::make_parents(in.get(), "link/x/y", leaf));
  EXPECT_TRUE(fs::is_empty(root_ + "/outside"));
  const auto made = os::make_parents(in.get(), "a/b/c", leaf);
  ASSERT_TRUE(made);
  EXPECT_EQ(leaf, "c");
  EXPECT_TRUE(fs::is_directory(root_ + "/in/a/b"));
}

TEST_F(Host, TreesOfAnyShapeAreRemoved) {
  std::string deep = root_ + "/t";
  for (int i = 0; i < 200; ++i) {
    fs::create_directory(deep);
    std::ofstream(deep + "/f") << i;
    deep += "/d";
  }
  fs::create_directory(root_ + "/t/locked");
  write("t/locked/f", "x");
  fs::permissions(root_ + "/t/locked", fs::perms::none);
  fs::create_directory(root_ + "/keep");
  write("keep/me", "x");
  fs::create_directory_symlink(root_ + "/keep", root_ + "/t/link");
  const auto removal = os::remove_tree(fd_.get(), "t");
  EXPECT_EQ(removal.failed, 0U) << removal.first_error.message();
  EXPECT_EQ(removal.removed, 403U);
  EXPECT_FALSE(fs::exists(root_ + "/t"));
  EXPECT_TRUE(fs::exists(root_ + "/keep/me"));
}

TEST_F(Host, AWorkspaceIsLockedAgainstOthersAndClaimedWhenItsWorkerIsGone) {
  auto first = Workspace::create(root_);
  ASSERT_TRUE(first);
  auto second = Workspace::create(root_);
  ASSERT_TRUE(second);
  EXPECT_NE(first->path(), second->path());
  EXPECT_TRUE(second->claim_stale().empty());
  const auto left_behind = first->name();
  { const Workspace gone = std::move(*first); }
  EXPECT_THAT(second->claim_stale(), ElementsAre(left_behind));
  fs::create_directory(root_ + "/worker-" + std::to_string(::getuid()) + "-1");  // of an old worker: not ours to judge
  EXPECT_THAT(second->claim_stale(), ::testing::Not(::testing::Contains(HasSubstr("-1"))));
}

class Staging : public Host {
 protected:
  Staging() : space_(*Workspace::create(root_)) { places_ = {space_.top(), space_.cache(), space_.trash()}; }
  void cache(const std::string& name, const std::string& text, mode_t mode = 0644) {
    std::ofstream(space_.path() + "/cache/" + name) << text;
    ::chmod((space_.path() + "/cache/" + name).c_str(), mode);
  }
  StageInput input(const std::string& cache_name, const std::string& sandbox_name, bool shared,
                   std::uint64_t size = 1) {
    StageInput one;
    one.cache_name = cache_name;
    one.sandbox_name = sandbox_name;
    one.shared = shared;
    one.size = size;
    return one;
  }
  struct stat look(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat((space_.path() + "/" + path).c_str(), &status), 0) << path;
    return status;
  }
  Workspace space_;
  Places places_;
  StagePolicy policy_;
  std::atomic<bool> stop_{false};
};

TEST_F(Staging, OwnFilesAreLinkedAndSharedOnesCopied) {
  cache("own", "a");
  cache("shared", "b", 0755);
  const auto outcome =
      stage_in(places_, {"t.1", "x", ""}, {input("own", "a", false), input("shared", "d/b", true)}, policy_, stop_);
  ASSERT_TRUE(outcome.ok) << outcome.why;
  EXPECT_EQ(look("t.1/a").st_nlink, 2U);
  EXPECT_EQ(look("t.1/d/b").st_nlink, 1U);
  EXPECT_EQ(look("t.1/d/b").st_mode & 0777U, 0755U);
  EXPECT_EQ(look("t.1/.tmp").st_mode & 0777U, 0700U);
}

TEST_F(Staging, LargeSharedFilesAreLinkedReadOnlyAndWatched) {
  policy_.copy_limit = 3;
  policy_.can_clone = false;
  cache("big", "12345678", 0664);
  const auto outcome = stage_in(places_, {"t.1", "x", ""}, {input("big", "big", true, 8)}, policy_, stop_);
  ASSERT_TRUE(outcome.ok) << outcome.why;
  EXPECT_EQ(look("t.1/big").st_nlink, 2U);
  EXPECT_EQ(look("t.1/big").st_mode & 0777U, 0444U);
  ASSERT_EQ(outcome.guarded.size(), 1U);
  EXPECT_TRUE(changed_files(space_.cache(), outcome.guarded).empty());
  ::chmod((space_.path() + "/t.1/big").c_str(), 0644);
  { std::fstream(space_.path() + "/t.1/big") << "X"; }  // same size
  EXPECT_THAT(changed_files(space_.cache(), outcome.guarded), ElementsAre("big"));
}

TEST_F(Staging, AMissingInputIsToldFromOtherTroubles) {
  const auto outcome = stage_in(places_, {"t.1", "x", ""}, {input("none", "a", false)}, policy_, stop_);
  EXPECT_FALSE(outcome.ok);
  EXPECT_TRUE(outcome.input_missing);
}

TEST_F(Staging, AStaleSandboxIsMovedAway) {
  fs::create_directories(space_.path() + "/t.1/stale");
  const auto outcome = stage_in(places_, {"t.1", "old", ""}, {}, policy_, stop_);
  ASSERT_TRUE(outcome.ok);
  EXPECT_TRUE(outcome.old_moved);
  EXPECT_FALSE(fs::exists(space_.path() + "/t.1/stale"));
  EXPECT_TRUE(fs::exists(space_.path() + "/trash/old/stale"));
}

TEST_F(Staging, OnlyAnUntouchedSandboxIsPristine) {
  const auto make = [this] { ASSERT_TRUE(stage_in(places_, {"t.1", "x", ""}, {}, policy_, stop_).ok); };
  const auto at = [this](const std::string& name) { return space_.path() + "/t.1" + name; };
  make();
  EXPECT_TRUE(is_pristine(space_.top(), "t.1"));
  ::chmod(at("").c_str(), 0755);
  EXPECT_FALSE(is_pristine(space_.top(), "t.1"));
  ::chmod(at("").c_str(), 0700);
  { std::ofstream(at("/.tmp/left")) << "x"; }
  EXPECT_FALSE(is_pristine(space_.top(), "t.1"));
  { std::ofstream(at("/f")) << "x"; }
  fs::create_directories(at("/d/e"));
  ::chmod(at("/d").c_str(), 0);
  ::chmod(at("/.tmp").c_str(), 0);
  EXPECT_TRUE(make_pristine(space_.top(), "t.1", stop_)) << "a task's leavings";
  fs::remove(at("/.tmp"));
  fs::create_directory_symlink("/etc", at("/.tmp"));
  EXPECT_FALSE(make_pristine(space_.top(), "t.1", stop_));
  EXPECT_TRUE(fs::exists("/etc/passwd"));
}

TEST_F(Staging, ASpareSandboxIsUsedAgain) {
  ASSERT_TRUE(stage_in(places_, {"t.1", "x", ""}, {}, policy_, stop_).ok);
  const auto first = look("t.1").st_ino;
  ASSERT_EQ(::renameat(places_.top, "t.1", places_.trash, "7"), 0);
  ASSERT_TRUE(stage_in(places_, {"t.2", "x", "trash/7"}, {}, policy_, stop_).ok);
  EXPECT_EQ(look("t.2").st_ino, first);
  ASSERT_TRUE(stage_in(places_, {"t.2", "x", "t.2"}, {}, policy_, stop_).ok);
  EXPECT_EQ(look("t.2").st_ino, first) << "it has the right name already";
  ASSERT_TRUE(stage_in(places_, {"t.3", "x", "gone"}, {}, policy_, stop_).ok) << "a spare that is gone is made anew";
}

TEST_F(Staging, OutputsOfLinksOutsideAreNotTaken) {
  stage_in(places_, {"t.1", "x", ""}, {}, policy_, stop_);
  fs::create_directory(root_ + "/secret");
  write("secret/f", "secret");
  fs::create_directory_symlink(root_ + "/secret", space_.path() + "/t.1/d");
  std::vector<std::string> trashed;
  const auto moved = stage_out(places_, "t.1", {{"o", "d/f"}}, "o", trashed);
  EXPECT_TRUE(moved.empty());
  EXPECT_TRUE(fs::exists(root_ + "/secret/f"));
}

TEST_F(Staging, CapturedOutputIsReusedCleanly) {
  CaptureStore store;
  store.use(space_.out());
  auto capture = store.acquire();
  ASSERT_TRUE(capture);
  ASSERT_FALSE(os::write_all(capture->fd.get(), "first"));
  const auto name = capture->name;
  EXPECT_EQ(store.finish(std::move(*capture), true).text, "first");
  auto again = store.acquire();
  EXPECT_EQ(again->name, name);
  ASSERT_FALSE(os::write_all(again->fd.get(), "2"));
  EXPECT_EQ(store.finish(std::move(*again), false).text, "2");
  auto fresh = store.acquire();
  EXPECT_NE(fresh->name, name) << "something may still write to the old one";
  ASSERT_FALSE(os::write_all(fresh->fd.get(), std::string(100000, 'x')));
  auto large = store.finish(std::move(*fresh), true);
  EXPECT_EQ(large.length, 100000U);
  EXPECT_TRUE(large.text.empty());
  EXPECT_TRUE(store.open(large));
  EXPECT_FALSE(fs::exists(space_.path() + "/out/" + name));
}

TEST_F(Staging, ObjectsAppearOnlyWhenComplete) {
  CacheWriter writer(space_);
  const int fd = writer.begin_file("f", 0640, 4);
  ASSERT_GE(fd, 0);
  ASSERT_FALSE(os::write_all(fd, "ab"));
  EXPECT_FALSE(fs::exists(space_.path() + "/cache/f"));
  ASSERT_FALSE(os::write_all(fd, "cd"));
  const auto stored = writer.end_file({});
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->problem, "");
  EXPECT_EQ(look("cache/f").st_mode & 0777U, 0640U);

  writer.begin_directory("d");
  EXPECT_FALSE(writer.whole_file("d/x", 0644, "x"));
  writer.begin_directory("d/sub");
  writer.symlink("d/sub/l", "/etc");
  EXPECT_FALSE(writer.end_directory());
  EXPECT_FALSE(fs::exists(space_.path() + "/cache/d"));
  const auto tree = writer.end_directory();
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree->name, "d");
  EXPECT_EQ(tree->entries, 4U);
  EXPECT_TRUE(fs::is_symlink(space_.path() + "/cache/d/sub/l"));
}

// A task that is being started while a program arrives has the descriptor it is written through for a moment.
TEST_F(Staging, AProgramIsThereOnlyWhenNobodyHasItOpenForWriting) {
  CacheWriter writer(space_);
  const int fd = writer.begin_file("program", 0755, 10);
  ASSERT_GE(fd, 0);
  const int inherited = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  ASSERT_GE(inherited, 0);
  ASSERT_FALSE(os::write_all(fd, "#!/bin/sh\n"));
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ::close(inherited);
  });
  const auto stored = writer.end_file({});
  const bool still_open = ::fcntl(inherited, F_GETFD) != -1;
  late.join();
  ASSERT_TRUE(stored);
  EXPECT_FALSE(still_open);
  EXPECT_TRUE(fs::exists(space_.path() + "/cache/program"));
}

TEST_F(Staging, AFailedObjectIsTakenBack) {
  CacheWriter writer(space_);
  writer.begin_directory("d");
  writer.begin_file("d/x", 0644, 5);
  writer.end_file(ErrorCode(ENOSPC, boost::system::system_category()));
  EXPECT_EQ(writer.begin_file("d/y", 0644, 5), -1) << "what follows is dropped";
  writer.end_file({});
  const auto stored = writer.end_directory();
  ASSERT_TRUE(stored);
  EXPECT_THAT(stored->problem, HasSubstr("No space left"));
  EXPECT_FALSE(fs::exists(space_.path() + "/cache/d"));
  EXPECT_EQ(stored->trashed.size(), 1U);
}

TEST(ProcStat, SurvivesOddCommandNames) {
  const auto stat = os::parse_proc_stat("12 (a) b (c)) S 3 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2");
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 12);
  EXPECT_EQ(stat->parent, 3);
  EXPECT_EQ(stat->session, 12);
  EXPECT_EQ(stat->start_ticks, 777U);
  EXPECT_FALSE(os::parse_proc_stat("junk"));
  EXPECT_FALSE(os::parse_proc_stat(""));
}

}  // namespace
}  // namespace taskmill::worker
