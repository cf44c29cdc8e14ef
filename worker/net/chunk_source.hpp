// Another worker, from which chunks of one environment are fetched (docs/extensions.md, capability `peer`).
//
// Nothing here blocks or is believed: who is silent for ten seconds while something is asked for, or says anything that
// makes no sense, has failed. What a chunk holds is verified by whoever takes it. After close() or failed() nothing
// follows.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/aio/connection.hpp"
#include "protocol/pb/extension.pb.h"
#include "worker/host/environment_intake.hpp"
#include "worker/net/context.hpp"

namespace taskmill::worker {

class ChunkSource : public aio::ConnectionHandler, public std::enable_shared_from_this<ChunkSource> {
 public:
  struct Events {
    std::function<void(pb::ChunkData& chunk)> chunk;
    std::function<void(const std::string& why)> failed;
  };
  ChunkSource(Context& context, std::string object, pb::PeerSource source, Events events);
  ~ChunkSource() override;
  ChunkSource(const ChunkSource&) = delete;
  ChunkSource& operator=(const ChunkSource&) = delete;

  void start();
  /// Each chunk is answered by one event, unless the source fails.
  void ask(const std::vector<ChunkRun>& runs);
  void close();
  [[nodiscard]] std::string text() const;

 private:
  std::size_t on_data(std::span<const char> bytes) override;
  void on_closed(const aio::CloseReason& reason) override;
  void on_connected(ErrorCode error);
  void send_requests();
  void watch();
  void fail(const std::string& why);

  Context& context_;
  std::string object_;
  pb::PeerSource source_;
  Events events_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<aio::Connection> connection_;
  std::vector<ChunkRun> unsent_;
  bool closed_ = false, introduced_ = false;
  std::uint64_t expected_ = 0;  ///< chunks asked for that have not come
  std::uint64_t seen_ = 0;
  Time moved_at_{};
};

}  // namespace taskmill::worker
