// The catalog over real sockets: server, publisher, query, finder and embedded catalog in one loop.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "common/aio/clock.hpp"
#include "common/base/random.hpp"
#include "common/base/text.hpp"
#include "common/catalog/core/compression.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/embedded.hpp"
#include "common/catalog/environment.hpp"
#include "common/catalog/fetch.hpp"
#include "common/catalog/finder.hpp"
#include "common/catalog/history.hpp"
#include "common/catalog/publisher.hpp"
#include "common/catalog/query.hpp"
#include "common/catalog/server.hpp"

namespace taskmill::catalog {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using boost::asio::ip::udp;

const auto loopback = boost::asio::ip::make_address("127.0.0.1");

struct Service : ::testing::Test {
  boost::asio::io_context io{1};
  std::unique_ptr<CatalogServer> server;

  void SetUp() override {
    ::unsetenv("CATALOG_HOST");
    ::unsetenv("CATALOG_PORT");
    ::unsetenv("CATALOG_UPDATE_PROTOCOL");
    ::unsetenv("CATALOG_UPDATE_LIMIT");
    ::unsetenv("HTTP_PROXY");
    server = make_server();
  }

  std::unique_ptr<CatalogServer> make_server(ServerOptions options = {}) {
    options.address = "127.0.0.1";
    auto made = CatalogServer::make(io, std::move(options));
    EXPECT_TRUE(made) << made.error().text;
    (*made)->start();
    return std::move(*made);
  }

  // Runs the loop until `condition`, for 20 seconds at most.
  bool until(const std::function<bool()>& condition, std::chrono::milliseconds patience = 20s) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.restart();
      io.run_for(5ms);
    }
    return true;
  }

  std::uint16_t port() const { return server->port(); }
  std::string list() const { return "127.0.0.1:" + std::to_string(port()); }
  Host host() const { return {"127.0.0.1", port()}; }

  std::shared_ptr<tcp::socket> connect(std::uint16_t to) {
    auto socket = std::make_shared<tcp::socket>(io);
    socket->connect({loopback, to});
    return socket;
  }
  void update(const std::string& bytes) {
    auto socket = connect(static_cast<std::uint16_t>(port() + 1));
    boost::system::error_code ignored;
    boost::asio::write(*socket, boost::asio::buffer(bytes), ignored);
  }
  void datagram(const std::string& bytes) {
    udp::socket socket(io, udp::v4());
    socket.send_to(boost::asio::buffer(bytes), {loopback, port()});
  }
  std::size_t size() { return server->store().size(); }

  Expected<std::string> get(const std::string& path) {
    Expected<std::string> result = make_error("no answer");
    bool done = false;
    auto fetch = Fetch::start(io, Url{host(), path}, 20s, [&](auto body) {
      done = true;
      if (body)
        result = Expected<std::string>(boost::system::in_place_value, **body);
      else
        result = body.error();
    });
    until([&] { return done; });
    return result;
  }

  Expected<QueryAnswer> ask(QueryOptions options) {
    Expected<QueryAnswer> result = make_error("no answer");
    bool done = false;
    auto query = Query::start(io, std::move(options), [&](auto answer) {
      done = true;
      result = std::move(answer);
    });
    until([&] { return done; });
    return result;
  }
};

std::string manager(const std::string& project, int at, const std::string& more = "") {
  return R"({"type":"wq_master","project":")" + project + R"(","port":)" + std::to_string(at) + more + "}";
}

TEST_F(Service, TakesUpdatesByTcpAndUdpPlainAndCompressed) {
  update(manager("tcp", 1));
  update(compress_update(manager("packed", 2)));
  datagram(manager("udp", 3));
  datagram(compress_update(manager("udp-packed", 4)));
  ASSERT_TRUE(until([&] { return size() == 4; }));
  const auto body = get("/query.json");
  ASSERT_TRUE(body) << body.error().text;
  for (const auto* name : {"\"tcp\"", "\"packed\"", "\"udp\"", "\"udp-packed\""})
    EXPECT_NE(body->find(name), std::string::npos);
}

