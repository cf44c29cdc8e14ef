// Serves cached objects to other workers, as the manager allows (docs/extensions.md, capability `peer`).
//
// Listens only while a session agreed on it, on the address that the manager's connection has here. A guest sends one
// request with a token and gets that object or one line why not; of an environment it asks for chunks, as often as it
// likes. Tokens come by the manager's connection and may be
// overtaken by the guest, so an unknown one is waited for a short while. Files leave by sendfile in bounded pieces; a
// guest that does not move for a while is dropped; there are never more than most_guests.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/aio/connection.hpp"
#include "protocol/pb/extension.pb.h"
#include "worker/core/peer_tickets.hpp"
#include "worker/net/context.hpp"

namespace taskmill::worker {

class PeerServer {
 public:
  /// `chunk_directory`: of the environments of this worker.
  PeerServer(Context& context, std::function<std::string()> chunk_directory);
  ~PeerServer();
  PeerServer(const PeerServer&) = delete;
  PeerServer& operator=(const PeerServer&) = delete;

  /// The port, or 0 when it cannot listen there.
  std::uint16_t listen(const boost::asio::ip::address& address);
  void grant(const pb::PeerServe& order);
  /// The session is over: no guest, no token, no port.
  void close();

 private:
  class Guest;
  void accept();
  void look_around();

  Context& context_;
  std::function<std::string()> chunk_directory_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer timer_;
  PeerTickets tickets_;
  std::map<std::uint64_t, std::unique_ptr<Guest>> guests_;
  std::uint64_t next_guest_ = 1;
  bool looking_ = false, accepting_ = false;
};

}  // namespace taskmill::worker
