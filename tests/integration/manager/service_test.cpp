// What a manager offers beside running tasks: status, HTTP, the name, cancelling, the journal, logs.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/integration/manager/manager_fixture.hpp"

namespace taskmill::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ServiceTest : public ManagerTest {
 protected:
  /// Sends a line, serves for a while and returns the whole answer.
  std::string ask(const std::string& request) {
    std::string answer;
    std::atomic<bool> done = false;
    std::thread client([&, port = manager_->port()] {
      LineSocket socket(port);
      socket.send(request);
      answer = socket.read_all();
      done = true;
    });
    while (!done) manager_->run_for(std::chrono::milliseconds(5));
    client.join();
    return answer;
  }
};

TEST_F(ServiceTest, QueueStatusHasTheKeysOfTheCatalogRecord) {
  options_.project = "spec-demo";
  options_.catalogs = "127.0.0.1:9";
  start();
  auto& w = worker([](const ScriptedTask&, const auto&) { return ok(); });
  submit(task("t"));
  wait_all();
  const auto status = json::parse(ask("queue_status\n"));
  ASSERT_TRUE(status.is_array());
  const auto& queue = status.at(0);
  for (const auto* key : {"type",
                          "project",
                          "starttime",
                          "working_dir",
                          "owner",
                          "version",
                          "port",
                          "priority",
                          "manager_preferred_connection",
                          "protocol",
                          "ssl",
                          "network_interfaces",
                          "workers",
                          "workers_connected",
                          "workers_init",
                          "workers_idle",
                          "workers_busy",
                          "workers_able",
                          "workers_joined",
                          "workers_removed",
                          "workers_released",
                          "workers_idled_out",
                          "workers_fast_aborted",
                          "workers_lost",
                          "tasks_waiting",
                          "tasks_on_workers",
                          "tasks_running",
                          "tasks_with_results",
                          "tasks_left",
                          "tasks_submitted",
                          "tasks_dispatched",
                          "tasks_done",
                          "tasks_failed",
                          "tasks_cancelled",
                          "tasks_exhausted_attempts",
                          "tasks_complete",
                          "time_when_started",
                          "time_send",
                          "time_receive",
                          "time_send_good",
                          "time_receive_good",
                          "time_status_msgs",
                          "time_internal",
                          "time_polling",
                          "time_application",
                          "time_workers_execute",
                          "time_workers_execute_good",
                          "time_workers_execute_exhaustion",
                          "bytes_sent",
                          "bytes_received",
                          "capacity_tasks",
                          "capacity_cores",
                          "capacity_memory",
                          "capacity_disk",
                          "capacity_gpus",
                          "capacity_instantaneous",
                          "capacity_weighted",
                          "manager_load",
                          "workers_inuse",
                          "workers_total",
                          "workers_smallest",
                          "workers_largest",
                          "cores_inuse",
                          "cores_total",
                          "cores_smallest",
                          "cores_largest",
                          "memory_inuse",
                          "memory_total",
                          "memory_smallest",
                          "memory_largest",
                          "disk_inuse",
                          "disk_total",
                          "disk_smallest",
                          "disk_largest",
                          "gpus_inuse",
                          "gpus_total",
                          "gpus_smallest",
                          "gpus_largest",
                          "categories",
                          "tasks_total_cores",
                          "tasks_total_memory",
                          "tasks_total_disk",
                          "tasks_total_gpus"}) {
    EXPECT_TRUE(queue.contains(key)) << key;
  }
  EXPECT_EQ(queue.at("type"), "wq_master");
  EXPECT_EQ(queue.at("project"), "spec-demo");
  EXPECT_EQ(queue.at("tasks_done"), 1);
  EXPECT_EQ(queue.at("workers_connected"), 1);
  EXPECT_EQ(queue.at("cores_total"), 1);
  EXPECT_EQ(w.tasks(), 1);
}

