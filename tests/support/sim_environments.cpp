// Model workers that unpack environments: each gets the chunks where the manager says, and tells when it is ready. With
// faults, some unpackings and some transfers between workers fail, and some never end.
#include "tests/support/sim_world.hpp"

namespace taskmill::testing {

using namespace taskmill::manager;

namespace {

constexpr std::uint32_t count_of_environments = 2;
constexpr std::uint64_t size_of_environment = 64U << 20U;

std::string digest_of(std::uint32_t number) { return std::string(63, 'a') + static_cast<char>('0' + number); }

}  // namespace

void SimWorld::declare_environments() {
  for (std::uint32_t i = 0; i < count_of_environments; ++i) {
    EnvironmentPlan plan;
    plan.name = "env" + std::to_string(i);
    plan.digest = digest_of(i);
    plan.bytes = size_of_environment;
    plan.runner.source = "runner";
    plan.runner.remote = ".runner";
    plan.archive.source = "archive" + std::to_string(i);
    plan.archive.remote = ".archive";
    plan.command_head = "./.runner ";
    machine_->declare_environment(plan);
  }
}

void SimWorld::offer_environment(std::uint32_t conn, const Action& a, const Effects& effects) {
  const std::string digest(effects.view(a.path));
  Node& node = nodes_[conn];
  Event event;
  event.index = static_cast<std::uint32_t>(digest.back() - '0');
  node.awaited.insert(digest);
  const bool planned = machine_->plans_transfers(ConnId(conn));
  event.what = planned ? What::environment_wanted : What::environment_came;
  to_manager(conn, event);
}

void SimWorld::order_environment(std::uint32_t conn, const PeerTransfer& transfer) {
  Event event;
  event.conn = conn;
  const std::uint32_t number = transfer.digest.back() & 0xfU;
  const Time when = at_worker(conn) + Duration(static_cast<std::int64_t>(random_.below(2'000'000)));
  if (!transfer.source.valid()) {
    ++result_.environments_from_manager;
    event.what = What::environment_came;
    event.index = number;
    return at(when, event);
  }
  if (chance(options_.silence_peer)) return;
  transfers_.push_back({transfer.order, transfer.source.value(), {}, digest_of(number)});
  event.what = What::peer_done;
  event.index = static_cast<std::uint32_t>(transfers_.size() - 1);
  at(when, event);
}

void SimWorld::unpacked(std::uint32_t conn, std::uint32_t number) {
  Node& node = nodes_[conn];
  const std::string digest = digest_of(number);
  if (!node.awaited.contains(digest)) return;  // of an order that was given twice
  EnvironmentFacts facts{digest, true, {}};
  if (chance(options_.fail_environment)) {
    facts.ok = false;
    facts.error = "disk full";
    facts.retry = random_.below(2) == 0;
    node.awaited.erase(digest);
  } else {
    facts.serves = conn % 7 != 3;
    node.cache.insert(digest);
    came(conn, digest);
  }
  machine_->on_environment(ConnId(conn), facts, now_);
}

void SimWorld::deliver_environments(const Event& e) {
  if (e.what == What::environment_wanted) {
    machine_->on_environment_wish(ConnId(e.conn), digest_of(e.index), size_of_environment, now_);
  } else if (e.what == What::environment_came) {
    unpacked(e.conn, e.index);
  }
}

}  // namespace taskmill::testing
