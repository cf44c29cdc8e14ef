// Extension frames with their protobuf bodies: one call to write, one to read (docs/extensions.md).
//
//   std::string out;
//   append_frame(out, batch, zstd_agreed);                       // "wqx 2 512\n" and the bytes
//   if (auto batch = parse_frame<pb::TaskBatch>(kind, body)) …   // nothing if it is not one
//
// The kind follows from the message type. With `zstd` agreed, bodies of 4 KiB and more are compressed when that makes
// them smaller; the kind then carries frame_compressed. Parsing never trusts a length: an unpacked body is at most
// max_frame.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "protocol/capabilities.hpp"
#include "protocol/pb/extension.pb.h"

namespace taskmill::protocol {

template <class Message>
struct FrameKindOf;
template <>
struct FrameKindOf<pb::TaskMeasurement> : std::integral_constant<FrameKind, FrameKind::task_measurement> {};
template <>
struct FrameKindOf<pb::TaskBatch> : std::integral_constant<FrameKind, FrameKind::task_batch> {};
template <>
struct FrameKindOf<pb::ResultBatch> : std::integral_constant<FrameKind, FrameKind::result_batch> {};
template <>
struct FrameKindOf<pb::ResultAck> : std::integral_constant<FrameKind, FrameKind::result_ack> {};
template <>
struct FrameKindOf<pb::EnvironmentOffer> : std::integral_constant<FrameKind, FrameKind::environment_offer> {};
template <>
struct FrameKindOf<pb::EnvironmentNeed> : std::integral_constant<FrameKind, FrameKind::environment_need> {};
template <>
struct FrameKindOf<pb::ChunkData> : std::integral_constant<FrameKind, FrameKind::chunk_data> {};
template <>
struct FrameKindOf<pb::EnvironmentReady> : std::integral_constant<FrameKind, FrameKind::environment_ready> {};
template <>
struct FrameKindOf<pb::PeerServe> : std::integral_constant<FrameKind, FrameKind::peer_serve> {};
template <>
struct FrameKindOf<pb::PeerFetch> : std::integral_constant<FrameKind, FrameKind::peer_fetch> {};
template <>
struct FrameKindOf<pb::PeerDone> : std::integral_constant<FrameKind, FrameKind::peer_done> {};
template <>
struct FrameKindOf<pb::PeerListening> : std::integral_constant<FrameKind, FrameKind::peer_listening> {};
template <>
struct FrameKindOf<pb::PeerRequest> : std::integral_constant<FrameKind, FrameKind::peer_request> {};
template <>
struct FrameKindOf<pb::PeerData> : std::integral_constant<FrameKind, FrameKind::peer_data> {};

/// Header and body; false, and nothing appended, when the body would be larger than max_frame.
bool append_frame(std::string& out, FrameKind kind, const google::protobuf::MessageLite& message, bool compress);
template <class Message>
bool append_frame(std::string& out, const Message& message, bool compress) {
  return append_frame(out, FrameKindOf<Message>::value, message, compress);
}

/// Unpacks if the kind says so. False when the body is not such a message.
bool parse_frame(std::uint32_t kind, std::span<const char> body, google::protobuf::MessageLite& message);
template <class Message>
std::optional<Message> parse_frame(std::uint32_t kind, std::span<const char> body) {
  if ((kind & ~frame_compressed) != static_cast<std::uint32_t>(FrameKindOf<Message>::value)) return std::nullopt;
  std::optional<Message> message(std::in_place);
  if (!parse_frame(kind, body, *message)) return std::nullopt;
  return message;
}

}  // namespace taskmill::protocol
