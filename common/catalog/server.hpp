// The catalog as a service: HTTP queries on TCP P, updates on UDP P and TCP P+1, all at once and bounded.
//
//   auto server = CatalogServer::make(io, {.port = 9097});    // binds; the error names the address and the reason
//   server->start();
//
// Every connection has a deadline and every buffer a limit; a client that is slow or silent delays nobody. When a
// limit is reached the oldest connection of that kind makes room. The records are in store().
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "common/catalog/core/record_store.hpp"

namespace taskmill::catalog {

struct ServerOptions {
  std::string address;         ///< numeric; empty: all addresses
  std::uint16_t port = 0;      ///< 0: a free pair of ports
  std::uint16_t low_port = 0;  ///< range for a free pair; 0: 1024…
  std::uint16_t high_port = 0;
  StoreLimits store;
  std::size_t query_connections = 1000;
  std::size_t update_connections = 1000;
  Duration update_deadline = std::chrono::seconds(5);
  Duration request_deadline = std::chrono::seconds(15);
  Duration reply_deadline = std::chrono::seconds(60);
  bool reverse_names = true;  ///< look up the names of the senders
};

struct ServerCounters {
  std::uint64_t queries = 0;
  std::uint64_t updates_tcp = 0;
  std::uint64_t updates_udp = 0;
  std::uint64_t dropped = 0;     ///< updates that were damaged or too large
  std::uint64_t pushed_out = 0;  ///< connections closed to make room
};

class CatalogServer {
 public:
  static Expected<std::unique_ptr<CatalogServer>> make(boost::asio::io_context& io, ServerOptions options);
  ~CatalogServer();
  CatalogServer(const CatalogServer&) = delete;
  CatalogServer& operator=(const CatalogServer&) = delete;

  void start();
  void stop();
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] RecordStore& store();
  [[nodiscard]] const ServerCounters& counters() const;
  /// One line per dropped update and the like.
  std::function<void(const std::string&)> on_log;

  struct Impl;

 private:
  explicit CatalogServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace taskmill::catalog
