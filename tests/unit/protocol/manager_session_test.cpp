#include "protocol/manager_session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/limits.hpp"
#include "tests/support/protocol_driver.hpp"

namespace taskmill::protocol {
namespace {

using ::testing::ElementsAre;
using testing::ManagerDriver;
using ::testing::StartsWith;

std::vector<std::string> events_of(std::string_view bytes) {
  ManagerDriver manager({});
  manager.feed(bytes);
  return manager.events;
}

std::string only_event_of(std::string_view bytes) {
  const auto events = events_of(bytes);
  return events.size() == 1 ? events[0] : "not one event but " + std::to_string(events.size());
}

TEST(ManagerLines, LineOf4095BytesPassesAnd4096DoesNot) {
  const std::string head = "info x ";
  EXPECT_THAT(only_event_of(head + std::string(max_line - head.size(), 'v') + "\n"), StartsWith("info field=\"x\""));
  EXPECT_THAT(only_event_of(head + std::string(max_line + 1 - head.size(), 'v') + "\n"), StartsWith("! line too long"));
}

TEST(ManagerLines, TooLongLineFailsBeforeItsEnd) {
  EXPECT_THAT(only_event_of(std::string(max_line + 1, 'v')), StartsWith("! line too long"));
  EXPECT_THAT(events_of(std::string(max_line, 'v')), ElementsAre());
}

TEST(ManagerLines, CarriageReturnsAreDroppedEverywhereAndDoNotCount) {
  EXPECT_EQ(only_event_of("al\rive\r\n"), "alive");
  const std::string head = "info x ";
  EXPECT_THAT(only_event_of(head + std::string(max_line - head.size(), 'v') + "\r\r\r\n"), StartsWith("info"));
}

TEST(ManagerLines, EndlessCarriageReturnsAreCutOff) {
  EXPECT_THAT(only_event_of(std::string(2 * max_line + 1, '\r')), StartsWith("! line too long"));
}

TEST(ManagerLines, NulEndsWhatIsInterpreted) {
  EXPECT_EQ(only_event_of(std::string_view("info a b\0 c d\n", 14)), R"(info field="a" value="b")");
  EXPECT_THAT(only_event_of(std::string_view("\0alive\n", 7)), StartsWith("! unknown message"));
}

TEST(ManagerLines, RunsOfBlanksSeparateTokens) {
  EXPECT_EQ(only_event_of("resource   cores \t 2  2   2   more\n"),
            R"(resource name="cores" total=2 smallest=2 largest=2)");
}

TEST(ManagerLines, EmptyAndUnknownLinesEndTheConnection) {
  EXPECT_THAT(only_event_of("\n"), StartsWith("! unknown message"));
  EXPECT_THAT(only_event_of("bogus\n"), StartsWith("! unknown message"));
  EXPECT_THAT(only_event_of("ready host 1 2\n"), StartsWith("! unknown message: incompatible"));
  EXPECT_THAT(only_event_of(" alive\n"), StartsWith("! unknown message"));
}

TEST(ManagerKeywords, ArePrefixesAsOldManagersReadThem) {
  EXPECT_EQ(only_event_of("aliveXYZ\n"), "alive");
  EXPECT_EQ(only_event_of("alive 1 2 3\n"), "alive");
  EXPECT_EQ(only_event_of("infoabc 1\n"), R"(info field="abc" value="1")");
  EXPECT_EQ(only_event_of("available_results 7\n"), "available-results");
  EXPECT_EQ(only_event_of("resourcecores 1 1 1\n"), R"(resource name="cores" total=1 smallest=1 largest=1)");
  EXPECT_EQ(only_event_of("names\n"), "name-query");
  EXPECT_EQ(only_event_of("tlq http://x\n"), R"(tlq token="http://x")");
}

TEST(ManagerGreeting, NeedsFiveTokensAndIgnoresMore) {
  EXPECT_EQ(only_event_of("workqueue 9 vm Linux x86_64 8.0.0 a b\n"),
            R"(greeting version=9 host="vm" os="Linux" arch="x86_64" software="8.0.0" extra="a b")");
  EXPECT_THAT(only_event_of("workqueue 9 vm Linux x86_64\n"), StartsWith("! malformed"));
  EXPECT_THAT(only_event_of("workqueue x vm Linux x86_64 8\n"), StartsWith("! malformed"));
}

TEST(ManagerGreeting, DecoratedVersionCountsByItsNumber) {
  EXPECT_THAT(only_event_of("workqueue 11+tm vm Linux x86_64 8.0.0\n"), StartsWith("greeting version=11 host=\"vm\""));
}

TEST(ManagerResources, IntegersFloatsAndSignsAreRead) {
  EXPECT_EQ(only_event_of("resource memory 500.000000 +250 -1\n"),
            R"(resource name="memory" total=500 smallest=250 largest=-1)");
  EXPECT_EQ(only_event_of("resource tag 17\n"), "resource-tag tag=17");
  EXPECT_EQ(only_event_of("resource tag -1\n"), "resource-tag tag=-1");
}

TEST(ManagerResources, MissingAndAbsurdNumbersAreMalformed) {
  for (const auto* line : {"resource cores 1 1\n", "resource cores\n", "resource\n", "resource tag\n",
                           "resource cores inf 1 1\n", "resource cores nan 1 1\n", "resource cores 1e999 1 1\n"}) {
    EXPECT_THAT(only_event_of(line), StartsWith("! malformed")) << line;
  }
}

TEST(ManagerInfo, ValueRunsToTheEndOfTheLineAndIsMandatory) {
  EXPECT_EQ(only_event_of("info vacating 15 now please\n"), R"(info field="vacating" value="15 now please")");
  EXPECT_THAT(only_event_of("info tasks_running\n"), StartsWith("! malformed"));
  EXPECT_THAT(only_event_of("info tasks_running  \n"), StartsWith("! malformed"));
}

TEST(ManagerFeature, IsDecodedAndMandatory) {
  EXPECT_EQ(only_event_of("feature Tesla%20V100\n"), R"(feature name="Tesla V100")");
  EXPECT_EQ(only_event_of("feature a% Ab\n"), R"(feature name="a\nb")") << "as old encoders write a line feed";
  EXPECT_THAT(only_event_of("feature\n"), StartsWith("! malformed"));
  EXPECT_THAT(only_event_of("feature a%zz\n"), StartsWith("! malformed"));
}

TEST(ManagerStatus, RequestsAreExact) {
  EXPECT_EQ(only_event_of("queue_status\n"), R"(status-query kind="queue")");
  EXPECT_EQ(only_event_of("task_status\n"), R"(status-query kind="task")");
  EXPECT_EQ(only_event_of("worker_status\n"), R"(status-query kind="worker")");
  EXPECT_EQ(only_event_of("wable_status\n"), R"(status-query kind="wable")");
  EXPECT_EQ(only_event_of("resources_status\r\n"), R"(status-query kind="resources")");
  for (const auto* line : {"queue_status x\n", "queue_statuses\n", "task_status \n", "resources_statusX\n"}) {
    EXPECT_THAT(only_event_of(line), StartsWith("! malformed")) << line;
  }
}

TEST(ManagerHttp, HeadersAreReadWithEitherLineEnd) {
  EXPECT_EQ(only_event_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), R"(http path="/")");
  EXPECT_EQ(only_event_of("GET /queue_status HTTP/1.0\nHost: a\n\n"), R"(http path="/queue_status")");
  EXPECT_EQ(only_event_of("GET /x HTTP/1.0\n\n"), R"(http path="/x")");
}

TEST(ManagerHttp, AnswersOnlyAfterTheLastHeader) { EXPECT_THAT(events_of("GET / HTTP/1.1\nHost: a\n"), ElementsAre()); }

TEST(ManagerHttp, OneHeaderMayBeLongerThanALineButNotEndless) {
  EXPECT_EQ(only_event_of("GET / HTTP/1.1\nCookie: " + std::string(10'000, 'c') + "\n\n"), R"(http path="/")");
  EXPECT_THAT(only_event_of("GET / HTTP/1.1\nCookie: " + std::string(max_http_header, 'c')), StartsWith("! announced"));
}

TEST(ManagerHttp, OtherMethodsAndShapesAreUnknown) {
  for (const auto* line : {"POST / HTTP/1.1\n", "HEAD / HTTP/1.1\n", "GET /\n", "GET / FTP/1\n", "GETX / HTTP/1.1\n",
                           "get / HTTP/1.1\n"}) {
    EXPECT_THAT(only_event_of(line), StartsWith("! unknown message")) << line;
  }
}

TEST(ManagerReplies, WithoutARequestEndTheConnection) {
  for (const auto* line :
       {"result 0 0 0 1 1\n", "update 1 f 0 4\n", "end\n", "file f 3\n", "dir f 0\n", "missing f 2\n"}) {
    EXPECT_THAT(only_event_of(line), StartsWith("! unknown message")) << line;
  }
}

TEST(ManagerReplies, OfTheOtherRequestEndTheConnection) {
  ManagerDriver results({});
  results.session.expect_results();
  results.feed("file f 3\n");
  EXPECT_TRUE(results.failed);
  ManagerDriver get({});
  get.session.expect_get("f");
  get.feed("result 0 0 0 1 1\n");
  EXPECT_TRUE(get.failed);
}

TEST(ManagerResults, BodiesUpdatesAndTheirEnd) {
  ManagerDriver manager({});
  manager.session.expect_results();
  manager.feed("result 0 3 5 4824 1 sig=9 x\nhellowork\ninfo tasks_running 0\n");
  EXPECT_TRUE(manager.failed) << "'work' is no message";
  ManagerDriver good({});
  good.session.expect_results();
  good.feed("result 0 3 6 4824 1 sig=9\nhello\nupdate 1 w.txt 0 4\none\nend\n");
  EXPECT_THAT(good.events,
              ElementsAre(R"(result task=1 status=0 exit=3 output=6 time_us=4824 extra="sig=9")", R"(body "hello\n")",
                          R"(update task=1 path="w.txt" offset=0 length=4)", R"(body "one\n")", "results-end"));
  EXPECT_EQ(good.session.outstanding_requests(), 0U);
}

TEST(ManagerResults, LengthOfAForsakenTaskIsReadLikeAnyOther) {
  ManagerDriver manager({});
  manager.session.expect_results();
  manager.feed("result 40 0 3 0 6\nxyzend\n");
  EXPECT_EQ(manager.events.back(), "results-end");
}

TEST(ManagerResults, NegativeHugeAndMissingLengthsAreMalformed) {
  for (const auto* line : {"result 0 0 -1 1 1\n", "result 0 0 99999999999999999999 1 1\n", "result 0 0 5x 1 1\n",
                           "result 0 0 5\n", "result\n", "result 99999999999 0 0 0 1\n"}) {
    ManagerDriver manager({});
    manager.session.expect_results();
    manager.feed(line);
    EXPECT_THAT(manager.events.at(0), StartsWith("! malformed")) << line;
  }
}

TEST(ManagerResults, NegativeTimeCountsAsNone) {
  ManagerDriver manager({});
  manager.session.expect_results();
  manager.feed("result 0 -1 0 -5 1\n");
  EXPECT_EQ(manager.events.at(0), R"(result task=1 status=0 exit=-1 output=0 time_us=0 extra="")");
}

TEST(ManagerResults, WatchedFileMayHaveBlanksInItsName) {
  ManagerDriver manager({});
  manager.session.expect_results();
  manager.feed("update 1 my file.txt 10 3\nabcend\n");
  EXPECT_EQ(manager.events.at(0), R"(update task=1 path="my file.txt" offset=10 length=3)");
}

TEST(ManagerGets, TreeOfAGetIsRelativeToItsName) {
  ManagerDriver manager({});
  manager.session.expect_get("out-1");
  manager.feed("dir out-1 0\nfile out-1/x 2\n1\nmissing out-1/sub/y 13\ndir out-1/a b 0\nfile out-1/a b/c d 0\nend\n");
  EXPECT_THAT(manager.events, ElementsAre(R"(dir path="")", R"(file path="x" length=2)", R"(body "1\n")",
                                          R"(missing path="sub/y" error=13)", R"(dir path="a b")",
                                          R"(file path="a b/c d" length=0)", "get-end"));
}

TEST(ManagerGets, PipelinedRequestsAreAnsweredInOrder) {
  ManagerDriver manager({});
  manager.session.expect_results();
  manager.session.expect_get("a");
  manager.session.expect_get("b");
  manager.feed("end\nfile a 1\nxend\nmissing b 2\nend\n");
  EXPECT_THAT(manager.events, ElementsAre("results-end", R"(file path="" length=1)", R"(body "x")", "get-end",
                                          R"(missing path="" error=2)", "get-end"));
  EXPECT_EQ(manager.session.outstanding_requests(), 0U);
}

TEST(ManagerGets, PathsOutsideTheRequestAreRefused) {
  for (const auto* line : {"file name/../../x 1\n", "file name/.. 1\n", "file name/./x 1\n", "file name//x 1\n",
                           "file name/ 1\n", "file nam 1\n", "file namex 1\n", "file /etc/passwd 1\n", "file other 1\n",
                           "dir name/../x 0\n", "missing ../name 2\n", "file na 1\n"}) {
    ManagerDriver manager({});
    manager.session.expect_get("name");
    manager.feed(line);
    EXPECT_THAT(manager.events.at(0), StartsWith("! unsafe name")) << line;
  }
}

TEST(ManagerGets, LengthsArePureDigits) {
  for (const auto* line : {"file name +1\n", "file name -1\n", "file name 1x\n", "file name\n", "file\n",
                           "file name 9223372036854775808\n", "file name 0x1\n"}) {
    ManagerDriver manager({});
    manager.session.expect_get("name");
    manager.feed(line);
    EXPECT_THAT(manager.events.at(0), StartsWith("! malformed")) << line;
  }
}

TEST(ManagerGets, AFileOf63BitsIsAnnouncedNotBuffered) {
  ManagerSession session({});
  session.expect_get("big");
  const std::string line = "file big 9223372036854775807\n";
  EXPECT_FALSE(session.next(line).failed());
  EXPECT_EQ(session.body_left(), 9223372036854775807U);
  session.body_taken(9223372036854775806U);
  EXPECT_EQ(session.body_left(), 1U);
}

TEST(ManagerAsync, LinesMayStandAnywhereInsideReplies) {
  ManagerDriver manager({});
  manager.session.expect_results();
  manager.session.expect_get("f");
  manager.feed(
      "alive\nresult 0 0 1 5 1\nxinfo tasks_running 0\ncache-update u 7 20\nend\nresource cores 1 1 1\n"
      "cache-invalid u 3\nbadfile f 2\nokfeature gpu\navailable_results\nend\n");
  EXPECT_FALSE(manager.failed);
  EXPECT_EQ(manager.events.size(), 14U);
  EXPECT_EQ(manager.events.back(), "get-end");
}

TEST(ManagerVersions, CacheRepliesBelongToVersion11) {
  EXPECT_EQ(events_of("workqueue 11 h o a v\ncache-update u 7 20\n").at(1),
            R"(cache-update name="u" size=7 time_us=20)");
  EXPECT_THAT(events_of("workqueue 9 h o a v\ncache-update u 7 20\n").at(1), StartsWith("! unknown message"));
  EXPECT_THAT(events_of("workqueue 9 h o a v\ncache-invalid u 0\n").at(1), StartsWith("! unknown message"));
}

TEST(ManagerVersions, ThirdputBelongsToVersion9) {
  EXPECT_EQ(events_of("workqueue 9 h o a v\nthirdput-complete 1\n").at(1), "thirdput-complete ok=1");
  EXPECT_THAT(events_of("workqueue 11 h o a v\nthirdput-complete 1\n").at(1), StartsWith("! unknown message"));
}

TEST(ManagerCache, MalformedNoticesAreIgnoredAsByOldManagers) {
  EXPECT_THAT(events_of("cache-update\ncache-update u\ncache-update u x y\ncache-invalid\ncache-invalid u\nalive\n"),
              ElementsAre("alive"));
}

TEST(ManagerCache, ALengthThatCannotBeFramedIsMalformed) {
  EXPECT_THAT(only_event_of("cache-invalid u -1\n"), StartsWith("! malformed"));
}

TEST(ManagerFrames, AreUnknownUntilAgreed) {
  EXPECT_THAT(only_event_of("wqx 1 2\n"), StartsWith("! unknown message"));
  ManagerDriver manager({});
  manager.session.allow_frames(true);
  manager.feed("wqx 7 3\nabcalive\n");
  EXPECT_THAT(manager.events, ElementsAre("frame kind=7 length=3", R"(body "abc")", "alive"));
}

TEST(ManagerFrames, AreExactAndBounded) {
  for (const auto* line : {"wqx 1\n", "wqx 1 2 3\n", "wqx -1 2\n", "wqx 4294967296 2\n", "wqx 1 -2\n"}) {
    ManagerDriver manager({});
    manager.session.allow_frames(true);
    manager.feed(line);
    EXPECT_THAT(manager.events.at(0), StartsWith("! malformed")) << line;
  }
  ManagerDriver manager({});
  manager.session.allow_frames(true);
  manager.feed("wqx 1 67108865\n");
  EXPECT_THAT(manager.events.at(0), StartsWith("! announced length over its limit"));
}

TEST(ManagerFailure, DetailIsPrintableAndShort) {
  ManagerSession session({});
  const std::string line = "\x1b[31mevil\x07" + std::string(3000, 'x') + "\n";
  const auto step = session.next(line);
  ASSERT_TRUE(step.failed());
  EXPECT_LT(step.detail.size(), 200U);
  EXPECT_EQ(step.detail.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace taskmill::protocol
