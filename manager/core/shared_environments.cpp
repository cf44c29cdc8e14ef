// Environments that native workers pass on to each other (docs/extensions.md, capability `peer`).
//
// A worker is offered an environment at once. When it has found out how much of it is lacking, and nobody else on its
// machine is fetching it already, it asks for a source: that is the wish. The order that the plan gives for it names
// another worker, or the manager. The wish ends when the environment is ready there, or never will be.
#include <algorithm>

#include "manager/core/state.hpp"

namespace taskmill::manager {
namespace {

std::uint8_t nibble(char digit) { return static_cast<std::uint8_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

// 64 hex digits, checked where the plan was declared.
ContentDigest from_hex(std::string_view text) {
  ContentDigest digest{};
  for (std::size_t i = 0; i < digest.size() && 2 * i + 1 < text.size(); ++i)
    digest[i] = static_cast<std::uint8_t>(nibble(text[2 * i]) << 4U | nibble(text[2 * i + 1]));
  return digest;
}

}  // namespace

// What it is called says what is in it: it can be passed on from the beginning.
void State::share_environment(ObjectId object, SharedInput& input) {
  input.environment = true;
  input.digest = from_hex(files[FileId(input.file)].source);
  shared.plan.make_passable(object);
}

void State::wish_environment(std::uint32_t slot, FileId file, const std::string& digest, std::uint64_t missing_bytes) {
  const CacheEntry* entry = file.valid() ? workers[slot].cache.find(file.value()) : nullptr;
  const bool large = missing_bytes >= config.peer_min_bytes;
  const ObjectId object = entry != nullptr && large ? shared_object(slot, file) : 0;
  if (object == 0) {  // nobody plans that: the manager sends at once
    SharedInput plain;
    plain.digest = from_hex(digest);
    PeerOrder order;
    order.target = slot;
    order.deadline = now.time;
    return order_environment(order, plain);
  }
  if (shared.wishes.contains({slot, object})) return;
  SharedWish& wish = shared.wishes[{slot, object}];
  wish.number = entry->number;
  wish.since = now.time;
  shared.plan.lost(slot, object);  // if it ever had it, it has it no more
  shared.plan.want(slot, object, now.time);
  run_shared();
}

void State::order_environment(const PeerOrder& order, const SharedInput& input) {
  PeerTransfer transfer;
  transfer.order = order.id;
  transfer.environment = true;
  if (order.source != no_index) transfer.source = workers[order.source].conn;
  transfer.digest = input.digest;
  transfer.size = input.bytes;
  transfer.limit = order.deadline - now.time;
  out.transfers.push_back(transfer);
  Action& action = act(ActionKind::peer_transfer, workers[order.target]);
  action.index = static_cast<std::uint32_t>(out.transfers.size() - 1);
}

void State::shared_environment_came(std::uint32_t slot, FileId file, bool serves) {
  const ObjectId object = shared_object(slot, file);
  if (object == 0) return;
  const auto wish = shared.wishes.find({slot, object});
  const std::uint64_t order = wish == shared.wishes.end() ? 0 : wish->second.order;
  if (wish != shared.wishes.end()) shared.wishes.erase(wish);
  if (!serves) {
    shared.plan.unwant(slot, object);
    drop_object_if_unused(object);
  } else if (!shared.plan.got(order)) {
    shared.plan.has(slot, object);
  }
  run_shared();
}

// --- the machine's side ---

void Machine::on_environment_wish(ConnId conn, const std::string& digest, std::uint64_t missing_bytes, Now now) {
  State& s = *state_;
  s.now = now;
  const std::uint32_t slot = s.worker_slot(conn);
  if (slot != no_index) s.wish_environment(slot, s.files.find(digest, FileKind::environment), digest, missing_bytes);
}

bool Machine::plans_transfers(ConnId conn) const {
  const std::uint32_t slot = state_->worker_slot(conn);
  return slot != no_index && state_->shared.plan.knows(slot);
}

}  // namespace taskmill::manager
