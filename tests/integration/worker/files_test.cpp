// Inputs, the cache, outputs: worker.md section 19, checks 7 to 9, 14 to 16.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/integration/worker/kit.hpp"

namespace taskmill::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::vector<std::string> as_nobody = {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"};

/// Runs each test as the user who runs the tests and, when that is root, as an ordinary user too.
class Files : public ::testing::TestWithParam<bool> {
 protected:
  Files() {
    if (GetParam() && ::geteuid() != 0) return;
    std::filesystem::create_directory(scratch_.path() + "/work");
    std::filesystem::permissions(scratch_.path(), std::filesystem::perms::all);
    std::filesystem::permissions(scratch_.path() + "/work", std::filesystem::perms::all);
    process_.emplace(scratch_,
                     std::vector<std::string>{"127.0.0.1", manager_.port(), "-s", scratch_.path() + "/work",
                                              "--single-shot", "--cores", "2", "-t", "60"},
                     GetParam() ? as_nobody : std::vector<std::string>{});
    peer_.emplace(manager_.greet());
  }
  void SetUp() override {
    if (!process_) GTEST_SKIP() << "needs root to become an ordinary user";
  }
  /// Where the worker keeps things.
  std::string workspace() const {
    for (const auto& entry : std::filesystem::directory_iterator(scratch_.path() + "/work")) return entry.path();
    return {};
  }
  ScratchDirectory scratch_;
  ScriptedManager manager_;
  std::optional<WorkerProcess> process_;
  std::optional<Peer> peer_;
};

INSTANTIATE_TEST_SUITE_P(Users, Files, ::testing::Values(false, true),
                         [](const auto& user) { return user.param ? "AsOrdinaryUser" : "AsSelf"; });

TEST_P(Files, InputsKeepModesNamesAndLinks) {
  auto& peer = *peer_;
  peer.put("exe", "#!/bin/sh\necho ran\n", "0755");
  peer.put("plain", "text", "0640");
  peer.put("empty", "", "0444");
  std::string tree = "dir tree\nput f1 2 0644\nx\n";
  for (const int length : {1, 8, 24, 40, 56}) {
    const std::string target(static_cast<std::size_t>(length), 'q');
    tree += "symlink l" + std::to_string(length) + " " + std::to_string(length) + "\n" + target;
  }
  peer.send(tree + "symlink nul 3\n" + std::string("f1\0", 3) + "dir sub\nput f2 3 0600\nyy\nend\nend\n");
  const auto result = peer.run(
      1,
      "./bin/exe; stat -c %a plain 'with blank' empty; for i in 1 8 24 40 56; do readlink d/l$i | wc -c; done; "
      "cat d/nul d/sub/f2; ls -d nothing",
      "infile exe bin/exe 1\ninfile plain plain 0\ninfile plain with%20blank 0\ninfile empty empty 0\ninfile tree d "
      "1\ndir nothing\n");
  EXPECT_EQ(result.output, "ran\n640\n640\n644\n2\n9\n25\n41\n57\nx\nyy\nnothing\n");
}

TEST_P(Files, EditingACachedInputDoesNotReachTheNextTask) {
  auto& peer = *peer_;
  peer.put("in", "original\n", "0644");
  peer.send("dir tree\nput f 9 0644\noriginal\nend\n");
  const std::string inputs = "infile in in 1\ninfile tree tree 1\n";
  peer.run(1,
           "echo changed >> in; sed -i s/original/x/ in; echo more >> tree/f; chmod 666 in tree/f; echo more >> tree/f",
           inputs);
  EXPECT_EQ(peer.run(2, "cat in tree/f", inputs).output, "original\noriginal\n");
}

TEST_P(Files, EditingAnUncachedInputDoesNotReachTheNextTask) {
  auto& peer = *peer_;
  peer.put("in", "original\n", "0755");
  EXPECT_EQ(peer.run(1, "stat -c %a in; echo changed >> in; chmod 600 in", "infile in in 0\n").output, "755\n");
  EXPECT_EQ(peer.run(2, "stat -c %a in; cat in", "infile in in 0\n").output, "755\noriginal\n");
  peer.put("in", "new\n", "0644");
  EXPECT_EQ(peer.run(3, "cat in", "infile in in 0\n").output, "new\n");
  peer.send("unlink in\n");
  EXPECT_EQ(peer.run(4, "cat in", "infile in in 0\n").status, 1);
}

TEST_P(Files, EditingALargeCachedInputDoesNotReachTheNextTask) {
  auto& peer = *peer_;
  const std::string big(40U << 20, 'a');  // larger than anything that is copied
  peer.put("big", big, "0644");
  peer.run(1, "chmod u+w big; printf XXXX | dd of=big conv=notrunc bs=1 count=4 status=none", "infile big big 1\n");
  // The damaged copy is given up and the manager told; a task that asks for it has no input.
  peer.task(2, "head -c 4 big", "infile big big 1\n");
  const auto results = peer.collect(1);
  EXPECT_NE(results.front().output, "XXXX");
  EXPECT_EQ(results.front().status, 1);
  peer.send("kill 2\n");
  peer.put("big", big, "0644");
  EXPECT_EQ(peer.run(3, "head -c 4 big", "infile big big 1\n").output, "aaaa");
  // It is known now as one that is edited: every task gets a copy of its own.
  EXPECT_EQ(peer.run(4, "printf XXXX | dd of=big conv=notrunc bs=1 count=4 status=none", "infile big big 1\n").status,
            0);
  EXPECT_EQ(peer.run(5, "head -c 4 big", "infile big big 1\n").output, "aaaa");
}

TEST_P(Files, AManagerHearsOfADamagedCachedFile) {
  auto& peer = *peer_;
  peer.put("big", std::string(40U << 20, 'a'), "0644");
  peer.task(1, "chmod u+w big; echo x >> big", "infile big big 1\n");
  EXPECT_THAT(peer.until("cache-invalid"), StartsWith("cache-invalid big "));
}

TEST_P(Files, ReplacingAFileDoesNotChangeARunningTasksInput) {
  auto& peer = *peer_;
  peer.put("in", "old\n", "0644");
  peer.task(1, "while [ ! -e $WORKER_TMPDIR/go ]; do sleep 0.02; done; cat in", "infile in in 0\n");
  peer.send("check\n");
  peer.until("alive");
  peer.put("in", "new\n", "0644");
  peer.task(2, "touch $WORKER_TMPDIR/go; cat in", "infile in in 0\n");
  const auto results = peer.collect(2);
  EXPECT_EQ(results[0].output, "old\n");
  EXPECT_EQ(results[1].output, "new\n");
}

TEST_P(Files, OutputsOfEveryKindComeBack) {
  auto& peer = *peer_;
  const auto result =
      peer.run(1,
               "echo text > f; chmod 0 f; mkdir -p d/e; echo 1 > d/a; echo 2 > d/e/b; ln -s a d/inside; ln -s "
               "/etc/passwd d/outside; "
               "ln -s .. d/e/loop; mkfifo d/pipe pipe; ln -s target link; echo linked > target; : > empty; chmod 500 d",
               "outfile of f 0\noutfile od d 0\noutfile op pipe 0\noutfile ol link 0\noutfile oe empty 0\noutfile on "
               "nothere 0\n");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.exit_code, 0);
  auto items = peer.get("od");
  std::string summary;
  for (const auto& item : items)
    summary += item.kind + " " + item.path + (item.kind == "file" ? " " + item.bytes : "\n");
  EXPECT_THAT(summary, StartsWith("dir od\nfile od/a 1\ndir od/e\nfile od/e/b 2\n"));
  EXPECT_THAT(summary, HasSubstr("missing od/e/loop\n"));
  EXPECT_THAT(summary, HasSubstr("file od/inside 1\n"));
  EXPECT_THAT(summary, HasSubstr("missing od/outside\n"));
  EXPECT_THAT(summary, HasSubstr("missing od/pipe\n"));
  EXPECT_EQ(peer.get("op").front().kind, "missing");
  EXPECT_EQ(peer.get("ol").front().bytes, "linked\n");
  EXPECT_EQ(peer.get("oe").front().number, 0);
  const auto missing = peer.get("on");
  ASSERT_EQ(missing.size(), 1U);
  EXPECT_EQ(missing[0].kind, "missing");
  EXPECT_EQ(missing[0].number, 2);
}

