#include "protocol/pb/frames.hpp"

#include <gtest/gtest.h>

#include "protocol/limits.hpp"
#include "tests/support/protocol_driver.hpp"

namespace taskmill::protocol {
namespace {

pb::ResultBatch some_results(int count) {
  pb::ResultBatch batch;
  batch.set_sequence(7);
  for (int i = 1; i <= count; ++i) {
    auto& result = *batch.add_results();
    result.set_task_id(i);
    result.set_output("hello data\n");
    result.mutable_measurement()->set_wall_us(1'000'000);
    result.mutable_measurement()->set_memory(123'456'789);
  }
  return batch;
}

struct Received {
  std::uint32_t kind = 0;
  std::string body;
};

// Through the manager's session, as on a connection.
Received receive(std::string_view bytes) {
  ManagerSession session({});
  session.allow_frames(true);
  const auto step = session.next(bytes);
  if (!step.message || !std::holds_alternative<Frame>(*step.message)) return {};
  return {std::get<Frame>(*step.message).kind, std::string(bytes.substr(step.consumed))};
}

TEST(FrameBodies, ArriveAsTheyWereSent) {
  const auto sent = some_results(3);
  std::string bytes;
  ASSERT_TRUE(append_frame(bytes, sent, false));
  const auto [kind, body] = receive(bytes);
  EXPECT_EQ(kind, 3U);
  const auto got = parse_frame<pb::ResultBatch>(kind, body);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->SerializeAsString(), sent.SerializeAsString());
  EXPECT_EQ(got->results(2).measurement().memory(), 123'456'789U);
  EXPECT_FALSE(got->results(2).measurement().has_swap()) << "not known is not zero";
}

TEST(FrameBodies, LargeOnesAreCompressedWhenAgreed) {
  const auto sent = some_results(500);
  std::string plain, small;
  ASSERT_TRUE(append_frame(plain, sent, false));
  ASSERT_TRUE(append_frame(small, sent, true));
  EXPECT_LT(small.size() * 2, plain.size());
  const auto [kind, body] = receive(small);
  EXPECT_EQ(kind, 3U | frame_compressed);
  const auto got = parse_frame<pb::ResultBatch>(kind, body);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->SerializeAsString(), sent.SerializeAsString());
}

TEST(FrameBodies, SmallOnesAreLeftAlone) {
  std::string bytes;
  ASSERT_TRUE(append_frame(bytes, some_results(1), true));
  EXPECT_EQ(receive(bytes).kind, 3U);
}

TEST(FrameBodies, OfAnotherKindAreNotRead) {
  std::string bytes;
  ASSERT_TRUE(append_frame(bytes, some_results(1), false));
  EXPECT_FALSE(parse_frame<pb::TaskBatch>(3, receive(bytes).body));
}

TEST(FrameBodies, DamagedOnesAreRefused) {
  std::string bytes;
  ASSERT_TRUE(append_frame(bytes, some_results(500), true));
  auto [kind, body] = receive(bytes);
  EXPECT_FALSE(parse_frame<pb::ResultBatch>(kind, std::string_view(body).substr(0, body.size() / 2)));
  EXPECT_FALSE(parse_frame<pb::ResultBatch>(kind, std::string("not zstd")));
  EXPECT_FALSE(parse_frame<pb::ResultBatch>(3, std::string("\xff\xff\xff")));
}

TEST(FrameBodies, ThatClaimToUnpackToMuchAreRefusedUnread) {
  // Magic, a header with an eight-byte content size, and 2^62 bytes announced.
  const std::string bomb("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x40", 13);
  EXPECT_FALSE(parse_frame<pb::ResultBatch>(3U | frame_compressed, bomb));
}

TEST(FrameBodies, OverTheLimitAreNotSent) {
  pb::ChunkData chunk;
  chunk.set_data(std::string(max_frame, 'x'));
  std::string bytes = "kept";
  EXPECT_FALSE(append_frame(bytes, chunk, false));
  EXPECT_EQ(bytes, "kept");
}

}  // namespace
}  // namespace taskmill::protocol
