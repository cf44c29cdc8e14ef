#include "protocol/capabilities.hpp"

#include <algorithm>
#include <array>

#include "common/base/text.hpp"

namespace taskmill::protocol {
namespace {

struct Named {
  Capability capability;
  std::string_view name;
};

// In the order in which they are written.
constexpr std::array<Named, 6> names = {{{Capability::batch, "batch"},
                                         {Capability::enforce, "enforce"},
                                         {Capability::env, "env"},
                                         {Capability::measure, "measure"},
                                         {Capability::peer, "peer"},
                                         {Capability::zstd, "zstd"}}};

struct FrameRule {
  FrameKind kind;
  Direction direction;
  Capability needs;
};

constexpr std::array<FrameRule, 14> frame_rules = {{
    {FrameKind::task_measurement, Direction::to_manager, Capability::measure},
    {FrameKind::task_batch, Direction::to_worker, Capability::batch},
    {FrameKind::result_batch, Direction::to_manager, Capability::batch},
    {FrameKind::result_ack, Direction::to_worker, Capability::batch},
    {FrameKind::environment_offer, Direction::to_worker, Capability::env},
    {FrameKind::environment_need, Direction::to_manager, Capability::env},
    {FrameKind::chunk_data, Direction::to_worker, Capability::env},
    {FrameKind::environment_ready, Direction::to_manager, Capability::env},
    {FrameKind::peer_serve, Direction::to_worker, Capability::peer},
    {FrameKind::peer_fetch, Direction::to_worker, Capability::peer},
    {FrameKind::peer_done, Direction::to_manager, Capability::peer},
    {FrameKind::peer_listening, Direction::to_manager, Capability::peer},
    {FrameKind::peer_request, Direction::between_workers, Capability::peer},
    {FrameKind::peer_data, Direction::between_workers, Capability::peer},
}};

std::string_view cut_word(std::string_view& list) {
  const auto comma = list.find(',');
  const auto word = list.substr(0, comma);
  list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  return word;
}

}  // namespace

CapabilitySet CapabilitySet::all() {
  CapabilitySet set;
  for (const auto& entry : names) set.add(entry.capability);
  return set;
}

CapabilitySet CapabilitySet::both(CapabilitySet other) const {
  CapabilitySet set;
  set.bits_ = bits_ & other.bits_;
  return set;
}

CapabilitySet CapabilitySet::with(CapabilitySet other) const {
  CapabilitySet set;
  set.bits_ = bits_ | other.bits_;
  return set;
}

CapabilitySet CapabilitySet::without(CapabilitySet other) const {
  CapabilitySet set;
  set.bits_ = bits_ & ~other.bits_;
  return set;
}

std::string_view capability_name(Capability capability) {
  for (const auto& entry : names) {
    if (entry.capability == capability) return entry.name;
  }
  return "";
}

std::optional<CapabilitySet> parse_capabilities(std::string_view list) {
  if (list.size() > max_capability_list) return std::nullopt;
  if (parse_int(cut_word(list)) != extension_version) return std::nullopt;
  CapabilitySet set;
  while (!list.empty()) {
    const auto word = cut_word(list);
    for (const auto& entry : names) {
      if (entry.name == word) set.add(entry.capability);
    }
  }
  return set;
}

std::optional<CapabilitySet> parse_capability_names(std::string_view list, std::string_view& unknown) {
  CapabilitySet set;
  while (!list.empty()) {
    const auto word = cut_word(list);
    const auto entry =
        std::find_if(names.begin(), names.end(), [word](const Named& known) { return known.name == word; });
    if (entry == names.end()) {
      unknown = word;
      return std::nullopt;
    }
    set.add(entry->capability);
  }
  return set;
}

std::string format_capabilities(CapabilitySet set) {
  std::string list = std::to_string(extension_version);
  for (const auto& entry : names) {
    if (!set.has(entry.capability)) continue;
    list += ',';
    list += entry.name;
  }
  return list;
}

std::optional<CapabilitySet> parse_capability_token(std::string_view token) {
  if (!token.starts_with(capability_token)) return std::nullopt;
  return parse_capabilities(token.substr(capability_token.size()));
}

std::string format_capability_token(CapabilitySet set) {
  return std::string(capability_token) + format_capabilities(set);
}

bool CapabilityHandshake::on_worker_list(std::string_view list) {
  const auto theirs = parse_capabilities(list);
  if (done_ || !theirs) return false;
  agreed_ = ours_.both(*theirs);
  done_ = true;
  return true;
}

bool CapabilityHandshake::on_manager_token(std::string_view token) {
  const auto chosen = parse_capability_token(token);
  if (done_ || !chosen) return false;
  agreed_ = ours_.both(*chosen);
  done_ = true;
  return true;
}

bool frame_allowed(std::uint32_t kind, Direction direction, CapabilitySet agreed) {
  if ((kind & frame_compressed) != 0) {
    if (!agreed.has(Capability::zstd)) return false;
    kind &= ~frame_compressed;
  }
  for (const auto& rule : frame_rules) {
    if (static_cast<std::uint32_t>(rule.kind) == kind) return rule.direction == direction && agreed.has(rule.needs);
  }
  return false;
}

}  // namespace taskmill::protocol
