#include "common/archive/activation.hpp"

#include <gmock/gmock.h>

#include "tests/unit/archive/support.hpp"

namespace taskmill::archive {
namespace {

using namespace test;

TEST(DeriveActivation, FindsConstantsListsAndRemovals) {
  const auto activation =
      derive_activation({"PATH=/a", "GONE=1", "HOME=/h1", "_=x"},
                        {"PATH=/env/bin:/a", "CONDA_PREFIX=/env", "HOME=/h1", "LD=/env/lib", "_=y"},
                        {"PATH=/b", "GONE=2", "HOME=/h2", "LD=/l", "_=x"},
                        {"PATH=/env/bin:/b", "CONDA_PREFIX=/env", "HOME=/h2", "LD=/env/lib:/l", "_=z"});
  ASSERT_TRUE(activation.replayable) << activation.reason;
  const Variables set = apply_activation(activation, {"PATH=/usr/bin", "GONE=3", "LD=/mine", "X=1"});
  EXPECT_EQ(set, (Variables{"PATH=/env/bin:/usr/bin", "LD=/env/lib:/mine", "X=1", "CONDA_PREFIX=/env"}));
  const Variables unset = apply_activation(activation, {"PATH=/usr/bin"});
  EXPECT_EQ(unset, (Variables{"PATH=/env/bin:/usr/bin", "CONDA_PREFIX=/env", "LD=/env/lib"}));
}

TEST(DeriveActivation, SaysWhichVariableIsNotARule) {
  const auto activation =
      derive_activation({"HOME=/h1"}, {"HOME=/h1", "CACHE=/h1/c"}, {"HOME=/h2"}, {"HOME=/h2", "CACHE=/h2/c"});
  EXPECT_FALSE(activation.replayable);
  EXPECT_EQ(activation.reason, "the value of CACHE depends on where it is activated");
}

TEST(Activation, IsNotReplayedOverAnotherActiveEnvironment) {
  Activation activation;
  activation.replayable = true;
  EXPECT_TRUE(can_replay(activation, {"PATH=/x"}));
  EXPECT_FALSE(can_replay(activation, {"PATH=/x", "CONDA_PREFIX=/other"}));
  EXPECT_FALSE(can_replay(activation, {"VIRTUAL_ENV=/other"}));
}

TEST(Activation, TextFormRoundTripsAndRefusesCutFiles) {
  Activation activation;
  activation.replayable = true;
  activation.rules = {{"A", "v with blank\nand line", false, {}, {}},
                      {"PATH", ":", true, "/e/bin:", ""},
                      {"GONE", std::nullopt, false, {}, {}},
                      {"EMPTY", "", false, {}, {}}};
  const std::string text = to_text(activation);
  EXPECT_EQ(activation_from_text(text), activation);
  for (std::size_t size = 0; size + 4 < text.size(); ++size)
    EXPECT_FALSE(activation_from_text(text.substr(0, size))) << size;
  Activation other;
  other.reason = "the value of X";
  EXPECT_EQ(activation_from_text(to_text(other)), other);
}

TEST(ProbeActivation, RunsTheScriptsOfAnEnvironment) {
  const TempDir env;
  ASSERT_EQ(std::system(("mkdir -p '" + env.path() + "/bin' '" + env.path() + "/poncho'").c_str()), 0);
  write_text(env / "bin/activate",
             "[ \"$1\" = \"\" ] || return 1\nd=$(cd $(dirname \"${BASH_SOURCE[0]}\")/.. && pwd)\nexport "
             "CONDA_PREFIX=\"$d\" PATH=\"$d/bin:$PATH\" WORD='a b'\n"
             "export LD_LIBRARY_PATH=\"$d/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\n");
  write_text(env / "poncho/set_env", "export DATA=$1/DATA\n");
  auto activation = probe_activation(env.path());
  ASSERT_TRUE(activation.has_value()) << activation.error().text;
  ASSERT_TRUE(activation->replayable) << activation->reason;
  const Variables result = apply_activation(*activation, {"PATH=/bin", "PYTHONPATH=/no"});
  EXPECT_THAT(result,
              ::testing::UnorderedElementsAre("PATH=" + env / "bin:/bin", "CONDA_PREFIX=" + env.path(), "WORD=a b",
                                              "LD_LIBRARY_PATH=" + env / "lib", "DATA=" + env / "DATA"));
}

TEST(ProbeActivation, NoticesWhatOnlyAShellCanDo) {
  const TempDir env;
  ASSERT_EQ(::mkdir((env / "bin").c_str(), 0755), 0);
  write_text(env / "bin/activate", "umask 077\n");
  auto activation = probe_activation(env.path());
  ASSERT_TRUE(activation.has_value());
  EXPECT_FALSE(activation->replayable);
  EXPECT_NE(activation->reason.find("umask"), std::string::npos);
}

TEST(ProbeActivation, AFailingScriptIsAnErrorWithItsLastWords) {
  const TempDir env;
  ASSERT_EQ(::mkdir((env / "bin").c_str(), 0755), 0);
  write_text(env / "bin/activate", "echo 'no licence here' >&2\nreturn 3\n");
  auto activation = probe_activation(env.path());
  ASSERT_TRUE(activation.has_error());
  EXPECT_NE(activation.error().text.find("no licence here"), std::string::npos) << activation.error().text;
}

TEST(ProbeActivation, ATreeWithoutScriptsGetsPathAndPrefix) {
  const TempDir env;
  auto activation = probe_activation(env.path());
  ASSERT_TRUE(activation.has_value());
  const Variables result = apply_activation(*activation, {"PATH=/bin"});
  EXPECT_THAT(result, ::testing::UnorderedElementsAre("PATH=" + env / "bin:/bin", "CONDA_PREFIX=" + env.path()));
}

}  // namespace
}  // namespace taskmill::archive
