#include "protocol/capabilities.hpp"

#include <gtest/gtest.h>

#include "protocol/format.hpp"
#include "tests/support/protocol_driver.hpp"

namespace taskmill::protocol {
namespace {

using enum Capability;

TEST(Capabilities, AreWrittenInOneOrderAndReadInAny) {
  EXPECT_EQ(format_capabilities({zstd, batch, measure}), "1,batch,measure,zstd");
  EXPECT_EQ(parse_capabilities("1,measure,zstd,batch"), (CapabilitySet{zstd, batch, measure}));
  EXPECT_EQ(format_capabilities({}), "1");
  EXPECT_EQ(parse_capabilities("1"), CapabilitySet{});
}

TEST(Capabilities, OfNewerPeersAreSkipped) {
  EXPECT_EQ(parse_capabilities("1,teleport,,measure,measure2"), CapabilitySet{measure});
}

TEST(Capabilities, OfAnotherMajorVersionAreNone) {
  for (const auto* list : {"", "2,measure", "measure", "1measure", ",1,measure", "x,measure"}) {
    EXPECT_EQ(parse_capabilities(list), std::nullopt) << list;
  }
  EXPECT_EQ(parse_capabilities("1," + std::string(max_capability_list, 'x')), std::nullopt);
}

TEST(Capabilities, TokenOfATlqServerIsNotOurs) {
  EXPECT_EQ(parse_capability_token("http://host:9000/log"), std::nullopt);
  EXPECT_EQ(parse_capability_token("wqx:1,env"), CapabilitySet{env});
  EXPECT_EQ(parse_capability_token("wqx:"), std::nullopt);
}

TEST(Handshake, BothSidesEndWithWhatBothCan) {
  CapabilityHandshake manager({measure, batch, env});
  CapabilityHandshake worker(CapabilitySet{measure, env, zstd});
  EXPECT_FALSE(manager.can(measure));
  ASSERT_TRUE(manager.on_worker_list(format_capabilities({measure, env, zstd})));
  ASSERT_TRUE(worker.on_manager_token(format_capability_token(manager.agreed())));
  EXPECT_EQ(worker.agreed(), (CapabilitySet{measure, env}));
  EXPECT_EQ(manager.agreed(), worker.agreed());
  EXPECT_TRUE(worker.can(env));
  EXPECT_FALSE(worker.can(zstd));
}

TEST(Handshake, AManagerCannotChooseWhatWasNotOffered) {
  CapabilityHandshake worker({measure});
  ASSERT_TRUE(worker.on_manager_token("wqx:1,measure,peer"));
  EXPECT_FALSE(worker.can(peer));
}

TEST(Handshake, HappensOnce) {
  CapabilityHandshake manager({measure, batch});
  ASSERT_TRUE(manager.on_worker_list("1,measure"));
  EXPECT_FALSE(manager.on_worker_list("1,batch"));
  EXPECT_EQ(manager.agreed(), CapabilitySet{measure});
  CapabilityHandshake worker({measure, batch});
  EXPECT_FALSE(worker.on_manager_token("hello"));
  EXPECT_FALSE(worker.done());
}

TEST(Handshake, TravelsInLinesThatOldPeersIgnore) {
  std::string bytes;
  ASSERT_TRUE(info(bytes, capability_field, format_capabilities(CapabilitySet::all())));
  testing::ManagerDriver manager({});
  manager.feed(bytes);
  EXPECT_EQ(manager.events.at(0), R"(info field="wqx-caps" value="1,batch,enforce,env,measure,peer,zstd")");
  bytes.clear();
  ASSERT_TRUE(tlq(bytes, format_capability_token(CapabilitySet::all())));
  testing::WorkerDriver worker({});
  worker.feed(bytes);
  EXPECT_EQ(worker.events.at(0), R"(tlq token="wqx:1,batch,enforce,env,measure,peer,zstd")");
}

TEST(Frames, AreAllowedByKindDirectionAndAgreement) {
  const auto number = [](FrameKind kind) { return static_cast<std::uint32_t>(kind); };
  EXPECT_TRUE(frame_allowed(number(FrameKind::task_measurement), Direction::to_manager, {measure}));
  EXPECT_FALSE(frame_allowed(number(FrameKind::task_measurement), Direction::to_manager, {batch}));
  EXPECT_FALSE(frame_allowed(number(FrameKind::task_measurement), Direction::to_worker, {measure}));
  EXPECT_FALSE(frame_allowed(0, Direction::to_manager, CapabilitySet::all()));
  EXPECT_FALSE(frame_allowed(999, Direction::to_manager, CapabilitySet::all()));
}

TEST(Frames, CompressedOnesNeedZstd) {
  const auto kind = static_cast<std::uint32_t>(FrameKind::task_batch) | frame_compressed;
  EXPECT_FALSE(frame_allowed(kind, Direction::to_worker, {batch}));
  EXPECT_TRUE(frame_allowed(kind, Direction::to_worker, {batch, zstd}));
}

}  // namespace
}  // namespace taskmill::protocol
