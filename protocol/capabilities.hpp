// What native peers can do beyond the old wire, and how they agree on it (docs/extensions.md).
//
// The worker announces everything it can right behind its id:   info wqx-caps 1,batch,enforce,env,measure,peer,zstd
// The manager answers with what it will use:                    tlq wqx:1,batch,measure
// Old peers ignore either line. Only when both were seen may frames be sent, and only of the agreed kinds.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace taskmill::protocol {

constexpr int extension_version = 1;
constexpr std::string_view capability_field = "wqx-caps";  ///< of the worker's `info`
constexpr std::string_view capability_token = "wqx:";      ///< begins the manager's `tlq` token
constexpr std::size_t max_capability_list = 1024;          ///< longer lists are none

enum class Capability : std::uint8_t {
  measure,  ///< the worker tells what tasks used
  enforce,  ///< and stops those above their memory or disk
  batch,
  env,
  peer,
  zstd
};

class CapabilitySet {
 public:
  CapabilitySet() = default;
  CapabilitySet(std::initializer_list<Capability> capabilities) {
    for (const auto capability : capabilities) add(capability);
  }
  static CapabilitySet all();
  void add(Capability capability) { bits_ |= 1U << static_cast<unsigned>(capability); }
  [[nodiscard]] bool has(Capability capability) const { return (bits_ >> static_cast<unsigned>(capability) & 1U) != 0; }
  [[nodiscard]] bool empty() const { return bits_ == 0; }
  [[nodiscard]] CapabilitySet both(CapabilitySet other) const;
  [[nodiscard]] CapabilitySet with(CapabilitySet other) const;
  [[nodiscard]] CapabilitySet without(CapabilitySet other) const;
  bool operator==(const CapabilitySet&) const = default;

 private:
  std::uint32_t bits_ = 0;
};

std::string_view capability_name(Capability capability);
/// "batch,zstd" as a user writes it; the first word that is no capability in `unknown`.
std::optional<CapabilitySet> parse_capability_names(std::string_view list, std::string_view& unknown);

/// "1,batch,measure". Unknown names are skipped: they belong to newer peers. None for another major version, for a
/// list without one, and for one that is too long: such a peer is treated as an old one.
std::optional<CapabilitySet> parse_capabilities(std::string_view list);
std::string format_capabilities(CapabilitySet set);

/// The set in the token of a manager's `tlq`, if it is one of ours.
std::optional<CapabilitySet> parse_capability_token(std::string_view token);
std::string format_capability_token(CapabilitySet set);

/// One side's half of the agreement. Give it to a session's allow_frames() once agreed().
class CapabilityHandshake {
 public:
  explicit CapabilityHandshake(CapabilitySet ours) : ours_(ours) {}
  /// Manager: the worker's `info wqx-caps`. True if it is to be answered with format_capability_token(agreed()).
  bool on_worker_list(std::string_view list);
  /// Worker: a `tlq` token. True if it was the manager's choice; a choice that was not offered is cut down.
  bool on_manager_token(std::string_view token);
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] CapabilitySet agreed() const { return agreed_; }
  [[nodiscard]] bool can(Capability capability) const { return done_ && agreed_.has(capability); }

 private:
  CapabilitySet ours_, agreed_;
  bool done_ = false;
};

/// Kinds of frames (protocol/pb/extension.proto) and the capability each needs.
enum class FrameKind : std::uint32_t {
  task_measurement = 1,   ///< W>M, measure
  task_batch = 2,         ///< M>W, batch
  result_batch = 3,       ///< W>M, batch
  result_ack = 4,         ///< M>W, batch
  environment_offer = 5,  ///< M>W, env
  environment_need = 6,   ///< W>M, env
  chunk_data = 7,         ///< M>W, env
  environment_ready = 8,  ///< W>M, env
  peer_serve = 9,         ///< M>W, peer
  peer_fetch = 10,        ///< M>W, peer
  peer_done = 11,         ///< W>M, peer
  peer_listening = 12,    ///< W>M, peer
  peer_request = 13,      ///< worker to worker
  peer_data = 14,         ///< worker to worker
};
enum class Direction : std::uint8_t { to_manager, to_worker, between_workers };

/// Bit of a kind: the body is one zstd frame that states its size. Needs the capability zstd.
constexpr std::uint32_t frame_compressed = 1U << 31;

/// May a frame of this kind come in this direction under this agreement? Unknown kinds may not.
bool frame_allowed(std::uint32_t kind, Direction direction, CapabilitySet agreed);

}  // namespace taskmill::protocol