TEST_P(Files, ANewDirectoryReplacesTheOldResult) {
  auto& peer = *peer_;
  peer.run(1, "mkdir d; echo old > d/old", "outfile od d 0\n");
  peer.run(2, "mkdir d; echo new > d/new", "outfile od d 0\n");
  const auto items = peer.get("od");
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[1].path, "od/new");
  peer.run(3, "echo file > d", "outfile od d 0\n");
  EXPECT_EQ(peer.get("od").front().bytes, "file\n");
}

TEST_P(Files, AnOutputCanBeTheNextTasksInput) {
  auto& peer = *peer_;
  peer.run(1, "echo from one > o", "outfile shared o 1\n");
  EXPECT_EQ(peer.run(2, "cat i; echo more >> i", "infile shared i 1\n").output, "from one\n");
  EXPECT_EQ(peer.run(3, "cat i", "infile shared i 1\n").output, "from one\n");
}

TEST_P(Files, ALargeOutputAndAWideTreeArriveWhole) {
  auto& peer = *peer_;
  peer.run(1, "head -c 30000000 /dev/zero | tr '\\0' z > big; mkdir w; for i in $(seq 1500); do echo $i > w/$i; done",
           "outfile big big 0\noutfile w w 0\n");
  const auto big = peer.get("big");
  ASSERT_EQ(big.size(), 1U);
  EXPECT_EQ(big[0].bytes.size(), 30'000'000U);
  EXPECT_EQ(big[0].bytes.find_first_not_of('z'), std::string::npos);
  EXPECT_EQ(peer.get("w").size(), 1501U);
}

