// Frames between workers, as they come: whole, in pieces, and wrong.
#include "protocol/pb/peer_frames.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/pb/frames.hpp"

namespace taskmill::protocol {
namespace {

using ::testing::HasSubstr;

std::string problem_of(std::string_view bytes) {
  std::string problem;
  EXPECT_FALSE(read_peer_head(bytes, problem));
  return problem;
}

TEST(PeerFrames, AHeadEndsWhereTheDataBegins) {
  std::string bytes;
  append_peer_head(bytes, 300, 5, true);
  const auto size = bytes.size();
  bytes += "hello";
  std::string problem;
  const auto head = read_peer_head(bytes, problem);
  ASSERT_TRUE(head) << problem;
  EXPECT_EQ(head->size, size);
  EXPECT_EQ(head->length, 5U);
  EXPECT_EQ(head->offset, 300U);
  EXPECT_TRUE(head->last);
  // It is an ordinary frame as well.
  const auto line_end = bytes.find('\n') + 1;
  const auto message = parse_frame<pb::PeerData>(14, std::string_view(bytes).substr(line_end));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->data(), "hello");
  EXPECT_EQ(message->offset(), 300U);
}

TEST(PeerFrames, AnythingShorterNeedsMoreBytes) {
  std::string bytes;
  append_peer_head(bytes, 1ULL << 40U, 1000, false);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(problem_of(std::string_view(bytes).substr(0, size)), "") << size;
  std::string problem;
  EXPECT_TRUE(read_peer_head(bytes, problem));
}

TEST(PeerFrames, AChunkIsReadWhole) {
  pb::ChunkData chunk;
  chunk.set_digest(std::string(32, 'd'));
  chunk.set_index(7);
  chunk.set_data(std::string(5000, 'x'));
  chunk.set_compressed(true);
  std::string bytes;
  append_frame(bytes, chunk, false);
  const auto size = bytes.size();
  bytes += "the next one";
  std::string problem;
  for (const std::size_t part : {std::size_t{0}, std::size_t{3}, std::size_t{20}, size - 1}) {
    EXPECT_FALSE(read_peer_chunk(std::string_view(bytes).substr(0, part), problem));
    EXPECT_EQ(problem, "") << part;
  }
  const auto read = read_peer_chunk(bytes, problem);
  ASSERT_TRUE(read) << problem;
  EXPECT_EQ(read->size, size);
  EXPECT_EQ(read->chunk.index(), 7U);
  EXPECT_EQ(read->chunk.data().size(), 5000U);
  EXPECT_EQ(read->error, "");
}

TEST(PeerFrames, InsteadOfAChunkOnlyARefusalMayCome) {
  std::string refusal, data, problem;
  append_peer_error(refusal, "gone");
  const auto read = read_peer_chunk(refusal, problem);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->error, "gone");
  append_peer_head(data, 0, 0, true);
  EXPECT_FALSE(read_peer_chunk(data, problem));
  EXPECT_EQ(problem, "not a chunk");
  problem.clear();
  EXPECT_FALSE(read_peer_chunk(std::string_view("wqx 7 60000000\n"), problem));
  EXPECT_THAT(problem, HasSubstr("too long"));
}

TEST(PeerFrames, AnErrorComesInsteadOfData) {
  std::string bytes;
  append_peer_error(bytes, "the token has expired");
  std::string problem;
  const auto head = read_peer_head(bytes, problem);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->error, "the token has expired");
  EXPECT_EQ(head->length, 0U);
  EXPECT_EQ(head->size, bytes.size());
}

TEST(PeerFrames, AnEmptyObjectIsOneHead) {
  std::string bytes;
  append_peer_head(bytes, 0, 0, true);
  std::string problem;
  const auto head = read_peer_head(bytes, problem);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->size, bytes.size());
  EXPECT_TRUE(head->last);
}

TEST(PeerFrames, FieldsThatAreNotKnownAreSkipped) {
  pb::PeerData data;
  data.set_offset(7);
  std::string body = data.SerializeAsString() +
                     std::string(
                         "\x9a\x01\x03"
                         "abc"
                         "\xa0\x01\x05",
                         9) +
                     std::string("\x12\x02", 2);
  std::string bytes = "wqx 14 " + std::to_string(body.size() + 2) + "\n" + body + "xy";
  std::string problem;
  const auto head = read_peer_head(bytes, problem);
  ASSERT_TRUE(head) << problem;
  EXPECT_EQ(head->offset, 7U);
  EXPECT_EQ(head->length, 2U);
}

TEST(PeerFrames, WrongOnesAreNamed) {
  EXPECT_THAT(problem_of("HTTP/1.1 200 OK\r\n"), HasSubstr("no frame"));
  EXPECT_THAT(problem_of(std::string(100, 'x')), HasSubstr("no frame"));
  EXPECT_THAT(problem_of("wqx 13 0\n"), HasSubstr("not expected"));
  EXPECT_THAT(problem_of("wqx 14 -1\n"), HasSubstr("no frame"));
  EXPECT_THAT(problem_of("wqx 14 99999999999\n"), HasSubstr("no frame"));
  EXPECT_THAT(problem_of(std::string("wqx 14 4\n\x12\x09", 11) + "ab"), HasSubstr("not at the end"));
  EXPECT_THAT(problem_of(std::string("wqx 14 6\n\x12\x02"
                                     "ab\x20\x01",
                                     15)),
              HasSubstr("not at the end"));
  EXPECT_THAT(problem_of(std::string("wqx 14 4\n\x18\x01\x12\x00", 13)), HasSubstr("compressed"));
  EXPECT_THAT(problem_of("wqx 14 2\n\x0f\x0f"), HasSubstr("not a frame of data"));
  EXPECT_THAT(problem_of("wqx 14 20000000\n" + std::string("\x2a\x80\x80\x80\x08", 5) + std::string(5000, 'e')),
              HasSubstr("not a frame of data"));
}

TEST(PeerFrames, RequestsAreReadWhenTheyAreWhole) {
  pb::PeerRequest request;
  request.set_object(std::string(32, 'o'));
  request.set_token(std::string(32, 't'));
  request.set_offset(9);
  std::string bytes;
  append_frame(bytes, request, false);
  std::string problem;
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(read_peer_request(std::string_view(bytes).substr(0, size), problem) || !problem.empty()) << size;
  const auto asked = read_peer_request(bytes + "more", problem);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->size, bytes.size());
  EXPECT_EQ(asked->request.offset(), 9U);
  EXPECT_FALSE(read_peer_request("wqx 13 5000\n", problem));
  EXPECT_THAT(problem, HasSubstr("too long"));
}

}  // namespace
}  // namespace taskmill::protocol
