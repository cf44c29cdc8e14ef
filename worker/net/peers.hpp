// Other workers of the same manager (docs/extensions.md, capability `peer`): what the manager orders about them, and
// what it is told.
//
// Open from the agreement to the end of the session. Objects that come from another worker are awaited by the machine,
// like those that the manager only announced; tasks that name them wait there.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "worker/net/context.hpp"
#include "worker/net/peer_fetcher.hpp"
#include "worker/net/peer_server.hpp"

namespace taskmill::worker {

class Peers {
 public:
  struct Hooks {
    std::function<void(const std::string&)> replaced;       ///< a new object has this cache name
    std::function<void(const pb::PeerFetch&)> environment;  ///< an order for one
    std::function<std::string()> chunk_directory;           ///< where the chunks of environments are
  };
  Peers(Context& context, Hooks hooks);

  /// `local`: "ADDRESS:PORT" of the manager's connection on this side.
  void open(const std::string& local);
  void close();
  /// False: such a frame makes no sense.
  bool on_frame(std::uint32_t kind, std::string_view body);
  /// The object came from the manager, or is removed.
  void forget(const std::string& cache_name);

 private:
  bool on_serve(std::uint32_t kind, std::string_view body);
  bool on_fetch(std::uint32_t kind, std::string_view body);
  std::string adopt(const pb::PeerFetch& order, const std::string& temporary);
  void tell(const google::protobuf::MessageLite& message, protocol::FrameKind kind);

  Context& context_;
  Hooks hooks_;
  PeerServer server_;
  PeerFetcher fetcher_;
  bool open_ = false;
};

}  // namespace taskmill::worker
