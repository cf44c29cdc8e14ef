// What goes wrong in the model world, as its options ask for.
#include "tests/support/sim_world.hpp"

namespace taskmill::testing {

using namespace taskmill::manager;

void SimWorld::lose(std::uint32_t conn) {
  Node& node = nodes_[conn];
  if (!node.alive) return;
  node.alive = false;
  for (const Run& run : node.runs) --live_[run.task];
  node = Node{};
  machine_->on_closed(ConnId(conn), CloseReason::disconnected, now_);
  Event event;
  event.what = What::join;
  at(now_.time + std::chrono::seconds(1), event);
}

void SimWorld::faults_after(std::uint32_t conn) {
  if (chance(options_.lose_worker)) lose(conn);
  if (chance(options_.cancel) && submitted_ > 0)
    machine_->cancel(TaskId(1 + static_cast<std::uint32_t>(random_.below(submitted_))), now_);
  if (chance(options_.invalidate))
    machine_->invalidate_cached_file("file" + std::to_string(random_.below(5)), FileKind::file, now_);
  if (nodes_[conn].alive && chance(options_.congest)) {
    machine_->on_congested(ConnId(conn), true, now_);
    Event event;
    event.what = What::uncongest;
    event.conn = conn;
    at(now_.time + std::chrono::seconds(5), event);
  }
}

}  // namespace taskmill::testing
