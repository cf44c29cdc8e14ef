// Opens one TCP connection by name: lookup, then every address in turn, within a deadline. Cancellable at once.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "common/catalog/core/host_list.hpp"
#include "common/catalog/lookup.hpp"

namespace taskmill::catalog {

class Dial : public std::enable_shared_from_this<Dial> {
 public:
  using Handler = std::function<void(Expected<std::shared_ptr<boost::asio::ip::tcp::socket>>)>;
  /// `handler` is called exactly once, from the loop, unless cancelled. The error names host, port and reason.
  static std::shared_ptr<Dial> start(boost::asio::io_context& io, Host host, Duration timeout, Handler handler);
  void cancel();

  explicit Dial(boost::asio::io_context& io, Host host, Handler handler);

 private:
  void on_addresses(const Expected<Lookup::Addresses>& found);
  void try_next();
  void finish(Expected<std::shared_ptr<boost::asio::ip::tcp::socket>> result);

  boost::asio::io_context& io_;
  Host host_;
  Handler handler_;
  Lookup lookup_;
  boost::asio::steady_timer deadline_;
  Lookup::Addresses addresses_;
  std::size_t next_ = 0;
  std::string last_error_ = "no answer in time";
  std::shared_ptr<boost::asio::ip::tcp::socket> socket_;
};

}  // namespace taskmill::catalog
