// However the network cuts the stream, the messages are the same. The golden transcripts do this too
// (tests/golden); here are streams with everything that is collected, skipped or cleaned.
#include <gtest/gtest.h>

#include "tests/support/protocol_driver.hpp"

namespace taskmill::protocol {
namespace {

using testing::ManagerDriver;
using testing::WorkerDriver;
using namespace std::string_literals;

template <class MakeDriver>
void expect_same_at_every_split(const std::string& stream, const MakeDriver& make) {
  auto whole = make();
  whole.feed(stream);
  auto bytewise = make();
  for (const char c : stream) bytewise.feed({&c, 1});
  EXPECT_EQ(bytewise.events, whole.events);
  for (std::size_t at = 1; at < stream.size(); ++at) {
    auto split = make();
    split.feed(std::string_view(stream).substr(0, at));
    split.feed(std::string_view(stream).substr(at));
    ASSERT_EQ(split.events, whole.events) << "split at byte " << at;
    ASSERT_EQ(split.output, whole.output) << "split at byte " << at;
  }
}

TEST(Splits, EverythingAManagerReads) {
  const std::string stream =
      "workqueue 11 vm Linux x86_64 8.0.0\r\ninfo worker-id w\nfeature a%20b\nalive\nresource cores 2.0 2 2\n"
      "resource tag 0\ninfo x y\0hidden\ncache-update u 1 2\ncache-invalid u 4\n\n\n\n\navailable_results\n"
      "result 0 0 6 1 1\nend\n\r\0update 1 w.txt 0 3\nabcend\nalive\ndir f 0\nfile f/x 3\nendfile f/y 0\nmissing f/z "
      "2\n"
      "end\nmissing g 2\nend\nwqx 1 3\nabcname\nGET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"s;
  expect_same_at_every_split(stream, [] {
    ManagerDriver manager({});
    manager.session.expect_results();
    manager.session.expect_get("f");
    manager.session.expect_get("g");
    manager.session.allow_frames(true);
    return manager;
  });
}

TEST(Splits, EverythingAWorkerReads) {
  const std::string stream =
      "put a 3 0644\nen\nput b 0 777\ndir d\nput f 2 644\n\n\nsymlink l 3\nf1\0dir s\nend\nend\ntask 1\ncmd 4\nend\n"
      "env 5\nA=b\nc\n\ncores 1.000\ninfile a x%20y 1\ndir e\noutfile o p 0\nend\ncheck\r\nputurl u n 0 777\n"
      "send_results -1\nget o 1\nkill 1\nunlink a\ntlq wqx:1\nwqx 2 4\nexitrelease\nexit\n"s;
  expect_same_at_every_split(stream, [] {
    WorkerDriver worker({});
    worker.session.allow_frames(true);
    return worker;
  });
}

TEST(Splits, AWorkerOfVersion9) {
  expect_same_at_every_split("url n 5 0777 1\nx\ny\nzthirdget 1 c echo hi > %%\ntask 1\ncmd 0\nend\n",
                             [] { return WorkerDriver({.version = 9}); });
}

TEST(Splits, FailuresToo) {
  expect_same_at_every_split("alive\ninfo x\nalive\n", [] { return ManagerDriver({}); });
  expect_same_at_every_split("check\n" + std::string(4100, 'x') + "\n", [] { return WorkerDriver({}); });
  expect_same_at_every_split("put ../x 3 644\nabc", [] { return WorkerDriver({}); });
}

TEST(Splits, ThePasswordExchange) {
  const std::string mine(63, 'a');
  const std::string theirs(63, 'b');
  const std::string stream = "auth password sha1\n" + theirs + "\n" + auth_response("pw", mine) + "\nok\n";
  expect_same_at_every_split(stream + "workqueue 11 h o a v\n",
                             [&] { return ManagerDriver(testing::manager_with_password("pw", mine)); });
  expect_same_at_every_split(stream + "check\n",
                             [&] { return WorkerDriver(testing::worker_with_password("pw", mine)); });
}

}  // namespace
}  // namespace taskmill::protocol
