#include <gtest/gtest.h>

#include "protocol/auth_machine.hpp"
#include "tests/support/protocol_driver.hpp"

namespace taskmill::protocol {
namespace {

using testing::manager_with_password;
using testing::ManagerDriver;
using testing::worker_with_password;
using testing::WorkerDriver;

const std::string challenge_a(63, 'a');
const std::string challenge_b(63, 'b');
const std::string hello = "auth password sha1\n";

// The exchange recorded between real peers (wire-protocol.md 19.2).
const std::string real_manager_challenge = "nfgvokyetslsztfmlzdfzotfwqzkautyceqycifnwuxtmyjjddqmxorrhscnmdp";
const std::string real_worker_challenge = "mkywvkmdyxzbbtdgvgrrnvuftyfxognmecwyczpegyaxosvfecatsgnejxdckvw";

TEST(Password, ResponseIsThatOfTheRecordedExchange) {
  EXPECT_EQ(auth_response("secretpw", real_manager_challenge), "ac4608c7d2cba86e241890454bb72f284034f120");
  EXPECT_EQ(auth_response("secretpw", real_worker_challenge), "d8337091f3294feee4a7c467430a1de7935970d9");
}

TEST(Password, BothSidesGetThroughWithTheSamePassword) {
  ManagerDriver manager(manager_with_password("pw", challenge_a));
  WorkerDriver worker(worker_with_password("pw", challenge_b));
  for (int i = 0; i < 4; ++i) {
    manager.feed(std::exchange(worker.output, {}));
    worker.feed(std::exchange(manager.output, {}));
  }
  EXPECT_TRUE(manager.session.authenticated());
  EXPECT_TRUE(worker.session.authenticated());
  EXPECT_EQ(manager.events, std::vector<std::string>{"authenticated"});
  EXPECT_EQ(worker.events, std::vector<std::string>{"authenticated"});
}

TEST(Password, AnotherPasswordIsRefusedByBothSides) {
  ManagerDriver manager(manager_with_password("secret", challenge_a));
  WorkerDriver worker(worker_with_password("secret\n", challenge_b));
  for (int i = 0; i < 4; ++i) {
    manager.feed(std::exchange(worker.output, {}));
    worker.feed(std::exchange(manager.output, {}));
  }
  EXPECT_FALSE(manager.session.authenticated());
  EXPECT_FALSE(worker.session.authenticated());
  EXPECT_EQ(manager.events.at(0), "! wrong password: wrong password");
  EXPECT_TRUE(worker.failed);
}

TEST(Password, ManagerHoldsItsAnswerUntilThePeerHasProvenItself) {
  ManagerDriver manager(manager_with_password("pw", challenge_a));
  manager.feed(hello + challenge_b + "\n");
  EXPECT_EQ(manager.output, hello + challenge_a + "\n");
  manager.feed(auth_response("pw", challenge_a) + "\n");
  EXPECT_EQ(manager.output, hello + challenge_a + "\n" + auth_response("pw", challenge_b) + "\nok\n");
  EXPECT_FALSE(manager.session.authenticated()) << "the peer's verdict is still missing";
  manager.feed("ok\n");
  EXPECT_TRUE(manager.session.authenticated());
}

TEST(Password, WorkerAnswersFirstBecauseOldManagersWaitForIt) {
  WorkerDriver worker(worker_with_password("pw", challenge_b));
  worker.feed(hello + challenge_a + "\n");
  EXPECT_EQ(worker.output, hello + challenge_b + "\n" + auth_response("pw", challenge_a) + "\n");
}

TEST(Password, ReflectedChallengeIsRefusedByTheManager) {
  ManagerDriver manager(manager_with_password("pw", challenge_a));
  manager.feed(hello + challenge_a + "\n");
  EXPECT_TRUE(manager.failed);
  EXPECT_EQ(manager.output.find(auth_response("pw", challenge_a)), std::string::npos);
}

TEST(Password, ReflectedChallengeDisguisedWithCarriageReturnsAndNulIsRefused) {
  ManagerDriver manager(manager_with_password("pw", challenge_a));
  manager.feed(hello + challenge_a.substr(0, 5) + "\r" + challenge_a.substr(5) + std::string("\0x\n", 3));
  EXPECT_TRUE(manager.failed);
}

TEST(Password, ReflectedChallengeIsRefusedByTheWorker) {
  WorkerDriver worker(worker_with_password("pw", challenge_b));
  worker.feed(hello + challenge_b + "\n");
  EXPECT_TRUE(worker.failed);
  EXPECT_EQ(worker.output.find(auth_response("pw", challenge_b)), std::string::npos);
}

// The attacker asks the manager, on a second connection, to answer the challenge of the first.
TEST(Password, ASecondConnectionToTheManagerIsNoOracle) {
  ManagerDriver victim(manager_with_password("pw", challenge_a));
  ManagerDriver oracle(manager_with_password("pw", challenge_b));
  oracle.feed(hello + challenge_a + "\n");
  const std::string needed = auth_response("pw", challenge_a);
  EXPECT_EQ(oracle.output.find(needed), std::string::npos);
  oracle.feed(std::string(40, '0') + "\n");
  EXPECT_TRUE(oracle.failed);
  EXPECT_EQ(oracle.output.find(needed), std::string::npos);
}

TEST(Password, WrongResponseNeverGetsOurs) {
  ManagerDriver manager(manager_with_password("pw", challenge_a));
  manager.feed(hello + challenge_b + "\n" + auth_response("pW", challenge_a) + "\n");
  EXPECT_EQ(manager.output, hello + challenge_a + "\nfailure\n");
  manager.feed("ok\nworkqueue 11 h o a v\n");
  EXPECT_EQ(manager.events.size(), 1U);
}

TEST(Password, ResponseMustBeExact) {
  for (const std::string& response : {auth_response("pw", challenge_a) + "0", auth_response("pw", challenge_a) + " ",
                                      auth_response("pw", challenge_a).substr(0, 39), std::string()}) {
    ManagerDriver manager(manager_with_password("pw", challenge_a));
    manager.feed(hello + challenge_b + "\n" + response + "\n");
    EXPECT_TRUE(manager.failed) << response;
  }
}

TEST(Password, PeerThatSaysFailureIsNotIn) {
  ManagerDriver manager(manager_with_password("pw", challenge_a));
  manager.feed(hello + challenge_b + "\n" + auth_response("pw", challenge_a) + "\nfailure\n");
  EXPECT_EQ(manager.events.at(0), "! wrong password: the peer refused our password");
}

TEST(Password, PeerWithoutPasswordIsNamedAsSuch) {
  for (const std::string first : {"workqueue 11 h o a v\n", "queue_status\n", "GET / HTTP/1.1\n", "\n",
                                  "auth password sha1x\n", " auth password sha1\n", "auth  password sha1\n"}) {
    ManagerDriver manager(manager_with_password("pw", challenge_a));
    manager.feed(first);
    EXPECT_EQ(manager.events.at(0), "! peer does not use a password: the peer does not use a password") << first;
    EXPECT_EQ(manager.output, hello);
  }
}

TEST(Password, SideWithoutPasswordSaysWhatThePeerWants) {
  ManagerDriver manager({});
  manager.feed(hello);
  EXPECT_TRUE(manager.events.at(0).starts_with("! peer wants a password")) << manager.events.at(0);
  WorkerDriver worker({});
  worker.feed(hello);
  EXPECT_EQ(worker.events, std::vector<std::string>{"password-required"});
}

TEST(Password, ChallengeOfAnOldWorkerMayHoldAnyBytes) {
  const std::string odd = "HIJ\\^_`[]z with blank\t\x01\xff";
  ManagerDriver manager(manager_with_password("pw", challenge_a));
  manager.feed(hello + odd + "\n" + auth_response("pw", challenge_a) + "\nok\n");
  EXPECT_TRUE(manager.session.authenticated());
  EXPECT_NE(manager.output.find(auth_response("pw", odd)), std::string::npos);
}

TEST(Password, LinesOf1023BytesPassAndLongerOnesDoNot) {
  ManagerDriver fits(manager_with_password("pw", challenge_a));
  fits.feed(hello + std::string(1023, 'x') + "\n");
  EXPECT_FALSE(fits.failed);
  ManagerDriver too_long(manager_with_password("pw", challenge_a));
  too_long.feed(hello + std::string(1024, 'x'));
  EXPECT_TRUE(too_long.failed) << "without waiting for the end of the line";
}

TEST(Password, GreetingInThePacketOfTheVerdictIsRead) {
  ManagerDriver manager(manager_with_password("pw", challenge_a));
  manager.feed(hello + challenge_b + "\n" + auth_response("pw", challenge_a) + "\nok\nworkqueue 11 h o a v\n");
  ASSERT_EQ(manager.events.size(), 2U);
  EXPECT_EQ(manager.events[1], R"(greeting version=11 host="h" os="o" arch="a" software="v" extra="")");
}

}  // namespace
}  // namespace taskmill::protocol
