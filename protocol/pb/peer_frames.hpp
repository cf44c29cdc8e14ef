// What two workers say to each other when one fetches an object from the other (docs/extensions.md, capability `peer`).
//
// One request, then frames of data until one says it is the last, or brings an error. Both are read here from the
// bytes at the front of a connection: nothing is consumed until a whole head is there, and a head is at most
// max_peer_head bytes. Chunks of environments are small, and read whole. In a PeerData the field `data` stands last, so
// that both ends can move its bytes between socket and file without looking at them: the head ends where they begin.
//
//   std::string problem;
//   if (auto head = read_peer_head(bytes, problem)) … head->size consumed, head->length raw bytes follow
//   else if (!problem.empty()) … not such a frame
//   else … more bytes are needed
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "protocol/pb/extension.pb.h"

namespace taskmill::protocol {

constexpr std::size_t max_peer_head = 4096;
constexpr std::size_t max_peer_chunk = (1U << 20) + (64U << 10);  ///< a frame with one chunk that does not compress

struct PeerHead {
  std::size_t size = 0;      ///< of the head
  std::uint64_t length = 0;  ///< of the data behind it
  std::uint64_t offset = 0;  ///< of the data in the object
  bool last = false;
  std::string error;  ///< instead of data
};
std::optional<PeerHead> read_peer_head(std::span<const char> bytes, std::string& problem);
/// Everything of the frame but its data.
void append_peer_head(std::string& out, std::uint64_t offset, std::uint64_t length, bool last);
/// A frame that refuses.
void append_peer_error(std::string& out, const std::string& error);

struct PeerAsked {
  std::size_t size = 0;
  pb::PeerRequest request;
};
std::optional<PeerAsked> read_peer_request(std::span<const char> bytes, std::string& problem);

/// One chunk of an environment, or one line why there is none.
struct PeerChunk {
  std::size_t size = 0;
  pb::ChunkData chunk;
  std::string error;
};
std::optional<PeerChunk> read_peer_chunk(std::span<const char> bytes, std::string& problem);

}  // namespace taskmill::protocol
