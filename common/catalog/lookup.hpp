// Names to addresses and back, without holding anybody up.
//
// The system's resolver blocks and cannot be interrupted, so it runs in a thread that belongs to nobody: cancelling
// a lookup, or ending the program, never waits for it. Numeric hosts need no thread. At most `lookup_limit` threads
// exist; beyond that lookups fail at once. Handlers run from the loop; a Lookup that is cancelled or destroyed
// calls nothing.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::catalog {

constexpr int lookup_limit = 64;

class Lookup {
 public:
  using Addresses = std::vector<boost::asio::ip::address>;

  Lookup() = default;
  /// Addresses of a name, in the order the system prefers.
  static Lookup forward(boost::asio::io_context& io, const std::string& name,
                        std::function<void(Expected<Addresses>)> handler);
  /// The name of an address; empty when it has none.
  static Lookup reverse(boost::asio::io_context& io, const boost::asio::ip::address& address,
                        const std::function<void(std::string)>& handler);
  void cancel() { state_.reset(); }
  ~Lookup() = default;
  Lookup(Lookup&&) = default;
  Lookup& operator=(Lookup&&) = default;
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

 private:
  struct State;
  struct Release {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Release> state_;
};

}  // namespace taskmill::catalog
