// The hub and native workers: what is wanted of them, and what they did (docs/extensions.md).
#include <algorithm>

#include "manager/net/hub.hpp"
#include "protocol/pb/frames.hpp"

namespace taskmill::manager {

void Hub::environment_reported(const Peer& peer, const pb::EnvironmentReady& ready) {
  auto& counts = environments_;
  counts.bytes_sent +=
      static_cast<std::int64_t>(ready.received_bytes() - std::min(ready.received_bytes(), ready.peer_bytes()));
  counts.bytes_reused += static_cast<std::int64_t>(ready.reused_bytes());
  if (ready.evicted()) return;
  ++(!ready.ok() ? counts.failed : ready.unpacked() ? counts.unpacked : counts.found);
  if (!ready.ok()) return;  // the machine says why
  note(NoticeLevel::debug, peer.hostname() + " (" + peer.address() + ") has an environment" +
                               (ready.unpacked() ? ", unpacked: " : " already: ") +
                               std::to_string(ready.received_bytes()) + " bytes received, " +
                               std::to_string(ready.reused_bytes()) + " reused, " + std::to_string(ready.time_us()) +
                               " us");
}

protocol::CapabilitySet Hub::capabilities() const {
  using enum protocol::Capability;
  protocol::CapabilitySet wanted = {batch, measure, enforce, zstd};
  if (config_.environments) wanted.add(env);
  // Between workers nothing is encrypted: who wants TLS wants no copies in the clear.
  if (config_.core.peer_transfers > 0 && !uses_tls()) wanted.add(peer);
  return wanted.both(config_.core.extensions);
}

}  // namespace taskmill::manager