TEST_F(Service, DamagedUpdatesAreDroppedAndCounted) {
  update("{\"open\":");
  update("\x1Anonsense");
  update("GET / HTTP/1.1\r\n\r\n");
  update(std::string(2 << 20, 'x'));
  datagram(std::string("\x80\xFF\xFE{", 4));
  datagram("{\"a\":b}");
  ASSERT_TRUE(until([&] { return server->counters().dropped >= 4; }));
  update(manager("good", 1));
  ASSERT_TRUE(until([&] { return server->store().find("127.0.0.1:1:localhost") != nullptr; }));
}

TEST_F(Service, AnUpdateThatNeverEndsCountsWithWhatArrived) {
  ServerOptions options;
  options.update_deadline = 200ms;
  server = make_server(options);
  auto socket = connect(static_cast<std::uint16_t>(port() + 1));
  boost::asio::write(*socket, boost::asio::buffer(manager("slow", 1)));
  EXPECT_TRUE(until([&] { return size() == 1; }));
}

TEST_F(Service, SilentClientsDelayNobody) {
  std::vector<std::shared_ptr<tcp::socket>> idle;
  for (int i = 0; i < 200; ++i) {
    idle.push_back(connect(static_cast<std::uint16_t>(port() + 1)));
    if (i % 4 == 0) idle.push_back(connect(port()));
    io.poll();
  }
  update(manager("p", 1));
  ASSERT_TRUE(until([&] { return size() == 1; }, 4s));  // before any idle connection meets its deadline
  EXPECT_TRUE(get("/query.json"));
}

TEST_F(Service, TheOldestConnectionMakesRoom) {
  ServerOptions options;
  options.update_connections = 10;
  options.query_connections = 10;
  server = make_server(options);
  std::vector<std::shared_ptr<tcp::socket>> idle;
  for (int i = 0; i < 30; ++i) {
    idle.push_back(connect(port()));
    idle.push_back(connect(static_cast<std::uint16_t>(port() + 1)));
  }
  ASSERT_TRUE(until([&] { return server->counters().pushed_out >= 40; }));
  update(manager("p", 1));
  ASSERT_TRUE(until([&] { return size() == 1; }));
  EXPECT_TRUE(get("/query.json"));
}

TEST_F(Service, TwentyThousandRecordsAreServed) {
  for (int i = 0; i < 20'000; ++i) {
    server->store().put(*read_value(manager("p" + std::to_string(i), i)), "10.0.0.1", "host", std::time(nullptr));
  }
  const auto body = get("/query.json");
  ASSERT_TRUE(body);
  EXPECT_EQ(std::count(body->begin(), body->end(), '\n'), 20'000 + 2);
  QueryOptions options;
  options.hosts = {host()};
  options.expression = "port == 777";
  const auto answer = ask(options);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->records.size(), 1U);
}

TEST_F(Service, RequestsOfAllFormsAreAnswered) {
  update(manager("p", 1));
  ASSERT_TRUE(until([&] { return size() == 1; }));
  for (const auto& request :
       {std::string("GET /query/dHJ1ZQ== HTTP/1.1\r\nHost: x\r\n\r\n"), std::string("GET /query.json HTTP/1.0\n\n"),
        std::string("GET http://x/query.json HTTP/1.1\r\n\r\n")}) {
    auto socket = connect(port());
    boost::asio::write(*socket, boost::asio::buffer(request));
    socket->shutdown(tcp::socket::shutdown_send);  // some clients do
    std::string reply;
    bool ended = false;
    std::array<char, 4096> buffer{};
    std::function<void()> read = [&] {
      socket->async_read_some(boost::asio::buffer(buffer), [&](ErrorCode error, std::size_t n) {
        reply.append(buffer.data(), n);
        if (error)
          ended = true;
        else
          read();
      });
    };
    read();
    ASSERT_TRUE(until([&] { return ended; }));
    EXPECT_EQ(reply.substr(0, 16), "HTTP/1.1 200 OK\n") << request;
    EXPECT_NE(reply.find("\"project\":\"p\""), std::string::npos);
  }
}

