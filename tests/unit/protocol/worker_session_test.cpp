#include "protocol/worker_session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/limits.hpp"
#include "tests/support/protocol_driver.hpp"

namespace taskmill::protocol {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;
using testing::WorkerDriver;
using namespace std::string_literals;

std::vector<std::string> events_of(std::string_view bytes, int version = 11) {
  WorkerDriver worker({.version = version});
  worker.feed(bytes);
  return worker.events;
}

std::string only_event_of(std::string_view bytes, int version = 11) {
  const auto events = events_of(bytes, version);
  return events.size() == 1 ? events[0] : "not one event but " + std::to_string(events.size());
}

TEST(WorkerLines, LineOf4095BytesPassesAnd4096DoesNot) {
  EXPECT_THAT(only_event_of("tlq " + std::string(max_line - 4, 't') + "\n"), StartsWith("tlq"));
  EXPECT_THAT(only_event_of("tlq " + std::string(max_line - 3, 't') + "\n"), StartsWith("! line too long"));
}

TEST(WorkerLines, CarriageReturnsAndWhatFollowsANulAreDropped) {
  EXPECT_EQ(only_event_of("ch\reck\r\n"), "check");
  EXPECT_EQ(only_event_of(std::string_view("kill 5\0 7\n", 10)), "kill task=5");
}

TEST(WorkerKeywords, BlankBehindTheKeywordIsOptional) {
  EXPECT_EQ(only_event_of("kill5\n"), "kill task=5");
  EXPECT_EQ(only_event_of("task5\nend\n"), "task id=5");
  EXPECT_EQ(only_event_of("getfoo 1\n"), R"(get name="foo" recursive=1)");
  EXPECT_EQ(only_event_of("send_results-1\n"), "send-results count=-1");
}

TEST(WorkerKeywords, SomeAreExact) {
  EXPECT_EQ(only_event_of("check\n"), "check");
  EXPECT_EQ(only_event_of("release\n"), "release");
  EXPECT_EQ(only_event_of("exit\n"), "exit");
  for (const auto* line : {"check 1\n", "checks\n", "release now\n", "exit 0\n", "exits\n", "end\n", "\n", "nonsense\n",
                           "symlink a 1\n", "env 3\n"}) {
    EXPECT_THAT(only_event_of(line), StartsWith("! unknown message")) << line;
  }
}

TEST(WorkerKeywords, FurtherTokensAreHintsAndIgnored) {
  EXPECT_THAT(events_of("kill 5 now\nunlink a b c\nget n 1 sha=1\ntlq a b\nsend_results -1 9\nput p 0 644 zstd\n"),
              ElementsAre("kill task=5", R"(unlink name="a")", R"(get name="n" recursive=1)", R"(tlq token="a")",
                          "send-results count=-1", R"(put path="p" length=0 mode=0644)"));
}

TEST(WorkerPut, NameIsDecodedModeIsOctalBodyFollows) {
  EXPECT_THAT(events_of("put sp%2520ace.txt 4 0640\nab\ncput e 0 777\n"),
              ElementsAre(R"(put path="sp%20ace.txt" length=4 mode=0640)", R"(body "ab\nc")",
                          R"(put path="e" length=0 mode=0777)"));
}

TEST(WorkerPut, SpecialModeBitsAreDropped) {
  EXPECT_EQ(only_event_of("put p 0 7755\n"), R"(put path="p" length=0 mode=0755)");
}

TEST(WorkerPut, NamesThatLeaveTheCacheAreRefused) {
  for (const auto* line : {"put ../x 1 644\n", "put a/b 1 644\n", "put a%2Fb 1 644\n", "put . 1 644\n",
                           "put .. 1 644\n", "put a%00b 1 644\n", "put /etc/passwd 1 644\n", "dir ..\n", "dir a/b\n",
                           "unlink ../x\n", "unlink %2e%2e\n", "get ../../etc/passwd 1\n", "get a/b 1\n", "get .. 1\n",
                           "get %2Fetc%2Fpasswd 1\n", "puturl http://x .. 0 777\n", "putcmd x a/b 0 777\n"}) {
    EXPECT_THAT(only_event_of(line), StartsWith("! unsafe name")) << line;
  }
}

TEST(WorkerPut, BadNumbersAreMalformed) {
  for (const auto* line :
       {"put p -1 644\n", "put p 99999999999999999999 644\n", "put p 1\n", "put p\n", "put p 1 9\n", "put p x 644\n",
        "get n\n", "kill\n", "kill x\n", "send_results\n", "task 0\n", "task -1\n", "task 4294967296\n", "task\n",
        "puturl u n 0\n", "puturl u n -1 777\n", "put p%zz 1 644\n"}) {
    EXPECT_THAT(only_event_of(line), StartsWith("! malformed")) << line;
  }
}

TEST(WorkerDirectory, TreeArrivesWithFullPaths) {
  EXPECT_THAT(events_of("dir top\nput f1 2 0644\nx\nsymlink link 3\nf1\0dir s%20b\nput f2 1 644\nyend\nend\ncheck\n"s),
              ElementsAre(R"(begin-directory path="top")", R"(put path="top/f1" length=2 mode=0644)", R"(body "x\n")",
                          R"(symlink path="top/link" target="f1")", R"(begin-directory path="top/s b")",
                          R"(put path="top/s b/f2" length=1 mode=0644)", R"(body "y")",
                          R"(end-directory path="top/s b")", R"(end-directory path="top")", "check"));
}

TEST(WorkerDirectory, OnlyEntriesAreAllowedInside) {
  for (const std::string line : {"check\n", "tlq x\n", "task 1\n", "\n", "kill 1\n"}) {
    EXPECT_THAT(events_of("dir d\n" + line).at(1), StartsWith("! unknown message")) << line;
  }
  for (const std::string line : {"put a/b 1 644\n", "dir ..\n", "symlink . 1\n", "put %2e 0 644\n"}) {
    EXPECT_THAT(events_of("dir d\n" + line).at(1), StartsWith("! unsafe name")) << line;
  }
}

TEST(WorkerDirectory, NestingAndPathLengthAreBounded) {
  std::string deep;
  for (std::size_t i = 0; i <= max_directory_depth; ++i) deep += "dir d\n";
  EXPECT_THAT(events_of(deep).back(), StartsWith("! announced length over its limit"));
  std::string wide;
  for (int i = 0; i < 20; ++i) wide += "dir " + std::string(250, 'd') + "\n";
  EXPECT_THAT(events_of(wide).back(), StartsWith("! announced length over its limit"));
}

TEST(WorkerDirectory, SymlinkTargetsAreBoundedAndNotEmpty) {
  EXPECT_THAT(events_of("dir d\nsymlink l 4097\n").at(1), StartsWith("! announced length over its limit"));
  EXPECT_THAT(events_of("dir d\nsymlink l 0\n").at(1), StartsWith("! malformed"));
  EXPECT_THAT(events_of("dir d\nsymlink l 2\n\0\0"s).at(1), StartsWith("! malformed"));
}

TEST(WorkerRecipes, OfVersion11) {
  EXPECT_EQ(only_event_of("puturl http://h/sp%2520ace.txt url-0-7d 0 777\n"),
            R"(put-url url="http://h/sp%20ace.txt" name="url-0-7d" size=0 mode=0777)");
  EXPECT_EQ(only_event_of("putcmd echo%20a%20%3E%20%25%25 cmd-7 5 777\n"),
            R"(put-command command="echo a > %%" name="cmd-7" size=5 mode=0777)");
  EXPECT_THAT(only_event_of("url n 3 0777 1\nabc"), StartsWith("! unknown message"));
  EXPECT_THAT(only_event_of("thirdget 1 n text\n"), StartsWith("! unknown message"));
}

TEST(WorkerRecipes, OfVersion9) {
  EXPECT_EQ(only_event_of("url url-0-6b 28 0777 1\nhttp://127.0.0.1:18080/a.txt", 9),
            R"(legacy-url name="url-0-6b" url="http://127.0.0.1:18080/a.txt" mode=0777 flags=1)");
  EXPECT_EQ(only_event_of("thirdget 1 cmd-1 echo a b > %%\n", 9),
            R"(thirdget kind=1 name="cmd-1" text="echo a b > %%")");
  EXPECT_EQ(only_event_of("thirdput 2 out /shared/x y\n", 9), R"(thirdput kind=2 name="out" text="/shared/x y")");
  EXPECT_THAT(only_event_of("puturl u n 0 777\n", 9), StartsWith("! unknown message"));
  EXPECT_THAT(only_event_of("putcmd u n 0 777\n", 9), StartsWith("! unknown message"));
  EXPECT_THAT(only_event_of("thirdget 4 n text\n", 9), StartsWith("! malformed"));
  EXPECT_THAT(only_event_of("thirdget 1 ../n text\n", 9), StartsWith("! unsafe name"));
}

TEST(WorkerTask, WholeBlockInAnyOrderOfLines) {
  EXPECT_EQ(
      only_event_of("task 7\ncores 1.000\nenv 7\nA=b\nc=d\noutfile o out%20put 16\ncmd 9\necho hi\n;category x y\n"
                    "gpus 0\nmemory 250\ndisk 500\nend_time 1795411177.000000\nwall_time 7.000000\n"
                    "infile c a/b 1\ndir empty\n\nenv 1\nU\nend\n"),
      R"(task id=7 command="echo hi\n;" category="x" cores=1 gpus=0 memory=250 disk=500 end_time=1795411177)"
      R"( wall_time=7 env="A=b\nc=d" env="U" in="c" as="a/b" flags=1 dir="empty" out="o" as="out put" flags=16)");
}

TEST(WorkerTask, BodyOfAVariableMayGoWithoutItsLineFeed) {
  EXPECT_EQ(only_event_of("task 1\nenv 3\nA=bend\n"), R"(task id=1 env="A=b")");
}

TEST(WorkerTask, CommandMayBeEmpty) {
  EXPECT_EQ(only_event_of("task 1\ncmd 0\nend\n"), R"(task id=1 command="")");
  EXPECT_EQ(only_event_of("task 1\nend\n"), "task id=1");
}

TEST(WorkerTask, WhatOldWorkersTakeIsTaken) {
  EXPECT_EQ(only_event_of("task 1\ncores\nmemory \n\nend\n"), "task id=1") << "a resource that says nothing";
  EXPECT_EQ(only_event_of("task 1\ncmd 5\na\0b cenv 5\nA=b\0c\nend\n"s), R"(task id=1 command="a" env="A=b")");
}

TEST(WorkerTask, ControlCharactersInNamesAsOldManagersEncodeThem) {
  EXPECT_EQ(only_event_of("task 1\ninfile file-0-x-a% Ab a% Ab 1\nend\n"),
            R"(task id=1 in="file-0-x-a% Ab" as="a\nb" flags=1)");
}

TEST(WorkerTask, UnknownLinesAndBadNumbersEndTheConnection) {
  for (const std::string line : {"check\n", "bogus\n", "end x\n", "tlq x\n"}) {
    EXPECT_THAT(only_event_of("task 1\n" + line), StartsWith("! unknown message")) << line;
  }
  for (const std::string line : {"cmd\n", "cmd -1\n", "cmd x\n", "cores x\n", "infile a b\n", "infile a\n",
                                 "outfile a b x\n", "dir\n", "env -3\n", "infile a b%g0 1\n"}) {
    EXPECT_THAT(only_event_of("task 1\n" + line), StartsWith("! malformed")) << line;
  }
}

TEST(WorkerTask, BodiesAreBounded) {
  EXPECT_THAT(only_event_of("task 1\ncmd 67108865\n"), StartsWith("! announced length over its limit"));
  EXPECT_THAT(only_event_of("task 1\nenv 16777217\n"), StartsWith("! announced length over its limit"));
  EXPECT_THAT(only_event_of("task 1\ncmd 99999999999999999999\n"), StartsWith("! malformed"));
  std::string many = "task 1\n";
  const std::string line = "infile " + std::string(2000, 'c') + " " + std::string(2000, 's') + " 1\n";
  WorkerDriver worker({});
  worker.feed(many);
  for (std::uint64_t bytes = 0; bytes < max_task_block + line.size() && !worker.failed; bytes += line.size()) {
    worker.feed(line);
  }
  EXPECT_TRUE(worker.failed) << "a block without end";
}

TEST(WorkerTask, CoprocessBelongsToVersion10AndLater) {
  EXPECT_EQ(only_event_of("task 1\ncoprocess 3\nabcend\n"), R"(task id=1 coprocess="abc")");
  EXPECT_THAT(only_event_of("task 1\ncoprocess 3\nabcend\n", 9), StartsWith("! unknown message"));
}

TEST(WorkerTask, NamesAreDecodedButNotJudged) {
  EXPECT_EQ(only_event_of("task 1\noutfile c ../x 0\nend\n"), R"(task id=1 out="c" as="../x" flags=0)");
}

TEST(WorkerHints, InvalidateFileIsNeverAnError) {
  EXPECT_THAT(
      events_of("invalidate-file a\ninvalidate-file %zz\ninvalidate-file ../x\n"),
      ElementsAre(R"(invalidate-file name="a")", R"(invalidate-file name="")", R"(invalidate-file name="../x")"));
}

TEST(WorkerFrames, AreUnknownUntilAgreed) {
  EXPECT_THAT(only_event_of("wqx 1 2\n"), StartsWith("! unknown message"));
  WorkerDriver worker({});
  worker.session.allow_frames(true);
  worker.feed("wqx 7 3\nabccheck\nwqx 1 0\n");
  EXPECT_THAT(worker.events, ElementsAre("frame kind=7 length=3", R"(body "abc")", "check", "frame kind=1 length=0"));
}

}  // namespace
}  // namespace taskmill::protocol
