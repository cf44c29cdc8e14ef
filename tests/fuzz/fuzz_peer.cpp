// What one worker sends another: requests at the one that serves, data at the one that fetches. Read at once and in
// pieces, with the same outcome.
#include "protocol/pb/frames.hpp"
#include "protocol/pb/peer_frames.hpp"
#include "tests/fuzz/session_checks.hpp"

using namespace taskmill;
using namespace taskmill::protocol;

namespace {

struct Outcome {
  std::size_t size = 0;
  std::uint64_t length = 0, offset = 0;
  bool found = false, last = false;
  std::string error, problem;
  bool operator==(const Outcome&) const = default;
};

Outcome head_of(std::string_view bytes) {
  Outcome outcome;
  const auto head = read_peer_head(bytes, outcome.problem);
  if (!head) return outcome;
  return {head->size, head->length, head->offset, true, head->last, head->error, outcome.problem};
}

Outcome request_of(std::string_view bytes) {
  Outcome outcome;
  const auto asked = read_peer_request(bytes, outcome.problem);
  if (!asked) return outcome;
  return {asked->size, 0, asked->request.offset(), true, false, asked->request.token(), outcome.problem};
}

Outcome chunk_of(std::string_view bytes) {
  Outcome outcome;
  const auto read = read_peer_chunk(bytes, outcome.problem);
  if (!read) return outcome;
  return {read->size, read->chunk.data().size(), read->chunk.index(), true, false, read->error, outcome.problem};
}

// The first prefix that is not "more bytes are needed" must say the same as the whole.
template <class Read>
void check_prefixes(std::string_view stream, Read read) {
  const Outcome whole = read(stream);
  fuzzing::require(!whole.found || whole.size <= stream.size(), "no more is taken than there is");
  for (std::size_t size = 0; size < std::min<std::size_t>(stream.size(), 300); ++size) {
    const Outcome part = read(stream.substr(0, size));
    if (!part.found && part.problem.empty()) continue;
    fuzzing::require(part == whole, "a prefix is read as the whole");
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view stream(reinterpret_cast<const char*>(data), size);
  check_prefixes(stream, head_of);
  check_prefixes(stream, request_of);
  check_prefixes(stream, chunk_of);
  const Outcome head = head_of(stream);
  if (!head.found || head.size + head.length > size) return 0;
  // What is taken as a head is a frame of protobuf, too.
  const auto line = stream.find('\n') + 1;
  const auto body = stream.substr(line, head.size + static_cast<std::size_t>(head.length) - line);
  const auto message = parse_frame<pb::PeerData>(static_cast<std::uint32_t>(FrameKind::peer_data), body);
  if (message) fuzzing::require(message->data().size() == head.length, "and says the same");
  return 0;
}
