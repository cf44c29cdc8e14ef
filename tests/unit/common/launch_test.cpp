// Programs started beside a caller that does not wait for them.
#include "common/os/launch.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "common/os/fd.hpp"

namespace taskmill::os {
namespace {

class Launching : public ::testing::Test {
 protected:
  LaunchPlan plan(const char* path, const char* const* argv) const {
    LaunchPlan out;
    out.path = path;
    out.argv = argv;
    out.envp = environment_.data();
    out.stdin_fd = null_.get();
    out.stdout_fd = out.stderr_fd = output_.get();
    return out;
  }
  std::string output() const {
    std::string text(4096, '\0');
    const ssize_t got = ::pread(output_.get(), text.data(), text.size(), 0);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return text;
  }
  static int end_of(pid_t pid) {
    int status = -1;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
  }

  std::array<const char*, 2> environment_ = {"NAME=value", nullptr};
  UniqueFd null_{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  UniqueFd output_{::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
  Launch launch_;
};

TEST_F(Launching, TheProgramHasItsEnvironmentFolderAndOutput) {
  const std::array<const char*, 4> argv = {"sh", "-c", "echo $NAME; pwd; exit 3", nullptr};
  auto what = plan("/bin/sh", argv.data());
  what.cwd = "/usr";
  const auto pid = launch_.start(what);
  ASSERT_TRUE(pid);
  const int status = end_of(*pid);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_EQ(launch_.error(), 0);
  EXPECT_EQ(output(), "value\n/usr\n");
}

TEST_F(Launching, WhatCannotBeExecutedIsToldAfterTheEnd) {
  const std::array<const char*, 2> argv = {"nothing", nullptr};
  const auto pid = launch_.start(plan("/nonexistent/nothing", argv.data()));
  ASSERT_TRUE(pid);
  EXPECT_EQ(WEXITSTATUS(end_of(*pid)), 127);
  EXPECT_EQ(launch_.error(), ENOENT);
}

TEST_F(Launching, AMissingFolderIsToldToo) {
  const std::array<const char*, 2> argv = {"true", nullptr};
  auto what = plan("/bin/true", argv.data());
  what.cwd = "/nonexistent";
  const auto pid = launch_.start(what);
  ASSERT_TRUE(pid);
  EXPECT_EQ(WEXITSTATUS(end_of(*pid)), 127);
  EXPECT_EQ(launch_.error(), ENOENT);
}

TEST_F(Launching, TheFallbackIsExecutedInstead) {
  const std::array<const char*, 2> argv = {"nothing", nullptr};
  const std::array<const char*, 4> shell = {"sh", "-c", "echo fallback", nullptr};
  auto what = plan("/nonexistent/nothing", argv.data());
  what.fallback_path = "/bin/sh";
  what.fallback_argv = shell.data();
  const auto pid = launch_.start(what);
  ASSERT_TRUE(pid);
  EXPECT_EQ(end_of(*pid), 0);
  EXPECT_EQ(launch_.error(), 0);
  EXPECT_EQ(output(), "fallback\n");
}

// Descriptors, signals and session as after posix_spawn.
TEST_F(Launching, TheChildInheritsNothingElse) {
  const UniqueFd secret(::open("/dev/null", O_RDONLY));  // not close-on-exec, as a careless library may leave one
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGUSR1, &ignore, &before);
  sigset_t blocked;
  sigset_t mask;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &mask);
  const std::array<const char*, 4> argv = {
      "sh", "-c", "ls /proc/$$/fd | tr '\\n' ' '; grep -E 'SigBlk|SigIgn' /proc/self/status; ps -o sid= -p $$",
      nullptr};
  const auto pid = launch_.start(plan("/bin/sh", argv.data()));
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  ::sigaction(SIGUSR1, &before, nullptr);
  ASSERT_TRUE(pid);
  end_of(*pid);
  const auto text = output();
  EXPECT_EQ(text.rfind("0 1 2 ", 0), 0U) << text;
  EXPECT_NE(text.find("SigBlk:\t0000000000000000"), std::string::npos) << text;
  EXPECT_NE(text.find("SigIgn:\t0000000000000000"), std::string::npos) << text;
  EXPECT_NE(text.find(std::to_string(*pid)), std::string::npos) << text;
}

TEST_F(Launching, ManyAtOnceDoNotDisturbEachOtherOrTheCaller) {
  constexpr int count = 64;
  const std::array<const char*, 2> argv = {"true", nullptr};
  const std::array<const char*, 2> wrong = {"nothing", nullptr};
  std::vector<std::unique_ptr<Launch>> launches;
  std::vector<pid_t> pids;
  for (int i = 0; i < count; ++i) {
    launches.push_back(std::make_unique<Launch>());
    const auto pid = launches.back()->start(i % 2 == 0 ? plan("/bin/true", argv.data()) : plan("/none", wrong.data()));
    ASSERT_TRUE(pid);
    pids.push_back(*pid);
    errno = 0;  // a child that shared errno would change it
    for (int j = 0; j < 1000; ++j) ASSERT_EQ(errno, 0);
  }
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(WEXITSTATUS(end_of(pids[static_cast<std::size_t>(i)])), i % 2 == 0 ? 0 : 127);
    EXPECT_EQ(launches[static_cast<std::size_t>(i)]->error(), i % 2 == 0 ? 0 : ENOENT);
  }
}

}  // namespace
}  // namespace taskmill::os