TEST_P(Files, UnlinkedObjectsAreGone) {
  auto& peer = *peer_;
  peer.put("a", "x", "0644");
  peer.send("unlink a\nunlink unknown\n");
  const auto result = peer.run(1, "cat a", "infile a a 0\n");
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.exit_code, 1);
}

TEST_P(Files, NamesThatLeaveTheirPlaceAreRefused) {
  auto& peer = *peer_;
  peer.put("a", "x", "0644");
  const auto bad_input = peer.run(1, "echo ran", "infile a ../x 0\n");
  EXPECT_EQ(bad_input.status, 1);
  EXPECT_THAT(bad_input.output, HasSubstr("'../x'"));
  EXPECT_EQ(peer.run(2, "echo ran", "infile a /tmp/x 0\n").status, 1);
  EXPECT_EQ(peer.run(3, "echo ran", "dir ../x\n").status, 1);
  EXPECT_EQ(peer.run(4, "echo ran > o", "outfile ../../x o 0\n").status, 1);
  EXPECT_EQ(peer.run(5, "echo ran > o", "outfile x ../../o 0\n").status, 1);
  EXPECT_EQ(peer.run(6, "echo still here", "infile a ./b//c 0\n").output, "still here\n");
}

TEST_P(Files, GetNeverLeavesTheCache) {
  auto& peer = *peer_;
  peer.send("get ../../../../../etc/hostname 1\n");
  // Refused by ending the session: such a name cannot come from an honest manager.
  const auto line = peer.line();
  EXPECT_TRUE(line.empty() || line.starts_with("missing")) << line;
}

TEST_P(Files, ATaskCannotPlantALinkForTheNextTransfer) {
  auto& peer = *peer_;
  const auto outside = scratch_.path() + "/outside";
  peer.run(1, "ln -s " + outside + " ../cache/planted; mkdir d; ln -s /etc d/link", "outfile d d 0\n");
  peer.put("planted", "new", "0644");
  EXPECT_EQ(peer.run(2, "cat p", "infile planted p 0\n").output, "new");
  EXPECT_FALSE(std::filesystem::exists(outside));
}

TEST_P(Files, CommandObjectsAreMadeInTheBackground) {
  auto& peer = *peer_;
  peer.send(
      "putcmd echo%20made%20%3E%20%25%25 good 0 777\nputcmd true%20%25%25 nothing 0 777\nputcmd "
      "echo%20why;%20false%20%25%25 bad 0 777\n"
      "putcmd sleep%203;%20touch%20%25%25 slow 0 777\n");
  peer.task(1, "cat x", "infile good x 1\n");
  EXPECT_THAT(peer.until("cache-update"), StartsWith("cache-update good 5 "));
  EXPECT_EQ(peer.collect(1).front().output, "made\n");
  peer.task(2, "cat x", "infile nothing x 1\n");
  const auto invalid = peer.until("cache-invalid");
  EXPECT_THAT(invalid, StartsWith("cache-invalid nothing "));
  EXPECT_GT(std::stoi(invalid.substr(invalid.rfind(' ') + 1)), 0);
  peer.bytes(static_cast<std::size_t>(std::stoi(invalid.substr(invalid.rfind(' ') + 1))));
  EXPECT_EQ(peer.collect(1).front().status, 1);
  peer.task(3, "cat x", "infile bad x 1\n");
  EXPECT_EQ(peer.until("cache-invalid"), "cache-invalid bad 4");
  EXPECT_EQ(peer.bytes(4), "why\n");
  EXPECT_EQ(peer.collect(1).front().status, 1);
  // While one object is being made, everything else goes on.
  peer.task(4, "cat x", "infile slow x 1\n");
  const double took = seconds_of([&] { EXPECT_EQ(peer.run(5, "echo quick").output, "quick\n"); });
  EXPECT_LT(took, 2.5);
}

