// One connection at the manager: what native workers say beyond the old wire (docs/extensions.md).
#include <utility>

#include "common/aio/clock.hpp"
#include "manager/net/environment_feed.hpp"
#include "manager/net/native_measurement.hpp"
#include "manager/net/peer.hpp"
#include "protocol/format.hpp"
#include "protocol/pb/frames.hpp"
#include "protocol/pb/measurement.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t max_waiting_measurements = 10'000;

/// The largest body of a frame from a worker, by kind.
std::uint64_t frame_limit(std::uint32_t kind) {
  switch (static_cast<protocol::FrameKind>(kind & ~protocol::frame_compressed)) {
    case protocol::FrameKind::task_measurement:
      return 64U << 10;  // some hundred bytes
    case protocol::FrameKind::result_batch:
      return 4U << 20;  // workers keep theirs well below
    case protocol::FrameKind::environment_need:
      return 4U << 20;  // with every second chunk of a portion
    case protocol::FrameKind::environment_ready:
      return 64U << 10;
    case protocol::FrameKind::peer_done:
    case protocol::FrameKind::peer_listening:
      return 4U << 10;
    default:
      return 0;
  }
}

}  // namespace

void Peer::on_info(std::string_view field, std::string_view value) {
  owner_.machine().on_info(id_, field, value, aio::now());
  if (field != protocol::capability_field || !handshake_.on_worker_list(value)) return;
  std::string line;
  protocol::tlq(line, protocol::format_capability_token(handshake_.agreed()));
  outbound_->say(line);
  outbound_->pump();
  session_.allow_frames(true);
  WorkerFacts facts;
  facts.measures = handshake_.can(protocol::Capability::measure);
  facts.enforces = handshake_.can(protocol::Capability::enforce);
  facts.environments = handshake_.can(protocol::Capability::env);
  facts.peers = handshake_.can(protocol::Capability::peer);
  // Where a monitor wraps the command, its summary is among the outputs: the old way.
  if (handshake_.can(protocol::Capability::batch) && (facts.measures || !owner_.machine().config().monitoring.enabled))
    outbound_->use_batches(handshake_.can(protocol::Capability::zstd));
  owner_.machine().on_native(id_, facts, aio::now());
}

void Peer::on_frame(const protocol::Frame& frame) {
  const bool expected = protocol::frame_allowed(frame.kind, protocol::Direction::to_manager, handshake_.agreed());
  if (!expected || frame.length > frame_limit(frame.kind)) {
    return fail(CloseReason::protocol_error, "an extension frame of kind " + std::to_string(frame.kind) + " and " +
                                                 std::to_string(frame.length) + " bytes was not agreed on");
  }
  frame_kind_ = frame.kind;
  message_.clear();
  begin_body(Sink::frame, frame.length);
}

void Peer::on_frame_body() {
  const auto body = std::exchange(message_, {});
  switch (static_cast<protocol::FrameKind>(frame_kind_ & ~protocol::frame_compressed)) {
    case protocol::FrameKind::task_measurement:
      return on_measurement(body);
    case protocol::FrameKind::result_batch:
      return on_result_batch(body);
    case protocol::FrameKind::environment_need:
      return on_environment_need(body);
    case protocol::FrameKind::environment_ready:
      return on_environment_ready(body);
    case protocol::FrameKind::peer_listening:
      return on_peer_listening(body);
    case protocol::FrameKind::peer_done:
      return on_peer_done(body);
    default:
      return;  // no other kind is agreed on
  }
}

std::shared_ptr<EnvironmentFeed> Peer::make_feed(const std::shared_ptr<Outbound::Context>& context) {
  aio::BatchFeed::Wire wire;
  wire.has_room = [this] { return outbound_->can_send_frames(); };
  wire.send = [this](std::shared_ptr<const std::string> frames) {
    outbound_->send_frames(std::move(frames), feed_ticket);
  };
  wire.fail = [this](const std::string& why) { fail(CloseReason::disconnected, why); };
  return std::make_shared<EnvironmentFeed>(context->environments, context->pool, std::move(wire));
}

void Peer::on_environment_need(std::string_view body) {
  const auto need = protocol::parse_frame<pb::EnvironmentNeed>(frame_kind_, body);
  if (const auto digest = need && need->source() ? to_digest(need->digest()) : std::nullopt) {
    owner_.machine().on_environment_wish(id_, digest->hex(), need->missing_bytes(), aio::now());
    owner_.wake();
  }
  if (!need || !feed_ || !feed_->on_need(*need, handshake_.can(protocol::Capability::zstd)))
    fail(CloseReason::protocol_error, "a request for an environment that makes no sense");
}

void Peer::on_environment_ready(std::string_view body) {
  const auto ready = protocol::parse_frame<pb::EnvironmentReady>(frame_kind_, body);
  const auto digest = ready ? to_digest(ready->digest()) : std::nullopt;
  if (!digest) return fail(CloseReason::protocol_error, "a report on an environment that is none");
  owner_.environment_reported(*this, *ready);
  EnvironmentFacts facts{digest->hex(), ready->ok(), ready->error(), ready->retry(), ready->evicted(), ready->serves()};
  owner_.machine().on_environment(id_, facts, aio::now());
}

// Results follow it soon.
void Peer::on_measurement(std::string_view body) {
  const auto message = protocol::parse_frame<pb::TaskMeasurement>(frame_kind_, body);
  if (!message) return fail(CloseReason::protocol_error, "a measurement that is none");
  if (measured_.size() >= max_waiting_measurements) measured_.clear();  // of tasks whose results never came
  const auto measured = protocol::from_message(*message);
  measured_[message->task_id()] = {to_core(measured), limit_text(measured)};
}

}  // namespace taskmill::manager
