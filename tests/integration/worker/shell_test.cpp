// A command that runs without a shell must behave exactly as with one: two workers, one of which uses a shell for
// everything, run the same commands and must give the same results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "common/base/random.hpp"
#include "tests/integration/worker/kit.hpp"
#include "worker/core/command_line.hpp"

namespace taskmill::test {
namespace {

struct Trial {
  std::string command;
  std::string lines;  ///< of the task block: variables
};

// The workspace differs from worker to worker; variables have no order.
std::string comparable(const Trial& trial, const std::string& output) {
  static const std::regex workspace("/tmp/[^ \n]*/worker-[0-9]+-[0-9]+-[a-z]{8}");
  auto text = std::regex_replace(output, workspace, "WS");
  if (trial.command.find("env") == std::string::npos) return text;
  std::istringstream in(text);
  std::vector<std::string> all;
  for (std::string line; std::getline(in, line);) {
    // Which core is free is chance; the parent is the worker, and the shell sets it.
    if (!line.starts_with("CORES_LIST=") && !line.starts_with("PPID=")) all.push_back(line);
  }
  std::sort(all.begin(), all.end());
  text.clear();
  for (const auto& line : all) text += line + "\n";
  return text;
}

std::vector<Result> run_all(const std::vector<Trial>& trials, bool use_shell) {
  ScratchDirectory scratch;
  ScriptedManager manager;
  std::vector<std::string> arguments = {"127.0.0.1",     manager.port(), "-s", scratch.path(),
                                        "--single-shot", "--cores",      "2"};
  if (use_shell) arguments.emplace_back("--use-shell");
  WorkerProcess process(scratch, arguments, {}, {"BASH_FUNC_x%%=() { :; }", "odd-name=1", "LINENO=7", "PS1=$ "});
  Peer peer = manager.greet();
  peer.put("script", "#!/bin/sh\necho script \"$0\" $#\nexit 4\n", "0755");
  peer.put("noexec", "echo never\n", "0644");
  peer.put("noshebang", "echo plain \"$0\" \"$1\"\nexit 5\n", "0755");
  peer.put("badshebang", "#!/no/such/interpreter\n", "0755");
  const std::string inputs =
      "infile script script 1\ninfile noexec noexec 1\ninfile noshebang bin/noshebang 1\ninfile script bin/tool 1\n"
      "infile noexec first/tool 1\ninfile badshebang bad 1\ninfile script true 1\ninfile noexec nx/ls 1\n";
  long long id = 0;
  for (const auto& trial : trials) peer.task(++id, trial.command, inputs + trial.lines);
  return peer.collect(trials.size());
}

void expect_same(const std::vector<Trial>& trials) {
  const auto direct = run_all(trials, false);
  const auto shell = run_all(trials, true);
  ASSERT_EQ(direct.size(), trials.size());
  ASSERT_EQ(shell.size(), trials.size());
  for (std::size_t i = 0; i < trials.size(); ++i) {
    SCOPED_TRACE("command: " + trials[i].command + "\n" + trials[i].lines);
    EXPECT_EQ(direct[i].status, shell[i].status);
    EXPECT_EQ(direct[i].exit_code, shell[i].exit_code);
    EXPECT_EQ(comparable(trials[i], direct[i].output), comparable(trials[i], shell[i].output));
  }
}

std::string variable(const std::string& entry) { return "env " + std::to_string(entry.size()) + "\n" + entry + "\n"; }

TEST(DirectStart, IsIndistinguishableFromTheShell) {
  std::vector<Trial> trials;
  for (const char* command : {"ls",
                              "date -d @0 +%Y",
                              "env",
                              "nosuchcmd a b",
                              "/nosuch/path",
                              "./script",
                              "./noexec x",
                              "bin/noshebang a",
                              "./bad",
                              "cat nosuchfile",
                              "/bin/kill -SEGV 0x",
                              "expr 1 + 2",
                              "printenv PWD",
                              "printenv TMPDIR",
                              "seq 3",
                              "sleep 0.01",
                              "  seq   2  ",
                              "dir",
                              "/tmp",
                              "bin",
                              "uname -s",
                              "python3 -c pass",
                              "head -c 5 /dev/zero",
                              "basename a/b.c .c",
                              "a=b",
                              "-x",
                              "sh -c ls",
                              "true",
                              "false",
                              "test",
                              "echo -n a",
                              "printf %d 3",
                              "[ a = b ]",
                              "/usr/bin/[ a = b",
                              "exec ls",
                              "exec -a x ls",
                              "a=b ls",
                              "PATH=/bin ls",
                              ". ./script",
                              "command ls",
                              "bin/tool",
                              "true/x",
                              "kill -l",
                              "pwd",
                              "/bin/pwd",
                              "env -u PATH env",
                              "readlink -f .",
                              "umask",
                              "ulimit -n",
                              "exit 3",
                              "exit",
                              "return",
                              "wait",
                              "ls bin//tool",
                              "../t.1/nothing",
                              "./",
                              ".",
                              "..",
                              ":",
                              "@",
                              "+x",
                              ",",
                              "_",
                              "9",
                              "%1",
                              "cat -",
                              "tr a b",
                              "hash ls",
                              "type ls",
                              "getopts a b",
                              "let x",
                              "local x",
                              "stat -c %h script",
                              "id -un",
                              "nice nice",
                              "ps -o sid= -p 0",
                              "unset PATH"}) {
    trials.push_back({command, {}});
  }
  for (const char* entry :
       {"IFS=x", "OPTIND=4", "PPID=9", "no.name=1", "=empty", "x y=2", "PWD=/", "OLDPWD=/usr", "_=z", "SHLVL=5",
        "LINENO=4", "PS1=p", "ENV=./script", "PS4=x", "MAIL=m", "HOME=", "A=b\nc", "PATH", "HOME"}) {
    trials.push_back({"env", variable(entry)});
  }
  for (const char* path : {"PATH=", "PATH=bin", "PATH=./bin:/usr/bin:/bin", "PATH=:/usr/bin", "PATH=/nowhere:/bin",
                           "PATH=/usr/bin:", "PATH=first:bin", "PATH=nx:/bin", "PATH=/bin%func", "PATH=/etc", "PATH"}) {
    for (const char* command : {"ls", "tool", "env", "nosuch"}) trials.push_back({command, variable(path)});
  }
  expect_same(trials);
}

// Words that can do no harm, whatever they are combined to.
std::string random_command(Random& random) {
  static const std::vector<std::string> first = {"echo",     "/bin/echo", "printf",   "ls",       "cat",
                                                 "true",     "false",     "test",     "[",        "env",
                                                 "expr",     "seq",       "./script", "bin/tool", "bin/noshebang",
                                                 "./noexec", "nosuch",    "a=b",      "A=1 env",  ".",
                                                 ":",        "exec",      "exit",     "cd",       "if",
                                                 "2",        "-x",        "%1",       "+x",       "@",
                                                 "basename", "dirname",   "pwd",      "command",  "export",
                                                 "unset",    "type",      "umask",    "{",        "}",
                                                 "!",        "case",      "eval",     "readlink", "./bad",
                                                 "~",        "tool",      "printenv", "return",   "break",
                                                 "local"};
  static const std::vector<std::string> more = {
      "a",     "b.c", "--",   "1",    "2",       "3",        "x=y",       "./script", "bin",  "noexec", "/dev/null",
      "$HOME", "$0",  "$#",   "${A}", "\"q q\"", "'s s'",    "\\",        "\\n",      "*",    "?",      "[a-z]*",
      "~",     "#",   "# c",  ";",    "&&",      "||",       "|",         "<noexec",  "2>&1", ">out",   "!",
      "(",     ")",   "{",    "}",    "=",       "%",        "%s",        "@",        "+",    ",",      ":",
      "-",     "_",   "^",    "\t",   "\n",      "`echo t`", "$(echo u)", "\xC3\xA9", "then", "fi",     "do",
      "done",  "in",  "esac", "ls",   "echo",    "env",      "."};
  std::string command = random.below(8) == 0 ? " " : "";
  command += first[random.below(first.size())];
  for (auto left = random.below(5); left > 0; --left) {
    command += random.below(12) == 0 ? "" : random.below(12) == 0 ? "   " : " ";
    command += more[random.below(more.size())];
  }
  return command;
}

TEST(DirectStart, RandomCommandsAreIndistinguishable) {
  Random random(20261128);
  static const std::vector<std::string> variables = {"A=1",   "PATH=bin:/bin", "PATH=/bin:bin", "IFS=:", "a-b=1",
                                                     "A=x y", "HOME=/h",       "OPTIND=2",      "PWD=x"};
  std::vector<Trial> trials;
  std::size_t direct = 0;
  while (trials.size() < 400) {
    Trial trial{random_command(random), {}};
    const bool plain = worker::plain_words(trial.command).has_value();
    if (!plain && random.below(4) != 0) continue;  // most of them are for the shell anyway
    if (plain) ++direct;
    if (random.below(3) == 0) trial.lines = variable(variables[random.below(variables.size())]);
    trials.push_back(std::move(trial));
  }
  EXPECT_GT(direct, 100U) << "otherwise it proves little";
  expect_same(trials);
}

}  // namespace
}  // namespace taskmill::test