TEST_P(Files, AUrlIsNeverSeenByAShell) {
  auto& peer = *peer_;
  const auto mark = scratch_.path() + "/work/HACKED";
  std::ofstream(scratch_.path() + "/work/page") << "page";
  std::filesystem::permissions(scratch_.path() + "/work/page", std::filesystem::perms::all);
  peer.send("puturl file://" + scratch_.path() + "/work/page u1 0 777\n");
  peer.send("puturl http://127.0.0.1:1/$(touch%20" + mark + ");touch%20" + mark + " u2 0 777\n");
  EXPECT_EQ(peer.run(1, "cat x", "infile u1 x 1\n").output, "page");
  peer.task(2, "cat x", "infile u2 x 1\n");
  EXPECT_THAT(peer.until("cache-invalid"), StartsWith("cache-invalid u2 "));
  EXPECT_FALSE(std::filesystem::exists(mark));
}

TEST_P(Files, SandboxesThatForbidTheirRemovalAreRemoved) {
  auto& peer = *peer_;
  peer.run(1, "mkdir -p e/f; touch e/f/g; chmod 0 e/f e; mkdir x; touch x/y; chmod 500 x .");
  EXPECT_TRUE(eventually([this] { return !std::filesystem::exists(workspace() + "/t.1"); }));
  EXPECT_EQ(peer.run(2, "echo fine").output, "fine\n");
  peer.send("exit\n");
  EXPECT_EQ(process_->wait(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() + "/work"));
}

TEST_P(Files, ADeepTreeIsRemoved) {
  auto& peer = *peer_;
  peer.run(1, "i=0; while [ $i -lt 300 ]; do mkdir d; touch d/f; cd d; i=$((i+1)); done; echo $i");
  peer.send("exit\n");
  EXPECT_EQ(process_->wait(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() + "/work"));
}

// A few files only: a limit on descriptors stands for any shortage.
TEST(Shortage, EveryTaskGetsAnAnswer) {
  ScratchDirectory scratch;
  ScriptedManager manager;
  WorkerProcess process(scratch, {"127.0.0.1", manager.port(), "-s", scratch.path(), "--single-shot", "--cores", "2"},
                        {"prlimit", "--nofile=48:48"});
  Peer peer = manager.greet();
  for (int id = 1; id <= 60; ++id) peer.task(id, "head -c 100000 /dev/zero");
  for (const auto& result : peer.collect(60)) EXPECT_EQ(result.length, 100000) << result.id;
}

TEST(Shortage, AFullDiskFailsTheFileAndNotTheSession) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small file system";
  ScratchDirectory scratch;
  const auto disk = scratch.path() + "/disk";
  std::filesystem::create_directory(disk);
  if (std::system(("mount -t tmpfs -o size=4m,nr_inodes=200 tmpfs " + disk + " 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "cannot mount";
  {
    ScriptedManager manager;
    WorkerProcess process(scratch, {"127.0.0.1", manager.port(), "-s", disk, "--single-shot", "--cores", "2"});
    Peer peer = manager.greet();
    const auto run = [&peer](long long id, std::string_view command, std::string_view lines = "") {
      peer.task(id, command, lines, "cores 1\ngpus 0\nmemory 10\ndisk 1\n");
      auto result = peer.collect(1).front();
      peer.send("kill " + std::to_string(id) + "\n");
      return result;
    };
    peer.put("big", std::string(6U << 20, 'b'), "0644");
    EXPECT_THAT(peer.until("cache-invalid"), StartsWith("cache-invalid big "));
    EXPECT_EQ(run(1, "cat b", "infile big b 1\n").status, 1);
    EXPECT_EQ(run(2, "echo alive").output, "alive\n");
    const auto filled = run(3, "head -c 9000000 /dev/zero > f || { rm f; echo full; }");
    EXPECT_THAT(filled.output, HasSubstr("full"));
    for (int id = 10; id < 70; ++id)
      peer.task(id, "for i in 1 2 3 4 5 6 7 8 9; do : > f$i; done", "", "cores 1\ngpus 0\nmemory 10\ndisk 1\n");
    EXPECT_EQ(peer.collect(60).size(), 60U);
    peer.send("kill -1\n");
    EXPECT_EQ(run(99, "echo alive").output, "alive\n");
  }
  EXPECT_EQ(std::system(("umount " + disk).c_str()), 0);
}

}  // namespace
}  // namespace taskmill::test
