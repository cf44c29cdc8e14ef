// One HTTP GET with redirects, proxy and a deadline; the part of a Query that talks to one catalog.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/aio/connection.hpp"
#include "common/catalog/core/http_client.hpp"
#include "common/catalog/dial.hpp"

namespace taskmill::catalog {

class Fetch : public std::enable_shared_from_this<Fetch>, public aio::ConnectionHandler {
 public:
  using Handler = std::function<void(Expected<std::shared_ptr<std::string>>)>;
  static std::shared_ptr<Fetch> start(boost::asio::io_context& io, Url url, Duration timeout, Handler handler);
  void cancel();

  Fetch(boost::asio::io_context& io, Url url, Handler handler);
  ~Fetch() override;

 private:
  void request();
  void on_connected(Expected<std::shared_ptr<boost::asio::ip::tcp::socket>> socket);
  std::size_t on_data(std::span<const char> bytes) override;
  void on_closed(const aio::CloseReason& reason) override;
  void on_reply();
  void finish(Expected<std::shared_ptr<std::string>> result);
  void drop_connection();

  boost::asio::io_context& io_;
  Url url_;
  Handler handler_;
  std::optional<Host> proxy_;
  boost::asio::steady_timer deadline_;
  std::shared_ptr<Dial> dial_;
  std::shared_ptr<aio::Connection> connection_;
  HttpReader reader_;
  int redirects_ = 0;
};

}  // namespace taskmill::catalog
