// Files, trees, buffers and standard output, both ways, and what happens when one side cannot read or write.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/integration/manager/manager_fixture.hpp"

namespace taskmill::test {
namespace {

using manager::FileKind;
using manager::OutputWhen;
using protocol::ResultCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(ManagerTest, SendsACachedInputOnceAndFetchesEveryOutput) {
  start();
  write("in.txt", "hello");
  auto& w = worker([](const ScriptedTask& t, const auto& cache) {
    return ok("text of " + std::to_string(t.id), {{"out", cache.at(t.inputs.at("in.txt")) + t.command}});
  });
  for (int i = 1; i <= 5; ++i) {
    auto spec = task("n" + std::to_string(i));
    spec.inputs = {manager::input_file(path("in.txt"))};
    spec.outputs = {manager::output_file(path("deep/er/out" + std::to_string(i)), "out")};
    submit(spec);
  }
  const auto done = wait_all();
  ASSERT_EQ(done.size(), 5U);
  for (const auto& [id, finished] : done) {
    EXPECT_TRUE(finished.succeeded()) << finished.outcome.message;
    EXPECT_EQ(finished.text_string(), "text of " + std::to_string(id));
    EXPECT_EQ(read("deep/er/out" + std::to_string(id)), "hellon" + std::to_string(id));
  }
  EXPECT_EQ(w.puts(), 1);
  struct stat info {};
  ASSERT_EQ(::stat(path("deep/er/out1").c_str(), &info), 0);
  const auto mask = ::umask(0);
  ::umask(mask);
  EXPECT_EQ(info.st_mode & 0777U, 0777U & ~mask);
  EXPECT_THAT(leftovers(), IsEmpty());
}

TEST_F(ManagerTest, SendsBuffersPiecesAndLargeFilesExactly) {
  start();
  std::string big(5'000'000, '\0');
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 7 + i / 1000);
  write("big.bin", big);
  worker([&](const ScriptedTask& t, const auto& cache) {
    const auto same = [&](const char* name, std::string_view wanted) { return cache.at(t.inputs.at(name)) == wanted; };
    EXPECT_TRUE(same("big.bin", big));
    EXPECT_TRUE(same("a", "AAAA"));
    EXPECT_TRUE(same("b", "BBBBBB"));
    EXPECT_TRUE(same("large", std::string(200'000, 'L')));
    EXPECT_TRUE(same("p1", std::string_view(big).substr(0, 5)));
    EXPECT_TRUE(same("p2", std::string_view(big).substr(1000, 100'000)));
    return ok();
  });
  auto spec = task("check");
  spec.inputs = {manager::input_file(path("big.bin")),
                 manager::input_buffer("AAAA", "a", true),
                 manager::input_buffer("BBBBBB", "b", true),
                 manager::input_buffer(std::string(200'000, 'L'), "large"),
                 manager::input_piece(path("big.bin"), "p1", 0, 4),
                 manager::input_piece(path("big.bin"), "p2", 1000, 100'999)};
  submit(spec);
  EXPECT_TRUE(wait_all().at(1).succeeded());
}

TEST_F(ManagerTest, SendsATreeWithLinksAndReceivesOne) {
  start();
  write("tree/a.txt", "A");
  write("tree/sub/deep/b.bin", std::string(100'000, 'b'));
  std::filesystem::create_directories(path("tree/empty"));
  std::filesystem::create_symlink("a.txt", path("tree/link"));
  ASSERT_EQ(::mkfifo(path("tree/fifo").c_str(), 0600), 0);
  ScriptedWorker::Script script;
  script.run = [](const ScriptedTask& t, const auto& cache) {
    const auto name = t.inputs.at("tree");
    EXPECT_EQ(cache.at(name + "/a.txt"), "A");
    EXPECT_EQ(cache.at(name + "/sub/deep/b.bin"), std::string(100'000, 'b'));
    EXPECT_EQ(cache.count(name + "/empty/"), 1U);
    EXPECT_EQ(cache.at(name + "/link"), std::string("-> a.txt\0", 9));
    EXPECT_EQ(cache.count(name + "/fifo"), 0U);
    return ok("", {{"result", "tree"}});
  };
  script.answer_get = [](const std::string& name, const std::string&) {
    return "dir " + name + " 0\nfile " + name + "/x 1\nXdir " + name + "/s 0\nfile " + name + "/s/y z 2\nYYend\n";
  };
  worker(script);
  auto spec = task("tree");
  spec.inputs = {manager::input_file(path("tree"))};
  spec.outputs = {manager::output_file(path("got"), "result")};
  submit(spec);
  const auto done = wait_all();
  EXPECT_TRUE(done.at(1).succeeded()) << done.at(1).outcome.message;
  EXPECT_EQ(read("got/x"), "X");
  EXPECT_EQ(read("got/s/y z"), "YY");
}

TEST_F(ManagerTest, SendsATreeOfManyFilesInBoundedPieces) {
  start();
  for (int i = 0; i < 500; ++i) write("many/f" + std::to_string(i), std::string(1000, static_cast<char>('a' + i % 26)));
  write("many/large", std::string(3'000'000, 'L'));
  worker([](const ScriptedTask& t, const auto& cache) {
    const auto name = t.inputs.at("many");
    EXPECT_EQ(cache.at(name + "/large").size(), 3'000'000U);
    for (int i = 0; i < 500; ++i)
      EXPECT_EQ(cache.at(name + "/f" + std::to_string(i)), std::string(1000, static_cast<char>('a' + i % 26)));
    return ok();
  });
  auto spec = task("many");
  spec.inputs = {manager::input_file(path("many"))};
  submit(spec);
  EXPECT_TRUE(wait_all().at(1).succeeded());
}

TEST_F(ManagerTest, ReturnsATaskWithoutItsInputAndGoesOn) {
  start();
  worker([](const ScriptedTask&, const auto&) { return ok(); });
  auto spec = task("cannot");
  spec.inputs = {manager::input_file(path("nowhere.txt"))};
  const auto bad = submit(spec);
  const auto good = submit(task("can"));
  const auto done = wait_all();
  EXPECT_EQ(done.at(bad.value()).outcome.result, ResultCode::input_missing);
  EXPECT_EQ(done.at(bad.value()).outcome.return_status, -1);
  EXPECT_THAT(done.at(bad.value()).outcome.message, HasSubstr("nowhere.txt"));
  EXPECT_TRUE(done.at(good.value()).succeeded());
}

TEST_F(ManagerTest, RefusesAPieceBehindTheEnd) {
  start();
  write("short", "12345");
  worker([](const ScriptedTask&, const auto&) { return ok(); });
  auto spec = task("piece");
  spec.inputs = {manager::input_piece(path("short"), "p", 3, 9)};
  submit(spec);
  const auto done = wait_all();
  EXPECT_EQ(done.at(1).outcome.result, ResultCode::input_missing);
}

TEST_F(ManagerTest, KeepsTheWorkerWhenAnOutputCannotBeStored) {
  start();
  std::filesystem::create_directories(path("occupied"));
  write("file", "in the way");
  auto& w = worker([](const ScriptedTask&, const auto&) {
    return ok("", {{"a", "AAA"}, {"b", std::string(2'000'000, 'b')}, {"c", "C"}});
  });
  auto spec = task("three outputs");
  spec.outputs = {manager::output_file(path("occupied"), "a"), manager::output_file(path("file/x"), "b"),
                  manager::output_file(path("good"), "c")};
  submit(spec);
  submit(task("next"));
  const auto done = wait_all();
  EXPECT_EQ(done.at(1).outcome.result, ResultCode::output_transfer_error);
  EXPECT_THAT(done.at(1).outcome.message, HasSubstr("occupied"));
  EXPECT_EQ(read("good"), "C");
  EXPECT_TRUE(done.at(2).succeeded());
  EXPECT_EQ(w.tasks(), 2);
  EXPECT_EQ(manager_->stats().workers_lost, 0);
}

TEST_F(ManagerTest, ReportsAMissingOutputAndStoresTheOthers) {
  start();
  worker([](const ScriptedTask&, const auto&) {
    auto result = ok("", {{"b", "B"}});
    result.exit_code = 3;
    return result;
  });
  auto spec = task("half");
  spec.outputs = {manager::output_file(path("a")), manager::output_file(path("b"))};
  submit(spec);
  const auto done = wait_all();
  EXPECT_EQ(done.at(1).outcome.result, ResultCode::output_missing);
  EXPECT_EQ(done.at(1).outcome.return_status, 3);
  EXPECT_EQ(read("b"), "B");
}

TEST_F(ManagerTest, FetchesByOutcome) {
  start();
  worker([](const ScriptedTask& t, const auto&) {
    auto result = ok("", {{"log", "L"}, {"data", "D"}});
    result.exit_code = t.command == "fail" ? 1 : 0;
    return result;
  });
  for (const auto* name : {"fail", "win"}) {
    auto spec = task(name);
    spec.outputs = {manager::output_file(path(std::string(name) + ".log"), "log", OutputWhen::on_failure),
                    manager::output_file(path(std::string(name) + ".data"), "data", OutputWhen::on_success)};
    submit(spec);
  }
  wait_all();
  EXPECT_EQ(read("fail.log"), "L");
  EXPECT_EQ(read("fail.data"), "(no file)");
  EXPECT_EQ(read("win.log"), "(no file)");
  EXPECT_EQ(read("win.data"), "D");
}

TEST_F(ManagerTest, KeepsLargeStandardOutputInAFile) {
  options_.stdout_memory = 1000;
  options_.spool_directory = directory_;
  start();
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += std::to_string(i) + "\n";
  worker([&](const ScriptedTask& t, const auto&) { return ok(t.id == 1 ? text : "small"); });
  submit(task("large"));
  submit(task("small"));
  const auto done = wait_all();
  EXPECT_FALSE(done.at(1).text->in_memory());
  EXPECT_EQ(done.at(1).text->size(), text.size());
  EXPECT_TRUE(done.at(1).text_string(text.size()) == text);
  EXPECT_TRUE(done.at(2).text->in_memory());
  EXPECT_EQ(done.at(2).text_string(), "small");
}

TEST_F(ManagerTest, WritesWatchedOutputAsItGrows) {
  start();
  ScriptedWorker::Script script;
  script.run = [](const ScriptedTask&, const auto&) { return ok("", {{"log", "one two three"}}); };
  script.updates = [](const ScriptedTask& t) {
    return "update " + std::to_string(t.id) + " log 0 4\none update " + std::to_string(t.id) + " log 4 3\ntwoupdate " +
           std::to_string(t.id) + " unknown 0 3\nxxx" + "update 77 log 0 2\nyy";
  };
  worker(script);
  auto spec = task("watch");
  spec.outputs = {manager::output_file(path("log"))};
  spec.outputs[0].watch = true;
  submit(spec);
  EXPECT_TRUE(wait_all().at(1).succeeded());
  EXPECT_EQ(read("log"), "one two three");
}

TEST_F(ManagerTest, WritesThroughToADeviceAndDoesNotReplaceIt) {
  start();
  worker([](const ScriptedTask&, const auto&) { return ok("", {{"out", "thrown away"}}); });
  auto spec = task("null");
  spec.outputs = {manager::output_file("/dev/null", "out")};
  submit(spec);
  EXPECT_TRUE(wait_all().at(1).succeeded());
  struct stat info {};
  ASSERT_EQ(::stat("/dev/null", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
}

TEST_F(ManagerTest, PassesUrlsAndCommandsToANewWorker) {
  start();
  worker([](const ScriptedTask& t, const auto& cache) {
    EXPECT_EQ(cache.at(t.inputs.at("u")), "puturl http://localhost/a b");
    EXPECT_EQ(cache.at(t.inputs.at("c")), "putcmd date > %%");
    return ok();
  });
  auto spec = task("sources");
  spec.inputs = {manager::input_url("http://localhost/a b", "u"), manager::input_command("date > %%", "c")};
  submit(spec);
  EXPECT_TRUE(wait_all().at(1).succeeded());
}

ScriptedWorker::Script old_worker() {
  ScriptedWorker::Script script;
  script.version = 9;
  script.run = [](const ScriptedTask& t, const auto& cache) { return ok(cache.at(t.inputs.at("u"))); };
  return script;
}

TEST_F(ManagerTest, FetchesUrlsForOldWorkersAndSaysWhyItCannot) {
  write("page", "the page");
  start();
  worker(old_worker());
  auto spec = task("cat u");
  spec.inputs = {manager::input_url("file://" + path("page"), "u")};
  submit(spec);
  spec.inputs = {manager::input_url("file://" + path("nowhere"), "u")};
  submit(spec);
  const auto done = wait_all();
  EXPECT_EQ(done.at(1).text_string(), "the page");
  EXPECT_EQ(done.at(2).outcome.result, protocol::ResultCode::input_missing);
  EXPECT_THAT(done.at(2).outcome.message, ::testing::HasSubstr("nowhere: cannot be fetched (curl: (37)"));
}

// A worker of version 9 leaves when it reads of a file that it was not given, and takes its other tasks with it.
TEST_F(ManagerTest, TaskWhoseInputFailedIsNeverSentHoweverBusyTheLink) {
  write("big", std::string(64 << 20, 'x'));
  start();
  ScriptedWorker::Script script = old_worker();
  script.cores = 2;
  script.run = [](const ScriptedTask& t, const auto& cache) {
    for (const auto& [sandbox, name] : t.inputs) EXPECT_TRUE(cache.contains(name)) << t.command << " " << sandbox;
    return ok();
  };
  auto& w = worker(std::move(script));
  auto spec = task("uses the big one");
  spec.inputs = {manager::input_file(path("big"), "big")};
  submit(spec);
  spec = task("cannot run");
  spec.inputs = {manager::input_url("file://" + path("nowhere"), "u")};
  submit(spec);
  const auto done = wait_all();
  EXPECT_TRUE(done.at(1).succeeded());
  EXPECT_EQ(done.at(1).outcome.try_count, 1U);
  EXPECT_EQ(done.at(2).outcome.result, protocol::ResultCode::input_missing);
  EXPECT_EQ(w.tasks(), 1);
}

// The server accepts and says nothing: without an end of its own the download would take two minutes.
TEST_F(ManagerTest, EndsWhileItFetchesAUrl) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  start();
  worker(old_worker());
  auto spec = task("cat u");
  spec.inputs = {manager::input_url("http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/", "u")};
  submit(spec);
  std::atomic<int> client{-1};
  std::thread accepting([&] { client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); });
  while (client < 0) manager_->run_for(std::chrono::milliseconds(20));
  accepting.join();
  const auto began = std::chrono::steady_clock::now();
  manager_->finish();
  workers_.clear();
  manager_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
  ::close(client);
  ::close(listener);
}

}  // namespace
}  // namespace taskmill::test
