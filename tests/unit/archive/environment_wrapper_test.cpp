#include "common/archive/environment_wrapper.hpp"

#include <gtest/gtest.h>

namespace taskmill::archive {
namespace {

const EnvironmentWrapper wrapper{"/opt/bin/poncho_package_run", "/cache/x.tar.zst", sha256(as_bytes("environment"))};

TEST(EnvironmentWrapper, NamesInputsAndDirectoryByContent) {
  const std::string id = wrapper.identity.hex().substr(0, 16);
  const auto inputs = wrapped_inputs(wrapper);
  ASSERT_EQ(inputs.size(), 2U);
  EXPECT_EQ(inputs[0].remote, ".environment-run");
  EXPECT_EQ(inputs[1].remote, ".environment-" + id);
  EXPECT_EQ(wrapped_command_head(wrapper), "./.environment-run -e .environment-" + id + " -i " +
                                               wrapper.identity.hex() + " -u \"$WORK_QUEUE_SANDBOX\"/" + id +
                                               "-env -- /bin/sh -c ");
}

}  // namespace
}  // namespace taskmill::archive