TEST_F(Service, ADeadCatalogInTheListDelaysNothing) {
  update(manager("p", 1));
  ASSERT_TRUE(until([&] { return size() == 1; }));
  for (const bool merge : {true, false}) {
    QueryOptions options;
    options.hosts = {{"127.0.0.1", 1}, host()};
    options.merge = merge;
    const auto begin = std::chrono::steady_clock::now();
    const auto answer = ask(options);
    ASSERT_TRUE(answer) << answer.error().text;
    EXPECT_EQ(answer->records.size(), 1U);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 4s);  // well below the limit of one silent host
  }
}

TEST_F(Service, ASilentCatalogDelaysByAHeadStartOnly) {
  tcp::acceptor silent(io, {loopback, 0});
  update(manager("p", 1));
  ASSERT_TRUE(until([&] { return size() == 1; }));
  QueryOptions options;
  options.hosts = {{"127.0.0.1", silent.local_endpoint().port()}, host()};
  options.merge = false;
  options.host_timeout = 15s;
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = ask(options);
  ASSERT_TRUE(answer);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

TEST_F(Service, AnswersOfSeveralCatalogsAreMergedNewestFirst) {
  auto other = make_server();
  const auto now = std::time(nullptr);
  server->store().put(*read_value(manager("p", 1, R"(,"uuid":"u","n":1)")), "10.0.0.1", "a", now - 100);
  other->store().put(*read_value(manager("p", 1, R"(,"uuid":"u","n":2)")), "10.0.0.2", "b", now);
  other->store().put(*read_value(manager("q", 2)), "10.0.0.2", "b", now);
  QueryOptions options;
  options.hosts = {host(), {"127.0.0.1", other->port()}};
  const auto answer = ask(options);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->records.size(), 2U);
  for (const auto& record : answer->records) {
    if (record.text("project") == "p") {
      EXPECT_EQ(record.integer("n"), 2);
    }
  }
}

TEST_F(Service, AQueryWithoutAnyCatalogEndsInTimeAndNamesTheList) {
  QueryOptions options;
  options.hosts = {{"127.0.0.1", 1}};
  options.timeout = 300ms;
  const auto answer = ask(options);
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().text.find("127.0.0.1:1"), std::string::npos);
}

TEST_F(Service, ACancelledQuerySaysNothing) {
  tcp::acceptor silent(io, tcp::endpoint(loopback, 0));  // so the query cannot be over before it is cancelled
  bool called = false;
  const QueryOptions options{.hosts = {{"127.0.0.1", silent.local_endpoint().port()}, {"localhost", 1}}};
  auto query = Query::start(io, options, [&](auto) { called = true; });
  io.poll();
  query.reset();
  io.restart();
  io.run_for(100ms);
  EXPECT_FALSE(called);
}

// A server that answers each connection with the next text.
class Scripted {
 public:
  Scripted(boost::asio::io_context& io, std::vector<std::string> replies)
      : acceptor_(io, {loopback, 0}), replies_(std::move(replies)) {
    accept();
  }
  std::uint16_t port() { return acceptor_.local_endpoint().port(); }
  std::vector<std::string> requests;

 private:
  void accept() {
    acceptor_.async_accept([this](ErrorCode error, tcp::socket socket) {
      if (error) return;
      auto shared = std::make_shared<tcp::socket>(std::move(socket));
      auto buffer = std::make_shared<std::array<char, 4096>>();
      shared->async_read_some(boost::asio::buffer(*buffer), [this, shared, buffer](ErrorCode, std::size_t n) {
        requests.emplace_back(buffer->data(), n);
        const auto index = std::min(requests.size(), replies_.size()) - 1;
        auto reply = std::make_shared<std::string>(replies_[index]);
        boost::asio::async_write(*shared, boost::asio::buffer(*reply), [shared, reply](ErrorCode, std::size_t) {});
      });
      accept();
    });
  }
  tcp::acceptor acceptor_;
  std::vector<std::string> replies_;
};

