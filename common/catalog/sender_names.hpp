// Names of the machines that send updates: looked up beside the work, kept for five minutes, never waited for longer
// than two seconds. What is waiting for a name is bounded.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/time.hpp"
#include "common/catalog/lookup.hpp"

namespace taskmill::catalog {

class SenderNames {
 public:
  using Handler = std::function<void(const std::string& name)>;  ///< empty: the address has no name
  SenderNames(boost::asio::io_context& io, bool enabled) : io_(io), enabled_(enabled), sweep_(io) {}

  /// Calls `handler` now when the name is known (or names are off, or too much is waiting), else later from the loop.
  void get(const boost::asio::ip::address& address, Handler handler);
  void stop();

 private:
  struct Entry {
    std::string name;
    bool known = false;
    Time until{};  ///< end of the lookup, or of the knowledge
    Lookup lookup;
    std::vector<Handler> waiting;
  };
  void settle(const boost::asio::ip::address& address, const std::string& name, Duration keep);
  void arm_sweep();

  boost::asio::io_context& io_;
  bool enabled_;
  boost::asio::steady_timer sweep_;
  bool sweeping_ = false;
  std::map<boost::asio::ip::address, Entry> entries_;
  std::size_t waiting_ = 0;
};

}  // namespace taskmill::catalog
