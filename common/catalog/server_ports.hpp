// The three sockets of a catalog: TCP P, UDP P and TCP P+1, bound together or not at all.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <string>

#include "common/base/result.hpp"

namespace taskmill::catalog {

struct ServerPorts {
  explicit ServerPorts(boost::asio::io_context& io) : queries(io), updates(io), datagrams(io) {}
  boost::asio::ip::tcp::acceptor queries;
  boost::asio::ip::tcp::acceptor updates;
  boost::asio::ip::udp::socket datagrams;
};

/// `address` numeric, empty for all. `port` 0 looks for a free pair between `low` and `high` (0: anywhere).
Expected<std::shared_ptr<ServerPorts>> bind_ports(boost::asio::io_context& io, const std::string& address,
                                                  std::uint16_t port, std::uint16_t low, std::uint16_t high);

}  // namespace taskmill::catalog