TEST_F(Service, RedirectsAreFollowedButNotForEver) {
  update(manager("p", 1));
  ASSERT_TRUE(until([&] { return size() == 1; }));
  Scripted once(io, {"HTTP/1.1 302 Found\r\nLocation: http://" + list() + "/query.json\r\nContent-Length: 0\r\n\r\n"});
  QueryOptions options;
  options.hosts = {{"127.0.0.1", once.port()}};
  const auto answer = ask(options);
  ASSERT_TRUE(answer) << answer.error().text;
  EXPECT_EQ(answer->records.size(), 1U);

  Scripted loop(io, {"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"});
  options.hosts = {{"127.0.0.1", loop.port()}};
  options.repeat = false;
  const auto failed = ask(options);
  ASSERT_FALSE(failed);
  EXPECT_EQ(loop.requests.size(), 6U);
}

TEST_F(Service, AnUnreadableAnswerIsAskedForOnceMoreInFull) {
  Scripted odd(io, {"HTTP/1.1 200 OK\r\n\r\n[broken", "HTTP/1.1 200 OK\r\n\r\n[{\"a\":1},7]"});
  QueryOptions options;
  options.hosts = {{"127.0.0.1", odd.port()}};
  const auto answer = ask(options);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->records.size(), 1U);
  ASSERT_EQ(odd.requests.size(), 2U);
  EXPECT_EQ(odd.requests[0].substr(0, 24), "GET /query/dHJ1ZQ== HTTP");
  EXPECT_EQ(odd.requests[1].substr(0, 20), "GET /query.json HTTP");
}

TEST_F(Service, HttpProxyIsUsedWhenNamed) {
  Scripted proxy(io, {"HTTP/1.1 200 OK\r\n\r\n[]"});
  ::setenv("HTTP_PROXY", ("http://127.0.0.1:" + std::to_string(proxy.port())).c_str(), 1);
  QueryOptions options;
  options.hosts = {{"catalog.example", 9097}};
  const auto answer = ask(options);
  ::unsetenv("HTTP_PROXY");
  ASSERT_TRUE(answer) << answer.error().text;
  EXPECT_EQ(proxy.requests[0].substr(0, 34), "GET http://catalog.example:9097/qu");
}

TEST(QueryPath, NeverHoldsASlash) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"true", "true"},
      {R"(like("spec.?demo",project))", R"(like("spec.?demo",project))"},
      {"?>?>?>", "true"},  // no shift helps: ask for everything, the filter is applied again anyway
  };
  for (const auto& [text, sent] : cases) {
    const auto path = query_path(text).substr(7);
    EXPECT_EQ(path.find('/'), std::string::npos) << text;
    EXPECT_EQ(trim(*base64_decode(path)), sent);
  }
}

TEST_F(Service, PublisherDeliversToEveryCatalogAndSaysGoodbye) {
  auto other = make_server();
  auto publisher = Publisher::make(io, {.catalogs = list() + ",127.0.0.1:" + std::to_string(other->port())});
  ASSERT_TRUE(publisher);
  (*publisher)->publish(manager("p", 1, R"(,"uuid":"u")"));
  ASSERT_TRUE(until([&] { return size() == 1 && other->store().size() == 1; }));
  EXPECT_EQ((*publisher)->sent(), 2U);
  bool done = false;
  (*publisher)->goodbye(manager("p", 1, R"(,"uuid":"u")"), [&] { done = true; });
  ASSERT_TRUE(until([&] { return done && size() == 0 && other->store().size() == 0; }));
}

TEST_F(Service, PublisherUsesUdpWhenToldAndFallsBackToTcpWhenTooLarge) {
  ::setenv("CATALOG_UPDATE_PROTOCOL", "udp", 1);
  auto publisher = Publisher::make(io, {.catalogs = list()});
  ::unsetenv("CATALOG_UPDATE_PROTOCOL");
  (*publisher)->publish(manager("small", 1));
  ASSERT_TRUE(until([&] { return server->counters().updates_udp == 1 && size() == 1; }));
  (*publisher)->publish(manager("packed", 2, ",\"x\":\"" + std::string(3000, 'a') + "\""));
  ASSERT_TRUE(until([&] { return server->counters().updates_udp == 2 && size() == 2; }));
  std::string noise;
  Random random(1);
  for (int i = 0; i < 500; ++i) noise += random.letters(10);
  (*publisher)->publish(manager("full", 3, ",\"x\":\"" + noise + "\""), manager("lean", 3));
  ASSERT_TRUE(until([&] { return server->counters().updates_udp == 3 && size() == 3; }));
  EXPECT_NE(server->store().find("127.0.0.1:3:localhost")->line.find("lean"), std::string::npos);
  (*publisher)->publish(manager("tcp", 4, ",\"x\":\"" + noise + "\""));
  ASSERT_TRUE(until([&] { return server->counters().updates_tcp == 1 && size() == 4; }));
}

