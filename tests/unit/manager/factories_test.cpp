// Factories that workers say they come from.
#include <gtest/gtest.h>

#include "tests/support/machine_driver.hpp"

namespace taskmill::manager {
namespace {

using testing::MachineDriver;

// The table's bound is an invariant, which the driver checks in each step.
TEST(Factories, NamesOfTheGoneMakeRoomAndThoseInUseKeepTheirLimit) {
  MachineDriver d;
  const ConnId kept = d.connect();
  d.machine.on_info(kept, "from-factory", "kept", d.now);
  d.machine.set_factory_max("kept", 1, d.now);
  for (int i = 0; i < 1500; ++i) {
    const ConnId passing = d.connect();
    d.machine.on_info(passing, "from-factory", "f" + std::to_string(i), d.now);
    d.machine.on_closed(passing, CloseReason::disconnected, d.now);
    if (i % 100 == 0) d.step();
  }
  d.step();
  EXPECT_EQ(d.machine.connected_factories(), std::vector<std::string>{"kept"});
  const ConnId surplus = d.connect();
  d.machine.on_info(surplus, "from-factory", "kept", d.now);
  d.step();
  EXPECT_TRUE(d.said("exit")) << "the limit is still known";
}

}  // namespace
}  // namespace taskmill::manager
