// The program as a user starts it: exit status, messages, local workers, interruption.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

extern char** environ;

namespace taskmill::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class CommandTest : public ::testing::Test {
 protected:
  CommandTest() {
    std::string name = (std::filesystem::temp_directory_path() / "command-test-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~CommandTest() override { std::filesystem::remove_all(directory_); }

  struct Finished {
    int code = -1;
    std::string text;  ///< standard output and error
  };
  pid_t start(const std::vector<std::string>& arguments, const std::string& program = MANAGER_PROGRAM) {
    std::vector<std::string> words{program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addchdir_np(&files, directory_.c_str());
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, path("printed").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    pid_t pid = -1;
    EXPECT_EQ(::posix_spawn(&pid, program.c_str(), &files, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&files);
    return pid;
  }
  Finished wait(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), read("printed")};
  }
  Finished run(const std::vector<std::string>& arguments) { return wait(start(arguments)); }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return file ? text.str() : "(no file)";
  }
  void wait_for(const std::string& name) const {
    for (int i = 0; i < 3000 && !std::filesystem::exists(path(name)); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::vector<nlohmann::json> records(const std::string& name) const {
    std::vector<nlohmann::json> out;
    if (!std::filesystem::exists(path(name))) return out;
    std::istringstream in(read(name));
    for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
    return out;
  }
  std::string directory_;
};

TEST_F(CommandTest, RunsEachLineOnLocalWorkers) {
  write("lines", "one\ntwo words\nit's\n");
  const auto done =
      run({"run",   "--each-line", "lines",  "--port", "0",   "--local-workers", "2",       "--cores",
           "1",     "--memory",    "500",    "--disk", "500", "--results",       "r.jsonl", "--stdout-dir",
           "texts", "--",          "printf", "%s",     "{}"});
  EXPECT_EQ(done.code, 0) << done.text;
  EXPECT_THAT(done.text, HasSubstr("3 of 3 tasks succeeded"));
  std::set<std::string> outputs;
  for (const auto& record : records("r.jsonl")) outputs.insert(record.at("output"));
  EXPECT_EQ(outputs, (std::set<std::string>{"one", "two words", "it's"}));
  EXPECT_EQ(read("texts/task-1.out").substr(0, 3).size(), 3U);
}

TEST_F(CommandTest, FailedTasksGiveOneAndAreGrouped) {
  write("t.jsonl",
        "{\"command\":\"exit 3\"}\n{\"command\":\"true\"}\n{\"command\":\"exit 3\"}\n{\"command\":\"cat "
        "x\",\"inputs\":[\"missing.txt=x\"]}\n");
  const auto done = run({"run", "t.jsonl", "--port", "0", "--local-workers", "1", "--verbose"});
  EXPECT_EQ(done.code, 1) << done.text;
  EXPECT_THAT(done.text, HasSubstr("1 of 4 tasks succeeded, 3 failed"));
  EXPECT_THAT(done.text, HasSubstr("2 × "));
  EXPECT_THAT(done.text, HasSubstr("missing.txt"));
  EXPECT_THAT(done.text, HasSubstr("submitted task id 1"));
  EXPECT_THAT(done.text, HasSubstr("allocated cores: "));
}

TEST_F(CommandTest, WrongLinesAreReportedBeforeAnythingRuns) {
  write("t.jsonl",
        "{\"command\":\"touch ran\"}\n{\"comand\":\"x\"}\nnot json\n{\"command\":\"x\",\"outputs\":[\"a=/abs\"]}\n");
  const auto done = run({"run", "t.jsonl", "--port", "0"});
  EXPECT_EQ(done.code, 2);
  EXPECT_THAT(done.text, HasSubstr("t.jsonl:2: "));
  EXPECT_THAT(done.text, HasSubstr("comand: unknown field; did you mean \"command\"?"));
  EXPECT_THAT(done.text, HasSubstr("t.jsonl:3: "));
  EXPECT_THAT(done.text, HasSubstr("t.jsonl:4: "));
  EXPECT_THAT(done.text, HasSubstr("nothing was run"));
}

TEST_F(CommandTest, KeepGoingRunsTheRightLines) {
  write("t.jsonl", "{\"command\":\"true\"}\n{\"comand\":\"x\"}\n");
  const auto done = run({"run", "t.jsonl", "--port", "0", "--keep-going", "--local-workers", "1"});
  EXPECT_EQ(done.code, 1) << done.text;
  EXPECT_THAT(done.text, HasSubstr("1 of 1 tasks succeeded"));
}

TEST_F(CommandTest, BadOptionsNameThemselves) {
  write("t.jsonl", "{\"command\":\"true\"}\n");
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"run"}, "no tasks"},
      {{"run", "nowhere.jsonl"}, "nowhere.jsonl"},
      {{"run", "."}, "directory"},
      {{"run", "t.jsonl", "--tune", "keepalive=1"}, "keepalive"},
      {{"run", "t.jsonl", "--tune", "keepalive-interval"}, "NAME=NUMBER"},
      {{"run", "t.jsonl", "--category", "c:memry=5"}, "memry"},
      {{"run", "t.jsonl", "--timeout", "soon"}, "--timeout soon"},
      {{"run", "t.jsonl", "-P", "nopass"}, "nopass"},
      {{"run", "t.jsonl", "--port", "99999"}, "port"},
      {{"run", "t.jsonl", "--ssl-key", "k.pem"}, "certificate"},
      {{"run", "t.jsonl", "--each-line", "t.jsonl"}, "not both"},
      {{"run", "--each-line", "t.jsonl"}, "needs a command"},
      {{"run", "t.jsonl", "--no-such-option"}, "--no-such-option"},
      {{"run", "t.jsonl", "--ssl-key", "nokey", "--ssl-cert", "nocert"}, "nocert: No such file"},
      {{"run", "t.jsonl", "--results", "no/where"}, "no/where: No such file"},
      {{"run", "t.jsonl", "--stats-log", "no/where"}, "no/where: No such file"},
      {{"run", "t.jsonl", "--output-dir", "t.jsonl/below"}, "t.jsonl/below"},
      {{"frobnicate"}, "frobnicate"},
      {{}, "subcommand"},
  };
  for (const auto& [arguments, wanted] : cases) {
    const auto done = run(arguments);
    EXPECT_EQ(done.code, 2) << wanted << "\n" << done.text;
    EXPECT_THAT(done.text, HasSubstr(wanted));
    EXPECT_THAT(done.text, StartsWith("work_queue_manager: "));
    EXPECT_EQ(std::count(done.text.begin(), done.text.end(), '\n'), 1) << "one clear line:\n" << done.text;
  }
}