TEST_F(Service, PublisherSaysOnceWhenACatalogIsDownAndFillsItWhenItReturns) {
  const auto where = port();
  server.reset();
  std::vector<std::string> said;
  auto publisher = Publisher::make(io, {.catalogs = "127.0.0.1:" + std::to_string(where),
                                        .on_problem = [&](const std::string& line) { said.push_back(line); }});
  (*publisher)->publish(manager("p", 1));
  (*publisher)->publish(manager("p", 1));
  ASSERT_TRUE(until([&] { return (*publisher)->failed() >= 2; }));
  EXPECT_EQ(said.size(), 1U);
  ServerOptions options;
  options.port = where;
  server = make_server(options);
  ASSERT_TRUE(until([&] { return size() == 1; }));
  ASSERT_EQ(said.size(), 2U);
  EXPECT_NE(said[1].find("accepts updates again"), std::string::npos);
}

TEST_F(Service, GoodbyeToADeadCatalogEndsByItself) {
  auto publisher = Publisher::make(io, {.catalogs = "127.0.0.1:1"});
  bool done = false;
  (*publisher)->goodbye(manager("p", 1), [&] { done = true; });
  EXPECT_TRUE(until([&] { return done; }));
}

TEST_F(Service, PublisherRefusesWhatIsNoRecord) {
  std::vector<std::string> said;
  auto publisher =
      Publisher::make(io, {.catalogs = list(), .on_problem = [&](const std::string& line) { said.push_back(line); }});
  (*publisher)->publish("");
  (*publisher)->publish("[1]");
  EXPECT_EQ(said.size(), 2U);
  EXPECT_FALSE(Publisher::make(io, {.catalogs = "a b"}));
}

TEST_F(Service, FinderFindsRemembersAndForgets) {
  server->store().put(*read_value(manager("proj-a", 11, R"(,"tasks_waiting":3,"protocol":11)")), "10.0.0.1", "a",
                      std::time(nullptr));
  server->store().put(*read_value(manager("other", 12)), "10.0.0.1", "a", std::time(nullptr));
  auto finder = Finder::make(io, {.catalogs = list(), .project = "proj-a|proj-b", .seed = 7});
  ASSERT_TRUE(finder) << finder.error().text;
  std::vector<ManagerCandidate> found;
  int answers = 0;
  const auto find = [&] {
    const int before = answers;
    (*finder)->find([&](auto result) {
      ++answers;
      found = result ? *result : std::vector<ManagerCandidate>{};
    });
    return until([&] { return answers > before; });
  };
  ASSERT_TRUE(find());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].project, "proj-a");
  EXPECT_EQ(found[0].port, 11);
  EXPECT_EQ(found[0].protocol, 11);
  EXPECT_EQ(found[0].hosts, std::vector<std::string>{"10.0.0.1"});
  const auto asked = server->counters().queries;
  ASSERT_TRUE(find());
  EXPECT_EQ(server->counters().queries, asked);  // from memory
  (*finder)->forget();
  ASSERT_TRUE(find());
  EXPECT_EQ(server->counters().queries, asked + 1);
}

TEST_F(Service, FinderReportsADeadCatalogAndCanBeCancelled) {
  auto finder = Finder::make(io, {.catalogs = "127.0.0.1:1", .project = "p", .timeout = 300ms});
  std::string error;
  (*finder)->find([&](auto result) { error = result ? "found" : result.error().text; });
  ASSERT_TRUE(until([&] { return !error.empty(); }));
  EXPECT_NE(error.find("127.0.0.1:1"), std::string::npos);
  bool called = false;
  (*finder)->find([&](auto) { called = true; });
  io.poll();
  (*finder)->cancel();
  io.restart();
  io.run_for(500ms);
  EXPECT_FALSE(called);
}

