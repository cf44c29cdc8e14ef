// poncho_package_run as a program: the acceptance checks of environments.md section 9 that concern it.
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "common/archive/digest.hpp"
#include "tests/unit/archive/support.hpp"

namespace taskmill::archive {
namespace {

using namespace test;

struct Outcome {
  int status = 0;
  std::string output;
};

/// Runs a line of shell in `directory`; standard output and error together.
Outcome shell(const TempDir& directory, const std::string& line) {
  const std::string log = directory / "shell.log";
  const std::string whole = "cd '" + directory.path() + "' && { " + line + "; } >'" + log + "' 2>&1";
  const int status = std::system(whole.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(log)};
}

const std::string runner = TASKMILL_PACKAGE_RUN;

std::string environment(const std::string& name, std::size_t size = 10'000) {
  const std::string tool =
      "#!/bin/sh\necho \"I am " + name + " in $CONDA_PREFIX\"\nwc -c < \"$CONDA_PREFIX/lib/data\"\n";
  return tar({file("bin/activate",
                   "export CONDA_PREFIX=\"$(cd \"$(dirname \"${BASH_SOURCE[0]}\")/..\" && pwd)\"\n"
                   "export PATH=\"$CONDA_PREFIX/bin:$PATH\"\n"),
              file("bin/tool", tool, 0755), file("lib/data", noise(size, 5)), file("lib/last", "end")});
}

/// The command line that Coffea generates.
std::string coffea_line(const std::string& target, const std::string& command) {
  return "WORK_QUEUE_SANDBOX=\"$PWD\"; export WORK_QUEUE_SANDBOX; ./py_wrapper -d -e env_file -u "
         "\"$WORK_QUEUE_SANDBOX\"/" +
         target + " -- " + command;
}

TEST(PackageRun, TheCommandLineOfCoffeaUnpacksOnceAndSaysWhatItDoes) {
  const TempDir box;
  write_text(box / "env_file", gzip(environment("alpha")));
  ASSERT_EQ(::symlink(runner.c_str(), (box / "py_wrapper").c_str()), 0);
  auto first = shell(box, coffea_line("env.tar.gz-env-77", "tool"));
  EXPECT_EQ(first.status, 0) << first.output;
  EXPECT_NE(first.output.find("I am alpha in " + box / "env.tar.gz-env-77"), std::string::npos) << first.output;
  EXPECT_NE(first.output.find("poncho_package_run("), std::string::npos);
  EXPECT_NE(first.output.find("expanding environment file env_file"), std::string::npos);
  EXPECT_NE(first.output.find("command line exit code: 0"), std::string::npos);
  auto second = shell(box, coffea_line("env.tar.gz-env-77", "sh -c 'exit 7'"));
  EXPECT_EQ(second.status, 7);
  EXPECT_EQ(second.output.find("expanding"), std::string::npos) << second.output;
  EXPECT_TRUE(exists(box / "env.tar.gz-env-77/.poncho_package_run_expanded"));
}

TEST(PackageRun, EveryCompressionUnderTheSameName) {
  const TempDir box;
  write_text(box / "plain.tar", environment("beta"));
  for (const char* packer : {"cat", "gzip", "bzip2", "xz"}) {
    auto packed = shell(box, std::string(packer) + " < plain.tar > env_file; rm -rf target; " + runner +
                                 " -e env_file -u target -- tool");
    EXPECT_EQ(packed.status, 0) << packer << ": " << packed.output;
    EXPECT_NE(packed.output.find("I am beta"), std::string::npos) << packer;
  }
  write_text(box / "env_file", zstd(environment("beta")));
  EXPECT_EQ(shell(box, runner + " -e env_file -- tool").status, 0);
}

TEST(PackageRun, ManyAtOnceUnpackOnce) {
  const TempDir box;
  write_text(box / "env_file", zstd(environment("gamma", 5'000'000)));
  auto outcome =
      shell(box, "for i in 1 2 3 4 5 6 7 8; do " + runner + " -d -e env_file -u target -- tool & done; wait");
  std::size_t count = 0;
  for (std::size_t at = 0; (at = outcome.output.find("expanding", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 1U) << outcome.output;
  std::size_t ran = 0;
  for (std::size_t at = 0; (at = outcome.output.find("I am gamma", at)) != std::string::npos; ++at) ++ran;
  EXPECT_EQ(ran, 8U) << outcome.output;
}

TEST(PackageRun, TwoArchivesOfTheSameNameGiveEachTaskItsOwn) {
  const TempDir box;
  write_text(box / "env_file", gzip(environment("one")));
  EXPECT_NE(shell(box, runner + " -e env_file -u t -- tool").output.find("I am one"), std::string::npos);
  write_text(box / "other", gzip(environment("two")));
  ASSERT_EQ(::rename((box / "other").c_str(), (box / "env_file").c_str()), 0);
  for (int i = 0; i < 2; ++i) {
    auto outcome = shell(box, runner + " -e env_file -u t -- tool");
    EXPECT_NE(outcome.output.find("I am two"), std::string::npos) << outcome.output;
  }
  write_text(box / "again", gzip(environment("one")));
  EXPECT_NE(shell(box, runner + " -e again -u t -- tool").output.find("I am one in " + box / "t\n"), std::string::npos);
}

TEST(PackageRun, AnIdentityIsVerifiedOnceAndThenBelieved) {
  const TempDir box;
  const std::string plain = environment("mu");
  const std::string identity = sha256(as_bytes(plain)).hex();
  write_text(box / "env_file", gzip(plain));
  auto wrong = shell(box, runner + " -i " + sha256(as_bytes("x")).hex() + " -e env_file -u w -- tool");
  EXPECT_EQ(wrong.status, 1);
  EXPECT_NE(wrong.output.find("is not the environment that was asked for"), std::string::npos) << wrong.output;
  EXPECT_FALSE(exists(box / "w/.poncho_package_run_expanded"));
  EXPECT_EQ(shell(box, runner + " -i " + identity + " -e env_file -u t -- tool").status, 0);
  const auto before = status_of(box / "t/.poncho_package_run_expanded").st_ino;
  auto copy = shell(box, "cp env_file copy; " + runner + " -i " + identity + " -e copy -u t -- tool");
  EXPECT_EQ(copy.status, 0) << copy.output;
  EXPECT_EQ(status_of(box / "t/.poncho_package_run_expanded").st_ino, before);
  EXPECT_NE(shell(box, runner + " -i 12 -e env_file tool").output.find("64 hexadecimal digits"), std::string::npos);
}

TEST(PackageRun, KilledAtRandomMomentsNeverLeavesAPartInUse) {
  const TempDir box;
  constexpr std::size_t size = 6'000'000;
  write_text(box / "env_file", environment("delta", size));
  Random random(17);
  for (int round = 0; round < 200; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setpgid(0, 0);
      (void)!::chdir(box.path().c_str());
      (void)!::freopen("/dev/null", "w", stdout);
      ::execl(runner.c_str(), runner.c_str(), "-e", "env_file", "-u", "t", "--", "true", nullptr);
      ::_exit(99);
    }
    ::usleep(static_cast<useconds_t>(random.below(40'000)));
    ::kill(-child, SIGKILL);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    if (round % 10 != 0 && !exists(box / "t/.poncho_package_run_expanded")) continue;
    auto outcome = shell(box, runner + " -e env_file -u t -- tool");
    ASSERT_EQ(outcome.status, 0) << round << outcome.output;
    ASSERT_NE(outcome.output.find("\n" + std::to_string(size) + "\n"), std::string::npos) << round << outcome.output;
    shell(box, "rm -rf t");
  }
}

TEST(PackageRun, PathsWithBlanksQuotesAndForeignLetters) {
  const TempDir box;
  const std::string odd = "a b's \"q\" \xc3\xa9$x";
  ASSERT_EQ(::mkdir((box / odd).c_str(), 0755), 0);
  write_text(box / odd + "/env file", gzip(environment("epsilon")));
  const std::string quoted = "\"a b's \\\"q\\\" \xc3\xa9\\$x\"";
  auto outcome = shell(box, "cd " + quoted + " && " + runner + " -e 'env file' -u 'my env' -- tool");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("I am epsilon in " + box / odd + "/my env"), std::string::npos) << outcome.output;
}

TEST(PackageRun, ATemporaryDirectoryIsRemovedAndADirectoryIsUsedAsItIs) {
  const TempDir box;
  write_text(box / "env_file", environment("zeta"));
  auto outcome =
      shell(box, "mkdir tmp; TMPDIR=$PWD/tmp " + runner +
                     " -e env_file tool; ls -A tmp; mkdir d; tar -C d -xf env_file; " + runner + " -e d tool");
  EXPECT_NE(outcome.output.find("I am zeta in " + box / "tmp/poncho_package_run."), std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.output.find("I am zeta in " + box / "d\n"), std::string::npos) << outcome.output;
  EXPECT_EQ(shell(box, "ls -A tmp").output, "");
}

TEST(PackageRun, AWorkingDirectoryWithoutWritePermissionIsFine) {
  const TempDir box;
  write_text(box / "env_file", environment("eta"));
  auto outcome = shell(box, "mkdir ro t; chmod 555 ro; cd ro; " + runner + " -e ../env_file -u ../t -- tool");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

TEST(PackageRun, StatusesAndMessagesOfFailures) {
  const TempDir box;
  write_text(box / "env_file", gzip(environment("theta")).substr(0, 3000));
  write_text(box / "good", environment("theta"));
  const std::vector<std::tuple<std::string, int, std::string>> cases{
      {" tool", 1, "no environment given; name the archive with -e"},
      {" -e missing -u t tool", 1, "cannot read environment missing: No such file"},
      {" -e env_file -u t tool", 1, "env_file: truncated tar.gz archive"},
      {" -e good -u good tool", 1, "it is a file, not a directory"},
      {" -e good -u no/such tool", 1, "cannot make directory"},
      {" -e good --unpack tool", 1, "unknown option --unpack"},
      {" -e good -w soon tool", 1, "-w wants a number of seconds, not 'soon'"},
      {" -e good -u t -- no-such-program", 127, "cannot run no-such-program: command not found"},
      {" -e good -u t -- ./good", 126, "cannot run ./good: Permission denied"},
      {" -e good -u t -- sh -c 'kill -9 $$'", 137, ""},
      {" -e good -u t", 0, ""},
      {" --help", 0, "usage: poncho_package_run"},
      {" --help-env-creation", 0, "conda-pack"},
  };
  for (const auto& [arguments, status, words] : cases) {
    auto outcome = shell(box, runner + arguments);
    EXPECT_EQ(outcome.status, status) << arguments << ": " << outcome.output;
    EXPECT_NE(outcome.output.find(words), std::string::npos) << arguments << ": " << outcome.output;
  }
}

TEST(PackageRun, WaitsForTheLockOnlyAsLongAsAsked) {
  const TempDir box;
  write_text(box / "env_file", environment("iota"));
  auto outcome = shell(box, "mkdir t; flock t sleep 20 & holder=$!; sleep 0.3; " + runner +
                                " -w 1 -e env_file -u t -- tool; s=$?; kill $holder; exit $s");
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_NE(outcome.output.find("could not acquire lock on"), std::string::npos) << outcome.output;
}

TEST(PackageRun, TheOldNameWritesTheOldMarkerAndBelievesEither) {
  const TempDir box;
  write_text(box / "env_file", environment("kappa"));
  ASSERT_EQ(::symlink(runner.c_str(), (box / "python_package_run").c_str()), 0);
  EXPECT_EQ(
      shell(box, "./python_package_run -d -e env_file -u t -- sh -c 'test \"$PYTHON_PACKAGE_RUN_DEBUG\" = yes'").status,
      0);
  EXPECT_TRUE(exists(box / "t/.python_package_run_expanded"));
  EXPECT_EQ(shell(box, runner + " -d -e env_file -u t -- tool | grep -c expanding").output, "0\n");
  auto foreign = shell(box, "mkdir f; tar -C f -xf env_file; date > f/.poncho_package_run_expanded; " + runner +
                                " -d -e env_file -u f -- tool");
  EXPECT_EQ(foreign.output.find("expanding"), std::string::npos) << foreign.output;
}

TEST(PackageRun, ATerminationSignalReachesTheCommand) {
  const TempDir box;
  write_text(box / "env_file", environment("lambda"));
  auto outcome = shell(
      box,
      runner +
          " -d -e env_file -u t -- sh -c 'trap \"echo caught; exit 5\" TERM; echo up; while :; do sleep 0.05; done' & "
          "for i in $(seq 200); do grep -q ^up shell.log && break; sleep 0.05; done; kill -TERM $!; wait $!; exit $?");
  EXPECT_EQ(outcome.status, 5) << outcome.output;
  EXPECT_NE(outcome.output.find("caught"), std::string::npos) << outcome.output;
}

}  // namespace
}  // namespace taskmill::archive
