#include "common/catalog/core/candidates.hpp"

#include <gtest/gtest.h>

#include "common/catalog/core/reader.hpp"
#include "common/catalog/manager_record.hpp"

namespace taskmill::catalog {
namespace {

constexpr std::int64_t now = 2'000'000;

std::vector<ManagerCandidate> pick(const std::string& records, const std::string& pattern = "p",
                                   CandidateRules rules = {}) {
  auto value = read_value("[" + records + "]");
  return pick_candidates(*value->as_array(), *Regex::whole(pattern), rules, now);
}

const std::string good =
    R"({"type":"wq_master","project":"p","port":9123,"address":"10.0.0.1","name":"host","lastheardfrom":2000000,)"
    R"("network_interfaces":[{"address":"192.0.2.1"},{"host":"192.0.2.2"},{"x":1},7]})";

TEST(Candidates, AddressesFollowTheMode) {
  using Hosts = std::vector<std::string>;
  EXPECT_EQ(pick(good)[0].hosts, (Hosts{"192.0.2.1", "192.0.2.2", "10.0.0.1"}));
  EXPECT_EQ(pick(good, "p", {.mode = ConnectionMode::by_hostname})[0].hosts, (Hosts{"host", "10.0.0.1"}));
  EXPECT_EQ(pick(good, "p", {.mode = ConnectionMode::by_apparent_ip})[0].hosts, (Hosts{"10.0.0.1"}));
  const std::string prefers =
      R"({"type":"wq_manager","project":"p","port":1,"address":"a","name":"n","manager_preferred_connection":"by_hostname"})";
  EXPECT_EQ(pick(prefers)[0].hosts, (Hosts{"n", "a"}));
  EXPECT_EQ(pick(prefers, "p", {.mode = ConnectionMode::by_ip})[0].hosts, (Hosts{"a"}));
}

TEST(Candidates, MalformedRecordsAreSkipped) {
  for (const auto* record :
       {R"({"type":"wq_master","project":"p","port":1})", R"({"type":"wq_master","project":"p","address":"a"})",
        R"({"type":"wq_master","project":"p","address":"a","port":"1"})",
        R"({"type":"wq_master","project":"p","address":"a","port":70000})",
        R"({"type":"wq_master","project":7,"address":"a","port":1})", R"({"type":"wq_master","address":"a","port":1})",
        R"({"type":"chirp","project":"p","address":"a","port":1})",
        R"({"type":"wq_master","project":"p","address":"a b","port":1})",
        R"({"type":"wq_master","project":"pp","address":"a","port":1})", "7",
        R"({"type":"wq_master","project":"p","address":"a","port":1,"state":"done"})"}) {
    EXPECT_TRUE(pick(record).empty()) << record;
  }
}

TEST(Candidates, StaleOnesAreSkipped) {
  const std::string stale = R"({"type":"wq_master","project":"p","port":2,"address":"old","lastheardfrom":1990000})";
  ASSERT_EQ(pick(good + "," + stale).size(), 1U);
  EXPECT_EQ(pick(good + "," + stale)[0].port, 9123);
}

TEST(Candidates, ADistantCatalogClockDoesNotHideEverybody) {
  const std::string other = R"({"type":"wq_master","project":"p","port":2,"address":"a","lastheardfrom":5000000})";
  EXPECT_EQ(pick(other).size(), 1U);
}

TEST(Candidates, ProtocolDefaultsToNine) {
  EXPECT_EQ(pick(good)[0].protocol, 9);
  EXPECT_EQ(pick(R"({"type":"wq_master","project":"p","port":1,"address":"a","protocol":11,"ssl":true})")[0].protocol,
            11);
  EXPECT_TRUE(pick(R"({"type":"wq_master","project":"p","port":1,"address":"a","ssl":true})")[0].ssl);
  EXPECT_EQ(pick(R"({"type":"wq_master","project":"p","port":1,"address":"a","protocols":[9,11]})")[0].protocol, 11);
}

TEST(Candidates, ManagersWithWaitingTasksComeFirstAndSeedsSpread) {
  std::string records;
  for (int i = 1; i <= 20; ++i) {
    records += (i > 1 ? "," : "") + std::string(R"({"type":"wq_master","project":"p","address":"a","port":)") +
               std::to_string(i) + ",\"tasks_waiting\":" + std::to_string(i <= 10 ? 5 : 0) + "}";
  }
  bool differs = false;
  const auto first = pick(records, "p", {.seed = 1});
  for (std::uint64_t seed = 1; seed < 6; ++seed) {
    const auto found = pick(records, "p", {.seed = seed});
    ASSERT_EQ(found.size(), 20U);
    for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(found[i].tasks_waiting > 0, i < 10);
    differs = differs || found[0].port != first[0].port;
  }
  EXPECT_TRUE(differs);
}

TEST(ManagerRecord, CarriesBothSpellingsOfAnAddress) {
  ManagerIdentity identity;
  identity.project = "p";
  identity.port = 9123;
  identity.uuid = "u-1";
  identity.interfaces = {{"eth0", "AF_INET", "192.0.2.2"}};
  auto text = add_identity(R"([{"tasks_waiting":3,"type":"other"}])", identity);
  ASSERT_TRUE(text) << text.error().text;
  auto record = read_value(*text);
  EXPECT_EQ(record->text("type"), "wq_master");
  EXPECT_EQ(record->integer("protocol"), 11);
  EXPECT_EQ(print(*record->find("protocols")), "[9,11]");
  EXPECT_EQ(print(*record->find("network_interfaces")),
            R"([{"interface":"eth0","family":"AF_INET","address":"192.0.2.2","host":"192.0.2.2"}])");
  EXPECT_EQ(record->integer("tasks_waiting"), 3);
  auto lean = lean_record(*text);
  ASSERT_TRUE(lean);
  EXPECT_NE(lean->find("\"tasks_waiting\":3"), std::string::npos);
  EXPECT_EQ(lean->find("working_dir"), std::string::npos);
  EXPECT_FALSE(add_identity("7", identity));
}

TEST(ManagerRecord, ThisMachineHasAtLeastOneAddress) {
  const auto interfaces = local_interfaces();
  ASSERT_FALSE(interfaces.empty());
  for (const auto& entry : interfaces) EXPECT_FALSE(entry.address.empty());
}

}  // namespace
}  // namespace taskmill::catalog
