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
  EXPECT_EQ(wrap_command(wrapper, "python x.py > out"), "./.environment-run -e .environment-" + id + " -i " +
                                                            wrapper.identity.hex() + " -u \"$WORK_QUEUE_SANDBOX\"/" +
                                                            id + "-env -- /bin/sh -c 'python x.py > out'");
}

TEST(EnvironmentWrapper, UnwrapsWhatItWrapped) {
  for (const std::string command : {"true", "echo 'a b' \"$X\"", "it's", "''", "a\nb", "echo -env -- /bin/sh -c x"}) {
    EXPECT_EQ(unwrap_command(wrap_command(wrapper, command)), command);
  }
  EXPECT_EQ(unwrap_command("python x.py"), std::nullopt);
  EXPECT_EQ(unwrap_command("./.environment-run -e nothing"), std::nullopt);
}

TEST(EnvironmentWrapper, KnowsItsInputs) {
  for (const auto& input : wrapped_inputs(wrapper)) EXPECT_TRUE(is_wrapped_input(input.remote));
  EXPECT_FALSE(is_wrapped_input("data.txt"));
  EXPECT_FALSE(is_wrapped_input(".environment-mine"));
}

}  // namespace
}  // namespace taskmill::archive
