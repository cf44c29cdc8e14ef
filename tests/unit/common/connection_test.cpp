// Two connections of one process over loopback: everything that moves, plain and under TLS.
#include "common/aio/connection.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>

#include "common/aio/pool.hpp"
#include "common/aio/tls.hpp"

namespace taskmill::aio {
namespace {

using boost::asio::ip::tcp;

struct Recorder : ConnectionHandler {
  std::size_t on_data(std::span<const char> bytes) override {
    if (script) return script(bytes);
    received.append(bytes.data(), bytes.size());
    return bytes.size();
  }
  void on_body_done(ErrorCode error) override {
    ++bodies;
    body_error = error;
  }
  void on_secured() override { secured = true; }
  void on_drained() override { ++drained; }
  void on_short_file(std::uint64_t ticket) override { short_ticket = ticket; }
  void on_sent(std::uint64_t ticket) override { sent.push_back(ticket); }
  void on_closed(const CloseReason& why) override {
    ++closed;
    reason = why;
  }

  std::function<std::size_t(std::span<const char>)> script;
  std::string received;
  int bodies = 0, drained = 0, closed = 0;
  bool secured = false;
  ErrorCode body_error;
  std::uint64_t short_ticket = 0;
  std::vector<std::uint64_t> sent;
  CloseReason reason;
};

std::shared_ptr<os::UniqueFd> memory_file(const std::string& content) {
  auto fd = std::make_shared<os::UniqueFd>(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::pwrite(fd->get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()));
  return fd;
}

std::string content_of(int fd) {
  std::string text(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)), '\0');
  EXPECT_EQ(::pread(fd, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  return text;
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23 + (i >> 16) % 3);
  return text;
}

class ConnectionPair : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    tcp::acceptor acceptor(io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
    tcp::socket client(io_);
    client.connect(acceptor.local_endpoint());
    tcp::socket server = acceptor.accept();
    left_ = std::make_shared<Connection>(std::move(client), left_events_);
    right_ = std::make_shared<Connection>(std::move(server), right_events_);
    if (!GetParam()) {
      left_->start();
      right_->start();
      return;
    }
    directory_ = std::filesystem::temp_directory_path() / ("connection_test." + std::to_string(::getpid()));
    std::filesystem::create_directories(directory_);
    const auto files = make_self_signed(directory_, "127.0.0.1");
    ASSERT_TRUE(files.has_value());
    auto server_context = make_server_context(files->cert, files->key);
    auto client_context = make_client_context({files->cert, ""});
    ASSERT_TRUE(server_context.has_value() && client_context.has_value());
    server_context_ = std::move(*server_context);
    client_context_ = std::move(*client_context);
    left_->start(make_client_ssl(*client_context_, "127.0.0.1", {files->cert, ""}));
    right_->start(make_server_ssl(*server_context_));
  }
  void TearDown() override {
    left_->close("test over");
    right_->close("test over");
    io_.restart();
    io_.poll();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }
  template <class Condition>
  void run_until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    io_.restart();
    while (!condition() && std::chrono::steady_clock::now() < deadline) io_.run_one_for(std::chrono::milliseconds(100));
    ASSERT_TRUE(condition()) << "not reached within 30 s";
  }

  boost::asio::io_context io_;
  Recorder left_events_, right_events_;
  std::shared_ptr<Connection> left_, right_;
  std::filesystem::path directory_;
  SslContextPtr server_context_, client_context_;
};

