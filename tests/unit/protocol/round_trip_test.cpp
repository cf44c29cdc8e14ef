// What the formatter says, the parser of the other end understands: random messages, any bytes in names.
#include <gtest/gtest.h>

#include <random>

#include "protocol/format.hpp"
#include "tests/support/protocol_driver.hpp"

namespace taskmill::protocol {
namespace {

using testing::ManagerDriver;
using testing::to_text;
using testing::WorkerDriver;

class Generator {
 public:
  explicit Generator(unsigned seed) : engine_(seed) {}
  std::int64_t number(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  bool coin() { return number(0, 1) == 1; }
  std::string text(std::size_t longest, char low, char high) {
    std::string out;
    for (auto left = number(1, static_cast<std::int64_t>(longest)); left > 0; --left) {
      out += static_cast<char>(number(low, high));
    }
    return out;
  }
  std::string word(std::size_t longest = 20) { return text(longest, '!', '~'); }
  /// Any byte but NUL; not "/".
  std::string name() {
    std::string out;
    for (auto left = number(1, 20); left > 0; --left) {
      const auto byte = static_cast<char>(number(1, 255));
      out += byte == '/' || byte == '.' ? '_' : byte;
    }
    return out;
  }
  std::string cache_name() { return "file-" + text(30, 'a', 'z') + ".x"; }
  std::string bytes(std::size_t longest) {
    std::string out;
    for (auto left = number(0, static_cast<std::int64_t>(longest)); left > 0; --left) {
      out += static_cast<char>(number(1, 255));
    }
    return out;
  }

 private:
  std::mt19937 engine_;
};

TaskDescription random_task(Generator& g) {
  TaskDescription task;
  task.task_id = g.number(1, INT32_MAX);
  if (g.coin()) task.command = g.bytes(200);
  if (g.coin()) task.coprocess = g.word();
  if (g.coin()) task.category = g.word();
  if (g.coin()) task.cores = static_cast<double>(g.number(0, 64));
  if (g.coin()) task.gpus = static_cast<double>(g.number(0, 8));
  if (g.coin()) task.memory = static_cast<double>(g.number(0, 1 << 30));
  if (g.coin()) task.disk = static_cast<double>(g.number(0, 1 << 30));
  if (g.coin()) task.end_time_s = static_cast<double>(g.number(1, 4'000'000'000));
  if (g.coin()) task.wall_time = static_cast<double>(g.number(1, 1'000'000'000));
  if (g.coin()) task.limits.memory = static_cast<double>(g.number(0, 1 << 30));
  if (g.coin()) task.limits.disk = static_cast<double>(g.number(0, 1 << 30));
  if (g.coin()) task.limits.wall_time = static_cast<double>(g.number(0, 1'000'000'000));
  if (g.coin()) task.limits.processes = static_cast<double>(g.number(0, 1 << 20));
  if (g.coin()) {
    task.limits.cores = static_cast<double>(g.number(0, 64));
    task.limits.stop_for_cores = g.coin();
  }
  for (auto n = g.number(0, 4); n > 0; --n) task.env.push_back("V=" + g.bytes(30));
  for (auto n = g.number(0, 6); n > 0; --n) {
    if (g.coin()) {
      task.inputs.push_back({g.cache_name(), g.name(), static_cast<int>(g.number(0, 255)), false});
    } else {
      task.inputs.push_back({"", g.word(), 0, true});
    }
  }
  for (auto n = g.number(0, 6); n > 0; --n) {
    task.outputs.push_back({g.cache_name(), g.name(), static_cast<int>(g.number(0, 255))});
  }
  return task;
}

TEST(RoundTrip, RandomTasksArriveAsTheyWereSent) {
  Generator g(1);
  for (int i = 0; i < 2000; ++i) {
    const auto description = random_task(g);
    std::string bytes;
    ASSERT_TRUE(task(bytes, description, 11)) << to_text(description);
    WorkerDriver worker({});
    worker.feed(bytes);
    ASSERT_EQ(worker.events, std::vector<std::string>{to_text(description)}) << i;
  }
}

TEST(RoundTrip, RandomMessagesToTheWorker) {
  Generator g(2);
  for (int i = 0; i < 3000; ++i) {
    const auto name = g.name();
    const auto text = g.name();
    const auto size = static_cast<std::uint64_t>(g.number(0, 1'000'000'000));
    const auto mode = static_cast<unsigned>(g.number(0, 0777));
    const auto id = g.number(-5, INT32_MAX);
    std::vector<ToWorker> sent;
    std::string bytes;
    ASSERT_TRUE(put_url(bytes, text, name, size, mode));
    sent.emplace_back(PutUrl{text, name, size, mode});
    ASSERT_TRUE(put_command(bytes, text, name, size, mode));
    sent.emplace_back(PutCommand{text, name, size, mode});
    ASSERT_TRUE(unlink(bytes, name));
    sent.emplace_back(Unlink{name});
    ASSERT_TRUE(get(bytes, name, id > 0));
    sent.emplace_back(Get{name, id > 0});
    kill(bytes, id);
    sent.emplace_back(Kill{id});
    send_results(bytes, id);
    sent.emplace_back(SendResults{id});
    ASSERT_TRUE(dir_begin(bytes, name));
    sent.emplace_back(BeginDirectory{name});
    ASSERT_TRUE(symlink(bytes, name, text));
    const auto inside = name + "/" + name;
    sent.emplace_back(PutSymlink{inside, text});
    dir_end(bytes);
    sent.emplace_back(EndDirectory{name});
    ASSERT_TRUE(put_header(bytes, name, size, mode));
    sent.emplace_back(PutFile{name, size, mode});
    WorkerDriver worker({});
    worker.feed(bytes);
    ASSERT_EQ(worker.events.size(), sent.size()) << worker.events.back();
    for (std::size_t k = 0; k < sent.size(); ++k) ASSERT_EQ(worker.events[k], to_text(sent[k]));
  }
}

TEST(RoundTrip, RandomMessagesToTheManager) {
  Generator g(3);
  for (int i = 0; i < 3000; ++i) {
    const auto name = g.name();
    const auto word = g.word();
    const auto number = g.number(0, INT64_MAX);
    const auto length = static_cast<std::uint64_t>(number);
    std::vector<FromWorker> sent;
    std::string bytes;
    ASSERT_TRUE(greeting(bytes, 11, word, "Linux", "x86_64", "8.0.0"));
    sent.emplace_back(Greeting{11, word, "Linux", "x86_64", "8.0.0", ""});
    ASSERT_TRUE(info(bytes, word, "x " + word));
    const auto value = "x " + word;
    sent.emplace_back(Info{word, value});
    ASSERT_TRUE(feature(bytes, name));
    sent.emplace_back(Feature{name});
    const auto resource_name = "r" + word;
    resource(bytes, resource_name, 5, 4, 3);
    sent.emplace_back(ResourceReport{resource_name, 5, 4, 3});
    ASSERT_TRUE(cache_update(bytes, word, length, length));
    sent.emplace_back(CacheUpdate{word, length, length});
    result(bytes, 24, -1, 0, length, number, word);
    sent.emplace_back(TaskResult{24, -1, 0, length, number, word});
    ASSERT_TRUE(update(bytes, number, word, length, 0));
    sent.emplace_back(WatchUpdate{number, word, length, 0});
    end(bytes);
    sent.emplace_back(ResultsEnd{});
    ManagerDriver manager({});
    manager.session.expect_results();
    manager.feed(bytes);
    ASSERT_EQ(manager.events.size(), sent.size()) << manager.events.back();
    for (std::size_t k = 0; k < sent.size(); ++k) ASSERT_EQ(manager.events[k], to_text(sent[k]));
  }
}

TEST(RoundTrip, ItemsOfATreeWithAnyNames) {
  Generator g(4);
  for (int i = 0; i < 3000; ++i) {
    const auto root = g.cache_name();
    const auto path = g.name() + "/" + g.name();
    std::string bytes;
    const bool sayable = path.find_first_of("\n\r") == std::string::npos;
    ASSERT_EQ(dir_item(bytes, root + "/" + path), sayable);
    ASSERT_EQ(missing_item(bytes, root + "/" + path, 13), sayable);
    ASSERT_EQ(file_item(bytes, root + "/" + path, 0), sayable);
    if (!sayable) continue;
    ManagerDriver manager({});
    manager.session.expect_get(root);
    manager.feed(bytes);
    ASSERT_EQ(manager.events,
              (std::vector<std::string>{to_text(FromWorker(DirItem{path})), to_text(FromWorker(MissingItem{path, 13})),
                                        to_text(FromWorker(FileItem{path, 0}))}));
  }
}

}  // namespace
}  // namespace taskmill::protocol