TEST_F(Service, FinderRefusesBadPatternsAndLists) {
  EXPECT_FALSE(Finder::make(io, {.project = "[a"}));
  EXPECT_FALSE(Finder::make(io, {.catalogs = "a:b", .project = "p"}));
}

TEST_F(Service, EmbeddedCatalogTakesOverWithEverythingTheFirstKnew) {
  const auto where = port();
  server.reset();
  EmbeddedOptions options;
  options.port = where;
  options.retry = 50ms;
  options.copy_every = 100ms;
  auto first = std::make_unique<EmbeddedCatalog>(io, options);
  EmbeddedCatalog second(io, options);
  int took_over = 0;
  second.on_serving = [&] { ++took_over; };
  first->start();
  second.start();
  EXPECT_TRUE(first->serving());
  EXPECT_FALSE(second.serving());
  auto publisher = Publisher::make(io, {.catalogs = "127.0.0.1:" + std::to_string(where)});
  (*publisher)->publish(manager("p", 1));
  ASSERT_TRUE(until([&] { return (*publisher)->sent() == 1; }));
  io.restart();
  io.run_for(600ms);  // time for several copies
  first.reset();
  ASSERT_TRUE(until([&] { return second.serving(); }));
  EXPECT_EQ(took_over, 1);
  QueryOptions query;
  query.hosts = {{"127.0.0.1", where}};
  const auto answer = ask(query);
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->records.size(), 1U);
  EXPECT_EQ(answer->records[0].text("project"), "p");
}

TEST_F(Service, EmbeddingIsForTheDefaultOnly) {
  EXPECT_TRUE(should_embed(""));
  EXPECT_FALSE(should_embed("somewhere:9097"));
  ::setenv("CATALOG_HOST", "somewhere", 1);
  EXPECT_FALSE(should_embed(""));
  EXPECT_EQ(hosts_text(*catalog_hosts("")), "somewhere:9097");
  ::unsetenv("CATALOG_HOST");
  ::setenv("CATALOG_PORT", "1234", 1);
  EXPECT_EQ(hosts_text(*catalog_hosts("")), "localhost:1234");
  EXPECT_EQ(embedded_defaults().port, 1234);
  ::unsetenv("CATALOG_PORT");
  EXPECT_EQ(hosts_text(*catalog_hosts("")), "localhost:9097");
}

TEST_F(Service, PortsInUseAreNamed) {
  ServerOptions options;
  options.address = "127.0.0.1";
  options.port = port();
  auto second = CatalogServer::make(io, options);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text.find(std::to_string(port())), std::string::npos);
  EXPECT_NE(second.error().text.find("Address already in use"), std::string::npos);
}

TEST(History, ComesBackAfterARestart) {
  const auto directory = std::filesystem::temp_directory_path() / ("history-test-" + std::to_string(::getpid()));
  std::filesystem::remove_all(directory);
  const std::int64_t now = 1'790'000'000;
  {
    RecordStore store{StoreLimits{}};
    History history(directory.string());
    ASSERT_TRUE(history.load(store, now));
    store.on_change = [&](Change change, const StoredRecord& record, const Value* before) {
      EXPECT_EQ(history.note(change, record, before, now), "");
    };
    store.put(*read_value(R"({"port":1,"a":1,"gone":true})"), "10.0.0.1", "h", now);
    store.put(*read_value(R"({"port":1,"a":2})"), "10.0.0.1", "h", now);
    store.put(*read_value(R"({"port":2})"), "10.0.0.1", "h", now);
    store.put(*read_value(R"({"port":2,"state":"done"})"), "10.0.0.1", "h", now);
    store.put(*read_value(R"({"port":3,"lifetime":10})"), "10.0.0.1", "h", now);
  }
  RecordStore store{StoreLimits{}};
  History history(directory.string());
  const auto count = history.load(store, now + 60);
  ASSERT_TRUE(count);
  EXPECT_EQ(*count, 1U);
  const auto* record = store.find("10.0.0.1:1:h");
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(record->value.integer("a"), 2);
  EXPECT_EQ(record->value.find("gone"), nullptr);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace taskmill::catalog
