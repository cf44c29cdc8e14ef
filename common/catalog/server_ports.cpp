#include "common/catalog/server_ports.hpp"

#include <fcntl.h>

#include <boost/asio/ip/v6_only.hpp>
#include <cstdlib>
#include <memory>

namespace taskmill::catalog {
namespace {

using boost::asio::ip::tcp;
using boost::asio::ip::udp;

ErrorCode open_listener(tcp::acceptor& acceptor, const tcp::endpoint& endpoint) {
  ErrorCode error;
  acceptor.open(endpoint.protocol(), error);
  if (error) return error;
  ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && endpoint.address().is_v6()) acceptor.set_option(boost::asio::ip::v6_only(false), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(1024, error);
  return error;
}

// No reuse_address here: on UDP it would let two catalogs share a port and split the updates between them.
ErrorCode open_datagrams(udp::socket& socket, const udp::endpoint& endpoint) {
  ErrorCode error;
  socket.open(endpoint.protocol(), error);
  if (error) return error;
  ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
  if (endpoint.address().is_v6()) socket.set_option(boost::asio::ip::v6_only(false), error);
  if (!error) socket.bind(endpoint, error);
  if (!error) socket.non_blocking(true, error);
  ErrorCode ignored;
  socket.set_option(boost::asio::socket_base::receive_buffer_size(8 << 20), ignored);
  return error;
}

std::shared_ptr<ServerPorts> try_bind(boost::asio::io_context& io, const boost::asio::ip::address& address,
                                      std::uint16_t port, ErrorCode& error, std::uint16_t& failed_port) {
  auto ports = std::make_shared<ServerPorts>(io);
  failed_port = port;
  error = open_listener(ports->queries, {address, port});
  if (!error) error = open_datagrams(ports->datagrams, {address, ports->queries.local_endpoint().port()});
  if (error) return nullptr;
  const auto base = ports->queries.local_endpoint().port();
  failed_port = static_cast<std::uint16_t>(base + 1);
  error = open_listener(ports->updates, {address, failed_port});
  return error ? nullptr : ports;
}

}  // namespace

Expected<std::shared_ptr<ServerPorts>> bind_ports(boost::asio::io_context& io, const std::string& address_text,
                                                  std::uint16_t port, std::uint16_t low, std::uint16_t high) {
  boost::asio::ip::address address = boost::asio::ip::address_v4::any();
  const char* family = std::getenv("CCTOOLS_IP_MODE");
  if (family != nullptr && std::string(family) != "IPV4") address = boost::asio::ip::address_v6::any();
  ErrorCode error;
  if (!address_text.empty()) address = boost::asio::ip::make_address(address_text, error);
  if (error) return make_error("'" + address_text + "' is not a numeric address of this machine");
  std::uint16_t failed_port = port;
  if (port != 0) {
    if (port == 65535) return make_error("port 65535 leaves no room for the update port above it; use at most 65534");
    auto ports = try_bind(io, address, port, error, failed_port);
    if (ports) return ports;
  } else if (low != 0) {
    for (unsigned candidate = low; candidate + 1 <= (high != 0 ? high : 65534U); candidate += 2) {
      if (auto ports = try_bind(io, address, static_cast<std::uint16_t>(candidate), error, failed_port)) return ports;
    }
  } else {
    constexpr int tries = 100;
    for (int i = 0; i < tries; ++i) {
      if (auto ports = try_bind(io, address, 0, error, failed_port)) return ports;
    }
  }
  return make_error("cannot listen on " + address.to_string() + " port " + std::to_string(failed_port) + ": " +
                    error.message());
}

}  // namespace taskmill::catalog