TEST_F(ServiceTest, TaskStatusOfManyTasksArrivesWhole) {
  start();
  manager::TaskSpec spec = task("echo \"quoted\" \xFF\xC3\xA9");
  spec.tag = "tag";
  spec.priority = 1.25;
  std::vector<manager::TaskSpec> many(20'000, spec);
  ASSERT_TRUE(manager_->submit(many).has_value());
  const auto status = json::parse(ask("task_status\n"));
  ASSERT_EQ(status.size(), 20'000U);
  EXPECT_EQ(status.at(0).at("taskid"), 1);
  EXPECT_EQ(status.at(19'999).at("taskid"), 20'000);
  EXPECT_EQ(status.at(7).at("state"), "WAITING");
  EXPECT_EQ(status.at(7).at("priority"), "1.2");
  EXPECT_EQ(status.at(7).at("cores"), 1);
  EXPECT_EQ(status.at(7).at("command"), "echo \"quoted\" \xEF\xBF\xBD\xC3\xA9");
}

TEST_F(ServiceTest, WorkerAndCategoryStatus) {
  start();
  worker([](const ScriptedTask&, const auto&) { return ok(); });
  auto spec = task("t");
  spec.category = "analysis";
  submit(spec);
  wait_all();
  const auto workers = json::parse(ask("worker_status\n"));
  ASSERT_EQ(workers.size(), 1U);
  EXPECT_EQ(workers.at(0).at("hostname"), "scripted");
  EXPECT_EQ(workers.at(0).at("cores_total"), 1);
  EXPECT_EQ(workers.at(0).at("total_tasks_complete"), 1);
  const auto categories = json::parse(ask("wable_status\n"));
  ASSERT_EQ(categories.size(), 1U);
  EXPECT_EQ(categories.at(0).at("category"), "analysis");
  EXPECT_EQ(categories.at(0).at("max_memory"), "na");
  EXPECT_EQ(categories.at(0).at("tasks_done"), 1);
}

TEST_F(ServiceTest, HttpAnswersWithBareLineEnds) {
  start();
  EXPECT_THAT(
      ask("GET /queue_status HTTP/1.1\r\nHost: x\r\n\r\n"),
      StartsWith("HTTP/1.1 200 OK\nConnection: close\nAccess-Control-Allow-Origin: *\nContent-type: text/plain\n\n[{"));
  EXPECT_THAT(ask("GET / HTTP/1.0\n\n"), HasSubstr("<a href=\"/worker_status\">"));
  EXPECT_THAT(ask("GET /nothing HTTP/1.0\n\n"), ::testing::EndsWith("text/plain\n\n"));
  EXPECT_THAT(ask("GET /tasks HTTP/1.0\n\n"), ::testing::EndsWith("\n\n[]"));
}

TEST_F(ServiceTest, StatusClientsAreNoLostWorkers) {
  start();
  ask("queue_status\n");
  EXPECT_EQ(manager_->stats().workers_lost, 0);
  EXPECT_EQ(manager_->stats().workers_connected, 0);
}

TEST_F(ServiceTest, TellsItsName) {
  options_.project = "my-project";
  options_.catalogs = "127.0.0.1:9";
  start();
  LineSocket socket(manager_->port());
  socket.send("name\n");
  std::string name;
  std::thread reader([&] { name = socket.read_line(); });
  manager_->run_for(std::chrono::milliseconds(200));
  reader.join();
  EXPECT_EQ(name, "my-project");
}

TEST_F(ServiceTest, CancelsWaitingAndRunningTasks) {
  start();
  LineSocket slow(manager_->port());
  slow.send(greeting("slow"));
  const auto running = submit(task("running"));
  while (manager_->stats().tasks_on_workers == 0) manager_->run_for(std::chrono::milliseconds(5));
  auto spec = task("waiting");
  spec.tag = "w";
  submit(spec);
  EXPECT_TRUE(manager_->cancel(running));
  EXPECT_TRUE(manager_->cancel_by_tag("w"));
  EXPECT_FALSE(manager_->cancel(TaskId(99)));
  const auto done = wait_all();
  ASSERT_EQ(done.size(), 2U);
  for (const auto& [id, finished] : done) EXPECT_TRUE(finished.cancelled);
  manager_->run_for(std::chrono::milliseconds(100));
  std::string line;
  while (!slow.closed() && line != "kill 1") line = slow.read_line();
  EXPECT_EQ(line, "kill 1");
}

TEST_F(ServiceTest, JournalSkipsWhatAnEarlierRunFinished) {
  options_.journal = path("journal");
  start();
  worker([](const ScriptedTask& t, const auto&) {
    auto result = ok();
    result.exit_code = t.command == "bad" ? 1 : 0;
    return result;
  });
  ASSERT_TRUE(manager_->submit(task("good"), "key-good")->valid());
  ASSERT_TRUE(manager_->submit(task("bad"), "key-bad")->valid());
  EXPECT_EQ(wait_all().size(), 2U);
  {
    auto second = manager::Manager::create(options_);
    ASSERT_FALSE(second.has_value());
    EXPECT_THAT(second.error().text, HasSubstr("in use by another manager"));
  }
  manager_->finish();
  workers_.clear();
  manager_.reset();
  { std::ofstream(path("journal/journal.log"), std::ios::app) << "D torn-reco"; }
  start();
  EXPECT_FALSE(manager_->submit(task("good"), "key-good")->valid());
  EXPECT_TRUE(manager_->submit(task("bad"), "key-bad")->valid());
  EXPECT_EQ(manager_->skipped(), 1U);
}

TEST_F(ServiceTest, WritesLogsInTheOldFormats) {
  options_.transactions_log = path("tr");
  options_.stats_log = path("st");
  options_.debug_log = path("dbg");
  start();
  worker([](const ScriptedTask&, const auto&) { return ok("", {{"out", "o"}}); });
  auto spec = task("t");
  spec.outputs = {manager::output_file(path("out"))};
  submit(spec);
  wait_all();
  manager_->finish();
  const auto transactions = read("tr");
  EXPECT_EQ(std::count(transactions.begin(), transactions.end(), '#'), 12);
  for (const auto* part :
       {" MANAGER START\n", " TASK 1 WAITING default FIRST_RESOURCES {", " CONNECTION\n", "  CONNECTION",
        " TASK 1 RUNNING 127.0.0.1:", " TASK 1 WAITING_RETRIEVAL 127.0.0.1:", " TRANSFER OUTPUT 1 0 0.000001 ",
        " TASK 1 DONE SUCCESS  0  {} {", "  DISCONNECTION EXPLICIT\n", " MANAGER END\n"}) {
    EXPECT_THAT(transactions, HasSubstr(part));
  }
  std::istringstream statistics(read("st"));
  std::string header, line;
  std::getline(statistics, header);
  std::getline(statistics, line);
  const auto columns = [](const std::string& text) { return std::count(text.begin(), text.end(), ' ') + 1; };
  EXPECT_EQ(columns(header), 57);  // "# timestamp …"
  EXPECT_EQ(columns(line), 56);
  const auto debug = read("dbg");
  EXPECT_THAT(debug, HasSubstr("tx to scripted (127.0.0.1:"));
  EXPECT_THAT(debug, HasSubstr("wq: rx from scripted (127.0.0.1:"));
}

TEST_F(ServiceTest, PortInUseIsOneClearLine) {
  start();
  auto options = options_;
  options.port = options.last_port = manager_->port();
  const auto second = manager::Manager::create(options);
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error().text, HasSubstr("port " + std::to_string(manager_->port()) + " is in use"));
}

TEST_F(ServiceTest, ThousandWorkersAtTheSameInstantAreAllServed) {
  start();
  std::vector<std::unique_ptr<LineSocket>> crowd;
  for (int i = 0; i < 1000; ++i) {
    crowd.push_back(std::make_unique<LineSocket>(manager_->port()));
    crowd.back()->send(greeting("crowd-" + std::to_string(i)));
  }
  for (int i = 0; i < 200 && manager_->stats().workers_connected < 1000; ++i)
    manager_->run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(manager_->stats().workers_connected, 1000);
  EXPECT_EQ(manager_->stats().total_cores, 1000);
}

TEST_F(ServiceTest, WaitsForATagAndReturnsTheOthersLater) {
  start();
  worker([](const ScriptedTask&, const auto&) { return ok(); });
  for (const auto* tag : {"a", "b", "a"}) {
    auto spec = task("t");
    spec.tag = tag;
    submit(spec);
  }
  const auto b = manager_->wait_for_tag("b", std::chrono::seconds(30));
  ASSERT_TRUE(b.has_value());
  EXPECT_EQ(b->spec.tag, "b");
  EXPECT_EQ(wait_all().size(), 2U);
  EXPECT_FALSE(manager_->wait_for_tag("b", std::chrono::seconds(1)).has_value());
}

TEST_F(ServiceTest, WrongTasksAreRefusedWithTheNameOfTheField) {
  start();
  auto spec = task("t");
  spec.outputs = {manager::output_file("x", "/absolute")};
  const auto refused = manager_->submit(spec);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().text, HasSubstr("/absolute"));
  spec = task("t");
  spec.category = "line\nbreak";
  EXPECT_FALSE(manager_->submit(spec).has_value());
  EXPECT_TRUE(manager_->empty());
}

// --- factories ---

/// A port P such that P and P+1 are free.
std::uint16_t free_pair() {
  for (int i = 0; i < 1000; ++i) {
    std::array<int, 2> sockets{};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bool good = true;
    for (int& fd : sockets) {
      fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      good = good && ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
             ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
      address.sin_port = htons(static_cast<std::uint16_t>(ntohs(address.sin_port) + 1));
    }
    for (const int fd : sockets) ::close(fd);
    if (good) return static_cast<std::uint16_t>(ntohs(address.sin_port) - 2);
  }
  return 0;
}

TEST_F(ServiceTest, SendsTheSurplusWorkersOfAFactoryAway) {
  const auto port = free_pair();
  ::setenv("CATALOG_PORT", std::to_string(port).c_str(), 1);
  ::unsetenv("CATALOG_HOST");
  options_.project = "with-a-factory";
  start();
  manager_->run_for(std::chrono::milliseconds(100));
  LineSocket factory(static_cast<std::uint16_t>(port + 1));
  factory.send(R"({"type":"wq_factory","factory_name":"f","max_workers":1,"port":-7})");
  factory.close();
  manager_->run_for(std::chrono::milliseconds(100));
  LineSocket first(manager_->port());
  LineSocket second(manager_->port());
  first.send(greeting("first") + "info from-factory f\n");
  second.send(greeting("second") + "info from-factory f\n");
  int gone = 0;
  for (int i = 0; i < 1000 && gone == 0; ++i) {
    manager_->run_for(std::chrono::milliseconds(20));
    gone = (first.wait_closed(0) ? 1 : 0) + (second.wait_closed(0) ? 1 : 0);
  }
  EXPECT_EQ(gone, 1);
  manager_->run_for(std::chrono::seconds(3));  // the next update changes nothing
  EXPECT_EQ(manager_->stats().workers_connected, 1);
  ::unsetenv("CATALOG_PORT");
}

}  // namespace
}  // namespace taskmill::test
