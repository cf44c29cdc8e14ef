#include "worker/net/peers.hpp"

#include <utility>

#include "common/base/text.hpp"
#include "protocol/pb/frames.hpp"

namespace taskmill::worker {

Peers::Peers(Context& context, Hooks hooks)
    : context_(context),
      hooks_(std::move(hooks)),
      server_(context, hooks_.chunk_directory),
      fetcher_(context,
               {[this](const pb::PeerDone& done) { tell(done, protocol::FrameKind::peer_done); },
                [this](const pb::PeerFetch& order, const std::string& temporary) { return adopt(order, temporary); }}) {
}

void Peers::open(const std::string& local) {
  close();
  open_ = true;
  std::string host = local.substr(0, local.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  ErrorCode error;
  const auto address = boost::asio::ip::make_address(host, error);
  const auto port = error ? 0 : server_.listen(address);
  if (port == 0) return;  // it can still fetch
  pb::PeerListening listening;
  listening.set_port(port);
  tell(listening, protocol::FrameKind::peer_listening);
}

void Peers::close() {
  open_ = false;
  server_.close();
  fetcher_.reset();
}

void Peers::tell(const google::protobuf::MessageLite& message, protocol::FrameKind kind) {
  if (!open_) return;
  protocol::append_frame(context_.effects.lines, kind, message, false);
  context_.wake();
}

bool Peers::on_frame(std::uint32_t kind, std::string_view body) {
  if (!open_) return true;
  const auto plain = static_cast<protocol::FrameKind>(kind & ~protocol::frame_compressed);
  return plain == protocol::FrameKind::peer_serve ? on_serve(kind, body) : on_fetch(kind, body);
}

bool Peers::on_serve(std::uint32_t kind, std::string_view body) {
  const auto order = protocol::parse_frame<pb::PeerServe>(kind, body);
  if (!order || (!order->cache_name().empty() && !is_safe_name(order->cache_name()))) return false;
  server_.grant(*order);
  return true;
}

bool Peers::on_fetch(std::uint32_t kind, std::string_view body) {
  const auto order = protocol::parse_frame<pb::PeerFetch>(kind, body);
  if (order && order->cache_name().empty()) {
    hooks_.environment(*order);
    return true;
  }
  if (!order || !is_safe_name(order->cache_name())) return false;
  context_.machine.on_awaited(order->cache_name(), aio::steady_now());
  if (order->sources_size() > 0) fetcher_.fetch(*order);
  return true;
}

void Peers::forget(const std::string& cache_name) { fetcher_.forget(cache_name); }

// Complete and verified: it gets its name, if it is still wanted.
std::string Peers::adopt(const pb::PeerFetch& order, const std::string& temporary) {
  const std::string& name = order.cache_name();
  const auto& space = context_.space;
  const auto to_trash = [&] {
    const auto trash_name = context_.space.next_name();
    if (::renameat(space.in(), temporary.c_str(), space.trash(), trash_name.c_str()) == 0)
      context_.disposal.add(trash_name);
  };
  const auto* entry = context_.machine.cache().find(name);
  if (entry == nullptr || entry->state != CacheState::awaited) {
    to_trash();
    return entry != nullptr && entry->state == CacheState::present ? std::string() : "not wanted any more";
  }
  bool went = false;
  const auto trash_name = context_.space.next_name();
  const auto error = replace_in_cache(context_.places(), space.in(), temporary, name, trash_name, went);
  if (went) context_.disposal.add(trash_name);
  if (error) {
    to_trash();
    return "cannot put it into the cache: " + error.message();
  }
  hooks_.replaced(name);
  context_.machine.on_arrived(name, false, order.mode(), order.size(), 1, aio::steady_now());
  context_.wake();
  return {};
}

}  // namespace taskmill::worker