TEST_F(CommandTest, EveryWrongLineIsNamedInOrderWithItsField) {
  write("t.jsonl",
        "{\"command\":\"x\",\"category\":\"two words\"}\n{\"command\":\"x\",\"cores\":\"many\"}\n"
        "{\"command\":\"x\",\"inputs\":[\"a=x\",\"b=x\"]}\n{\"command\":\"x\",\"memory\":-1}\n");
  const auto done = run({"run", "t.jsonl", "--port", "0"});
  EXPECT_EQ(done.code, 2);
  std::size_t last = 0;
  for (const char* wanted : {"t.jsonl:1: category: ", "t.jsonl:2: cores: ", "t.jsonl:3: inputs[1]: ",
                             "t.jsonl:4: memory: ", "nothing was run: 4 problems in t.jsonl"}) {
    const auto at = done.text.find(wanted, last);
    ASSERT_NE(at, std::string::npos) << wanted << "\n" << done.text;
    last = at;
  }
}

TEST_F(CommandTest, FullDiskIsToldAndNotASuccess) {
  write("t.jsonl", "{\"command\":\"echo x\"}\n");
  const auto results = run({"run", "t.jsonl", "--port", "0", "--local-workers", "1", "--results", "/dev/full"});
  EXPECT_EQ(results.code, 1) << results.text;
  EXPECT_THAT(results.text, HasSubstr("--results /dev/full: No space left on device"));
  EXPECT_THAT(results.text, HasSubstr("1 of 1 tasks succeeded"));
  const auto log = run({"run", "t.jsonl", "--port", "0", "--local-workers", "1", "--transactions-log", "/dev/full"});
  EXPECT_THAT(log.text, HasSubstr("the log /dev/full cannot be written: No space left on device"));
  EXPECT_EQ(log.code, 0) << "a log is no result:\n" << log.text;
  std::filesystem::remove(path("printed"));
  std::filesystem::create_symlink("/dev/full", path("printed"));
  int status = 0;  // not through wait(): nobody reads /dev/full to its end
  ::waitpid(start({"run", "t.jsonl", "--port", "0", "--local-workers", "1"}), &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST_F(CommandTest, TaskIsStoppedAtItsRunningTimeByOurWorker) {
  write("t.jsonl", "{\"command\":\"sleep 300\",\"max_running_time\":1}\n");
  const auto done = run({"run", "t.jsonl", "--port", "0", "--local-workers", "1", "--results", "r.jsonl"});
  EXPECT_EQ(done.code, 1) << done.text;
  EXPECT_THAT(done.text, HasSubstr("1 × MAX_WALL_TIME"));
  EXPECT_LT(records("r.jsonl").at(0).at("execution").get<double>(), 200);
}

TEST_F(CommandTest, HelpAndVersionAreNoErrors) {
  EXPECT_EQ(run({"--help"}).code, 0);
  const auto help = run({"run", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.text, HasSubstr("--each-line"));
  EXPECT_THAT(help.text, HasSubstr("Exit status"));
  EXPECT_THAT(run({"--version"}).text, HasSubstr("work_queue_manager"));
}

TEST_F(CommandTest, InterruptKeepsResultsAndEndsWith130) {
  std::string tasks;
  for (int i = 0; i < 3; ++i) tasks += "{\"command\":\"true\",\"cores\":1,\"memory\":10,\"disk\":10}\n";
  for (int i = 0; i < 50; ++i) tasks += "{\"command\":\"sleep 60\",\"cores\":1,\"memory\":10,\"disk\":10}\n";
  write("t.jsonl", tasks);
  const auto pid =
      start({"run", "t.jsonl", "--port", "0", "--local-workers", "1", "--cores", "1", "--results", "r.jsonl"});
  for (int i = 0; i < 3000 && records("r.jsonl").size() < 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ::kill(pid, SIGINT);
  const auto done = wait(pid);
  EXPECT_EQ(done.code, 130) << done.text;
  EXPECT_THAT(done.text, HasSubstr("3 of 53 tasks succeeded, 50 not finished"));
  EXPECT_EQ(records("r.jsonl").size(), 3U);
}

TEST_F(CommandTest, JournalMakesASecondRunDoTheRest) {
  write("t.jsonl", "{\"command\":\"echo x >> " + path("count") + "\"}\n{\"command\":\"test -e " + path("go") + "\"}\n");
  const std::vector<std::string> arguments{"run", "t.jsonl", "--port", "0", "--local-workers", "1", "--journal", "j"};
  EXPECT_EQ(run(arguments).code, 1);
  write("go", "");
  const auto second = run(arguments);
  EXPECT_EQ(second.code, 0) << second.text;
  EXPECT_THAT(second.text, HasSubstr("1 tasks were done in an earlier run"));
  EXPECT_EQ(read("count"), "x\n");
}

TEST_F(CommandTest, OutputsStayBelowTheOutputDirectory) {
  write("bad.jsonl", "{\"command\":\"true\",\"outputs\":[\"../escape=out\"]}\n");
  EXPECT_THAT(run({"run", "bad.jsonl", "--port", "0", "--output-dir", "out"}).text, HasSubstr("leaves --output-dir"));
  write("good.jsonl", "{\"command\":\"echo hi > o\",\"outputs\":[\"sub/x=o\"]}\n");
  EXPECT_EQ(run({"run", "good.jsonl", "--port", "0", "--output-dir", "out", "--local-workers", "1"}).code, 0);
  EXPECT_EQ(read("out/sub/x"), "hi\n");
}

TEST_F(CommandTest, EndsAtItsTimeout) {
  write("t.jsonl", "{\"command\":\"sleep 60\"}\n");
  const auto done = run({"run", "t.jsonl", "--port", "0", "--timeout", "1"});
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.text, HasSubstr("1 tasks were not finished"));
}

TEST_F(CommandTest, ResultsSurviveATornRecord) {
  write("r.jsonl", "{\"task\":0}\n{\"torn");
  write("t.jsonl", "{\"command\":\"true\"}\n");
  EXPECT_EQ(run({"run", "t.jsonl", "--port", "0", "--local-workers", "1", "--results", "r.jsonl"}).code, 0);
  EXPECT_EQ(records("r.jsonl").size(), 2U);
}

TEST_F(CommandTest, LocalWorkersSpeakTlsWithAPassword) {
  write("password", "secret\n");
  write("t.jsonl", "{\"command\":\"echo secret work\"}\n");
  const auto done = run({"run", "t.jsonl", "--port", "0", "--local-workers", "1", "--ssl", "-P", "password"});
  EXPECT_EQ(done.code, 0) << done.text;
}

TEST_F(CommandTest, ExampleProgramOfTheLibraryWorks) {
  const auto squares = start({"--port-file", "port", "5"}, SQUARES_PROGRAM);
  wait_for("port");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto port = read("port").substr(0, read("port").find('\n'));
  pid_t worker = -1;
  std::vector<std::string> words{WORKER_PROGRAM, "--single-shot", "-t", "10", "127.0.0.1", port};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  ASSERT_EQ(::posix_spawn(&worker, WORKER_PROGRAM, &files, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&files);
  const auto done = wait(squares);
  ::kill(worker, SIGTERM);
  ::waitpid(worker, nullptr, 0);
  EXPECT_EQ(done.code, 0) << done.text;
  EXPECT_THAT(done.text, HasSubstr("5 squared is 25"));
}

}  // namespace
}  // namespace taskmill::test
