// Peers that are slow, silent, broken or malicious: nobody else notices, and nothing escapes.
#include <gmock/gmock.h>
#include <sys/socket.h>

#include "protocol/auth_machine.hpp"
#include "tests/integration/manager/manager_fixture.hpp"

namespace taskmill::test {
namespace {

using protocol::ResultCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class HostileTest : public ManagerTest {
 protected:
  /// One task with one output; the first worker answers the fetch with `reply`, then a good one may come.
  manager::FinishedTask fetch_answered_with(const std::function<std::string(const std::string&)>& reply) {
    start();
    ScriptedWorker::Script bad;
    bad.host = "bad";
    bad.run = [](const ScriptedTask&, const auto&) { return ok("", {{"out", "x"}}); };
    bad.answer_get = [reply](const std::string& name, const std::string&) { return reply(name); };
    auto& first = worker(bad);
    auto spec = task("victim");
    spec.outputs = {manager::output_file(path("results/out"), "out")};
    submit(spec);
    while (first.tasks() == 0) manager_->run_for(std::chrono::milliseconds(10));
    manager_->run_for(std::chrono::milliseconds(100));
    worker([](const ScriptedTask&, const auto&) { return ok("", {{"out", "good"}}); });
    auto done = wait_all();
    return done.at(1);
  }
};

TEST_F(HostileTest, AnswerThatClimbsOutOfTheOutputEndsTheConnection) {
  const auto done =
      fetch_answered_with([](const std::string& name) { return "file " + name + "/../evil 5\nEVIL!end\n"; });
  EXPECT_TRUE(done.succeeded()) << done.outcome.message;
  EXPECT_EQ(read("results/out"), "good");
  EXPECT_FALSE(std::filesystem::exists(path("results/evil")));
  EXPECT_FALSE(std::filesystem::exists(path("evil")));
  EXPECT_EQ(done.outcome.try_count, 2U);
}

TEST_F(HostileTest, AnswerUnderAnotherNameEndsTheConnection) {
  const auto done = fetch_answered_with([](const std::string&) { return "file other-name 5\nEVIL!end\n"; });
  EXPECT_TRUE(done.succeeded());
  EXPECT_EQ(read("results/out"), "good");
}

TEST_F(HostileTest, AbsolutePathInATreeEndsTheConnection) {
  const auto done = fetch_answered_with(
      [](const std::string& name) { return "dir " + name + " 0\nfile " + name + "//etc/x 1\nEend\n"; });
  EXPECT_EQ(done.outcome.try_count, 2U);
  EXPECT_FALSE(std::filesystem::exists("/etc/x"));
}

TEST_F(HostileTest, LinkInAnExistingTreeIsNotWrittenThrough) {
  std::filesystem::create_directories(path("secret"));
  std::filesystem::create_directories(path("results/out"));
  std::filesystem::create_symlink(path("secret"), path("results/out/link"));
  const auto done = fetch_answered_with([](const std::string& name) {
    return "dir " + name + " 0\nfile " + name + "/link/f 4\nEVILfile " + name + "/fine 2\nOKend\n";
  });
  EXPECT_EQ(done.outcome.result, ResultCode::output_transfer_error);
  EXPECT_FALSE(std::filesystem::exists(path("secret/f")));
  EXPECT_EQ(read("results/out/fine"), "OK");
  EXPECT_EQ(done.outcome.try_count, 1U);
}

TEST_F(HostileTest, LinkThatIsAFileInAnExistingTreeIsReplacedNotFollowed) {
  write("secret.txt", "precious");
  std::filesystem::create_directories(path("results/out"));
  std::filesystem::create_symlink(path("secret.txt"), path("results/out/f"));
  const auto done = fetch_answered_with(
      [](const std::string& name) { return "dir " + name + " 0\nfile " + name + "/f 3\nNEWend\n"; });
  EXPECT_TRUE(done.succeeded());
  EXPECT_EQ(read("secret.txt"), "precious");
  EXPECT_EQ(read("results/out/f"), "NEW");
}

TEST_F(HostileTest, WorkerLostInTheMiddleOfAnOutputLeavesNothingBehind) {
  start();
  std::thread half([port = manager_->port()] {
    LineSocket socket(port);
    socket.send(greeting("half"));
    while (!socket.closed()) {
      const auto line = socket.read_line();
      if (line == "end") socket.send("available_results\n");
      if (line.starts_with("send_results")) socket.send("result 0 0 0 10 1\nend\n");
      if (line.starts_with("get ")) {
        const auto name = line.substr(4, line.rfind(' ') - 4);
        socket.send("file " + name + " 1000000\n" + std::string(400'000, 'h'));
        return;  // gone
      }
    }
  });
  auto spec = task("big output");
  spec.outputs = {manager::output_file(path("out"))};
  submit(spec);
  while (manager_->stats().workers_removed == 0) manager_->run_for(std::chrono::milliseconds(10));
  half.join();
  EXPECT_THAT(leftovers(), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(path("out")));
  worker([](const ScriptedTask&, const auto&) { return ok("", {{"out", "whole"}}); });
  EXPECT_TRUE(wait_all().at(1).succeeded());
  EXPECT_EQ(read("out"), "whole");
  EXPECT_EQ(manager_->stats().workers_lost, 1);
}

TEST_F(HostileTest, GarbageIsClosedAndOthersGoOn) {
  start();
  LineSocket garbage(manager_->port()), half_line(manager_->port()), endless(manager_->port()),
      result(manager_->port());
  garbage.send("\x16\x03\x01 garbage\n");
  half_line.send("workque");
  endless.send(std::string(100'000, 'x'));
  result.send(greeting("liar") + "result 0 0 999999999 1 1\n");
  worker([](const ScriptedTask&, const auto&) { return ok(); });
  for (int i = 0; i < 50; ++i) submit(task("t"));
  EXPECT_EQ(wait_all().size(), 50U);
  EXPECT_TRUE(garbage.wait_closed(5000));
  EXPECT_TRUE(endless.wait_closed(5000));
  EXPECT_TRUE(result.wait_closed(5000));
}

TEST_F(HostileTest, StoppedReaderWithALargeInputDelaysNobody) {
  start();
  write("large.bin", std::string(64U << 20, 'x'));
  LineSocket stopped(manager_->port());
  stopped.shrink_receive_buffer();
  stopped.send(greeting("stopped"));
  auto spec = task("needs the large file");
  spec.inputs = {manager::input_file(path("large.bin"))};
  submit(spec);
  while (manager_->stats().tasks_on_workers == 0) manager_->run_for(std::chrono::milliseconds(10));
  auto& good = worker([](const ScriptedTask&, const auto&) { return ok(); });
  for (int i = 0; i < 200; ++i) submit(task("small"));
  int finished = 0;
  while (finished < 200) {
    const auto done = manager_->wait(std::chrono::seconds(60));
    ASSERT_TRUE(done.has_value());
    EXPECT_TRUE(done->succeeded());
    ++finished;
  }
  EXPECT_EQ(good.tasks(), 200);
  EXPECT_FALSE(stopped.closed());
  stopped.close();  // its task moves to the good worker
  EXPECT_EQ(wait_all().size(), 1U);
}

TEST_F(HostileTest, SilentClientsAreDroppedAndDelayNobody) {
  options_.config.keepalive_timeout = std::chrono::seconds(1);
  start();
  std::vector<std::unique_ptr<LineSocket>> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(std::make_unique<LineSocket>(manager_->port()));
  worker([](const ScriptedTask&, const auto&) { return ok(); });
  for (int i = 0; i < 20; ++i) submit(task("t"));
  EXPECT_EQ(wait_all().size(), 20U);
  manager_->run_for(std::chrono::milliseconds(2500));
  for (auto& socket : silent) EXPECT_TRUE(socket->wait_closed(2000));
  EXPECT_EQ(manager_->stats().workers_connected, 1);
}

TEST_F(HostileTest, WorkerThatStopsAnsweringIsDroppedByKeepalive) {
  options_.config.keepalive_interval = std::chrono::milliseconds(300);
  options_.config.keepalive_timeout = std::chrono::milliseconds(700);
  start();
  LineSocket mute(manager_->port());
  mute.send(greeting("mute"));
  submit(task("lost for a while"));
  while (manager_->stats().tasks_on_workers == 0) manager_->run_for(std::chrono::milliseconds(10));
  worker([](const ScriptedTask&, const auto&) { return ok(); });
  EXPECT_TRUE(wait_all().at(1).succeeded());
  EXPECT_TRUE(mute.wait_closed(2000));
}

TEST_F(HostileTest, OtherProtocolNumberIsRefusedAndNobodyIsBlocked) {
  start();
  LineSocket future(manager_->port());
  future.send(greeting("future", 1, 12));
  manager_->run_for(std::chrono::milliseconds(200));
  EXPECT_TRUE(future.wait_closed(2000));
  EXPECT_TRUE(manager_->machine().blocked_hosts().empty());
}

// --- passwords ---

class PasswordTest : public ManagerTest {
 protected:
  PasswordTest() {
    write("password", "secret");
    options_.password_file = path("password");
    options_.config.short_timeout = std::chrono::seconds(1);
  }
};

TEST_F(PasswordTest, ReflectionOfTheChallengeIsRefused) {
  start();
  std::string first, challenge, answer;
  bool closed = false;
  std::thread attacker([&, port = manager_->port()] {
    LineSocket socket(port);
    first = socket.read_line();
    socket.send("auth password sha1\n");
    challenge = socket.read_line();
    socket.send(challenge + "\n");  // its own challenge back
    answer = socket.read_line();
    closed = answer.empty() || answer == "failure" || socket.wait_closed(3000);
  });
  manager_->run_for(std::chrono::milliseconds(1500));
  attacker.join();
  EXPECT_EQ(first, "auth password sha1");
  EXPECT_EQ(challenge.size(), 63U);
  EXPECT_NE(answer.size(), 40U) << "the manager answered before the peer had proven itself";
  EXPECT_TRUE(closed);
  EXPECT_EQ(manager_->stats().workers_joined, 0);
}

TEST_F(PasswordTest, SecondConnectionIsNoOracle) {
  start();
  std::string from_oracle = "?";
  std::thread attacker([&, port = manager_->port()] {
    LineSocket target(port), oracle(port);
    (void)target.read_line();
    (void)oracle.read_line();
    target.send("auth password sha1\n");
    oracle.send("auth password sha1\n");
    const auto challenge = target.read_line();
    (void)oracle.read_line();
    oracle.send(challenge + "\n");
    from_oracle = oracle.read_line();  // nothing, until the deadline ends the connection
  });
  manager_->run_for(std::chrono::milliseconds(2500));
  attacker.join();
  EXPECT_THAT(from_oracle, ::testing::Not(::testing::SizeIs(40)));
}

TEST_F(PasswordTest, RightPasswordGetsInAndWrongOneDoesNot) {
  start();
  const auto exchange = [](LineSocket& socket, const std::string& password) {
    (void)socket.read_line();
    socket.send("auth password sha1\n");
    const auto challenge = socket.read_line();
    socket.send(std::string(63, 'q') + "\n" + protocol::auth_response(password, challenge) + "\n");
    const auto proof = socket.read_line();
    if (proof == protocol::auth_response(password, std::string(63, 'q'))) socket.send("ok\n");
    return proof == "failure" ? proof : socket.read_line();
  };
  std::string right, wrong;
  std::thread clients([&, port = manager_->port()] {
    LineSocket good(port), bad(port);
    right = exchange(good, "secret");
    wrong = exchange(bad, "secret\n");
    good.send("queue_status\n");
    EXPECT_THAT(good.read_all(), StartsWith("[{"));
  });
  manager_->run_for(std::chrono::milliseconds(1500));
  clients.join();
  EXPECT_EQ(right, "ok");
  EXPECT_NE(wrong, "ok");
}

TEST_F(PasswordTest, SilentClientIsDroppedAfterTheShortTimeout) {
  start();
  LineSocket silent(manager_->port());
  manager_->run_for(std::chrono::milliseconds(1500));
  EXPECT_TRUE(silent.wait_closed(1000));
}

TEST_F(PasswordTest, UnreadablePasswordFileIsAnError) {
  options_.password_file = path("nothing-here");
  auto created = manager::Manager::create(options_);
  ASSERT_FALSE(created.has_value());
  EXPECT_THAT(created.error().text, HasSubstr("nothing-here"));
}

}  // namespace
}  // namespace taskmill::test