TEST_P(ConnectionPair, DeliversTextBuffersAndFileRangesInOrder) {
  const auto big = std::make_shared<const std::string>(pattern(300000));
  const auto file = memory_file(pattern(700000));
  left_->send("header ");
  left_->send_buffer(big, 1);
  left_->send("middle ");
  left_->send_file(file, 1000, 600000, 2);
  left_->send("end");
  const std::string expected = "header " + *big + "middle " + pattern(700000).substr(1000, 600000) + "end";
  run_until([&] { return right_events_.received.size() == expected.size(); });
  EXPECT_EQ(right_events_.received, expected);
  EXPECT_EQ(left_events_.sent, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(left_->pending_bytes(), 0U);
  EXPECT_EQ(right_events_.secured, GetParam());
}

TEST_P(ConnectionPair, PutsAnAnnouncedBodyIntoAFileAndStaysInStep) {
  const std::string body = pattern(5U << 20);
  const os::UniqueFd target(::memfd_create("target", MFD_CLOEXEC));
  std::string lines;
  right_events_.script = [&](std::span<const char> bytes) -> std::size_t {
    const std::string_view text(bytes.data(), bytes.size());
    if (lines.empty()) {
      const auto end = text.find('\n');
      if (end == std::string_view::npos) return 0;
      lines = std::string(text.substr(0, end + 1));
      right_->receive_into(target.get(), body.size());
      return end + 1;
    }
    lines += text;
    return text.size();
  };
  left_->send("put x\n");
  left_->send_buffer(std::make_shared<const std::string>(body));
  left_->send("after\n");
  run_until([&] { return lines.size() == 12; });
  EXPECT_EQ(lines, "put x\nafter\n");
  EXPECT_EQ(right_events_.bodies, 1);
  EXPECT_FALSE(right_events_.body_error);
  EXPECT_EQ(content_of(target.get()), body);
}

TEST_P(ConnectionPair, DropsTheRestOfABodyWhoseFileCannotBeWritten) {
  const os::UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  bool announced = false;
  std::string rest;
  right_events_.script = [&](std::span<const char> bytes) -> std::size_t {
    if (!announced) {
      announced = true;
      right_->receive_into(full.get(), (2U << 20) - 1);
      return 1;
    }
    rest.append(bytes.data(), bytes.size());
    return bytes.size();
  };
  left_->send_buffer(std::make_shared<const std::string>(pattern(2U << 20)));
  left_->send("next");
  run_until([&] { return rest == "next"; });
  EXPECT_TRUE(right_events_.body_error);
  EXPECT_EQ(right_events_.closed, 0);
}

TEST_P(ConnectionPair, FillsUpWithZerosWhenAFileIsShorterThanAnnounced) {
  left_->send_file(memory_file("short"), 0, 100000, 9);
  run_until([&] { return right_events_.received.size() == 100000; });
  EXPECT_EQ(right_events_.received.substr(0, 5), "short");
  EXPECT_EQ(right_events_.received.find_first_not_of('\0', 5), std::string::npos);
  EXPECT_EQ(left_events_.short_ticket, 9U);
}

TEST_P(ConnectionPair, KeepsUnconsumedBytesUntilMoreArrive) {
  std::vector<std::size_t> offered;
  right_events_.script = [&](std::span<const char> bytes) -> std::size_t {
    offered.push_back(bytes.size());
    return bytes.size() < 6 ? 0 : bytes.size();
  };
  left_->send("abc");
  run_until([&] { return offered.size() == 1; });
  left_->send("def");
  run_until([&] { return offered.size() >= 2; });
  EXPECT_EQ(offered.back(), 6U);
}

TEST_P(ConnectionPair, PausesAndResumesReading) {
  right_->pause_reading();
  left_->send("waiting");
  boost::asio::steady_timer timer(io_, std::chrono::milliseconds(50));
  bool fired = false;
  timer.async_wait([&](ErrorCode) { fired = true; });
  run_until([&] { return fired; });
  // Under TLS the handshake itself still runs; the application bytes stay out.
  EXPECT_EQ(right_events_.received, "");
  right_->resume_reading();
  run_until([&] { return right_events_.received == "waiting"; });
}

TEST_P(ConnectionPair, TellsCongestionAndItsEnd) {
  right_->pause_reading();
  left_->send_buffer(std::make_shared<const std::string>(pattern(40U << 20)));
  EXPECT_TRUE(left_->is_congested());
  right_->resume_reading();
  run_until([&] { return right_events_.received.size() == (40U << 20); });
  EXPECT_FALSE(left_->is_congested());
  EXPECT_EQ(left_events_.drained, 1);
}

TEST_P(ConnectionPair, FinishFlushesBeforeClosingAndTellsBothOnce) {
  left_->send_buffer(std::make_shared<const std::string>(pattern(3U << 20)));
  left_->finish("all said");
  run_until([&] { return right_events_.closed == 1 && left_events_.closed == 1; });
  EXPECT_EQ(right_events_.received.size(), 3U << 20);
  EXPECT_EQ(right_events_.reason.kind, CloseReason::Kind::eof);
  EXPECT_EQ(left_events_.reason.text, "all said");
  left_->close("again");
  io_.restart();
  io_.poll();
  EXPECT_EQ(left_events_.closed, 1);
}

INSTANTIATE_TEST_SUITE_P(PlainAndTls, ConnectionPair, ::testing::Bool(),
                         [](const auto& instance) { return instance.param ? "Tls" : "Plain"; });

TEST(PoolTest, RunsJobsElsewhereAndContinuationsOnTheControlThread) {
  boost::asio::io_context io;
  const auto control = std::this_thread::get_id();
  int done = 0;
  bool elsewhere = true;
  bool back = true;
  {
    Pool pool(io, 2);
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(pool.submit([&, control]() -> Pool::Done {
        const bool other = std::this_thread::get_id() != control;
        return [&, other, control] {
          elsewhere = elsewhere && other;
          back = back && std::this_thread::get_id() == control;
          ++done;
        };
      }));
    }
    while (done < 100) {
      io.run_for(std::chrono::milliseconds(50));
      io.restart();
    }
  }
  EXPECT_TRUE(elsewhere);
  EXPECT_TRUE(back);
}

TEST(PoolTest, RefusesWorkBeyondItsLimit) {
  boost::asio::io_context io;
  std::mutex gate;
  gate.lock();
  {
    Pool pool(io, 1, 2);
    int accepted = 0;
    for (int i = 0; i < 50; ++i) {
      if (pool.submit([&]() -> Pool::Done {
            const std::lock_guard lock(gate);
            return {};
          }))
        ++accepted;
    }
    EXPECT_GE(accepted, 2);
    EXPECT_LE(accepted, 3);
    gate.unlock();
  }
}

}  // namespace
}  // namespace taskmill::aio
