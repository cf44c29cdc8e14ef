// Model workers that pass large inputs on to each other: with faults, some transfers fail and some never end.
#include <algorithm>

#include "tests/support/sim_world.hpp"

namespace taskmill::testing {

using namespace taskmill::manager;

bool SimWorld::has_room(const Node& node, const Resources& box) {
  return node.used.cores + box.cores <= node.cores + 1e-6 && node.used.memory + box.memory <= node.memory &&
         node.used.disk + box.disk <= node.disk;
}

bool SimWorld::awaits_input(const Node& node, const Run& run) {
  return std::any_of(run.inputs.begin(), run.inputs.end(),
                     [&node](const std::string& name) { return node.awaited.contains(name); });
}

void SimWorld::came(std::uint32_t conn, const std::string& name) {
  if (nodes_[conn].awaited.erase(name) > 0) start_what_fits(conn);
}

void SimWorld::perform_peers(const Action& a, const Effects& effects) {
  const std::uint32_t conn = a.conn.value();
  const std::string name(effects.view(a.name));
  if (a.kind != ActionKind::peer_await && a.kind != ActionKind::peer_transfer) return;
  Node& node = nodes_[conn];
  if (a.kind == ActionKind::peer_transfer && effects.transfers.at(a.index).environment)
    return order_environment(conn, effects.transfers.at(a.index));
  if (!node.cache.contains(name)) node.awaited.insert(name);
  if (a.kind == ActionKind::peer_await) return;
  const PeerTransfer& transfer = effects.transfers.at(a.index);
  if (chance(options_.silence_peer)) return;
  transfers_.push_back(
      {transfer.order, transfer.source.value(), std::string(effects.view(transfer.source_name)), name});
  Event event;
  event.what = What::peer_done;
  event.index = static_cast<std::uint32_t>(transfers_.size() - 1);
  event.conn = conn;
  at(at_worker(conn) + Duration(static_cast<std::int64_t>(random_.below(2'000'000))), event);
}

void SimWorld::deliver_peers(const Event& e) {
  if (e.what != What::peer_done) return deliver_environments(e);
  const Transfer transfer = transfers_[e.index];
  const bool environment = transfer.source_name.empty();
  Node& node = nodes_[e.conn];
  const Node& source = nodes_[transfer.source];
  PeerOutcome outcome;
  outcome.order = transfer.order;
  outcome.ok = node.awaited.contains(transfer.name) && source.alive &&
               source.cache.contains(environment ? transfer.name : transfer.source_name) && !chance(options_.fail_peer);
  outcome.blame = !outcome.ok && random_.below(2) == 0;
  if (outcome.ok) ++result_.passed_on;
  if (outcome.ok && !environment) {
    node.cache.insert(transfer.name);
    came(e.conn, transfer.name);
  }
  machine_->on_peer_done(ConnId(e.conn), outcome, now_);
  if (outcome.ok && environment) unpacked(e.conn, static_cast<std::uint32_t>(transfer.name.back() - '0'));
}

void SimWorld::answer_digests(const Effects& effects) {
  for (const DigestRequest& request : effects.digests) {
    DigestResult result;
    result.size = 4U << 20U;
    result.mtime_ns = 1;
    if (chance(options_.fail_stage)) result.error = "disk error";
    machine_->on_digest(request.object, result, now_);
  }
}

}  // namespace taskmill::testing
