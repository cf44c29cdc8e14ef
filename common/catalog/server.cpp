#include "common/catalog/server.hpp"

#include <sys/socket.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <list>
#include <map>
#include <utility>

#include "common/aio/clock.hpp"
#include "common/aio/connection.hpp"
#include "common/base/text.hpp"
#include "common/catalog/core/compression.hpp"
#include "common/catalog/core/pages.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/sender_names.hpp"
#include "common/catalog/server_ports.hpp"

namespace taskmill::catalog {
namespace {

using boost::asio::ip::tcp;

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(aio::wall_now().time_since_epoch()).count();
}

class Session;

}  // namespace

struct CatalogServer::Impl : std::enable_shared_from_this<Impl> {
  struct Body {
    std::uint64_t generation = 0;
    std::shared_ptr<const std::string> text;
    int status = 200;
    std::string type;
  };

  Impl(boost::asio::io_context& context, ServerOptions opts, std::shared_ptr<ServerPorts> sockets)
      : io(context),
        options(std::move(opts)),
        ports(std::move(sockets)),
        names(context, options.reverse_names),
        store(options.store),
        pause(context),
        sweep(context) {}

  void start();
  void stop();
  void accept(tcp::acceptor& acceptor, bool updates);
  void read_datagrams();
  void take_update(std::string_view bytes, const boost::asio::ip::address& from);
  Body body_for(const std::string& target);
  void expire_if_due();
  void arm_sweep();
  void log(const std::string& line) const {
    if (owner != nullptr && owner->on_log) owner->on_log(line);
  }
  void remove(Session* session);
  void make_room(bool updates);

  boost::asio::io_context& io;
  ServerOptions options;
  std::shared_ptr<ServerPorts> ports;
  SenderNames names;
  RecordStore store;
  boost::asio::steady_timer pause;
  boost::asio::steady_timer sweep;
  ServerCounters counters;
  CatalogServer* owner = nullptr;
  bool stopped = false;
  std::uint16_t port = 0;
  std::int64_t last_expiry = 0;
  std::list<std::shared_ptr<Session>> query_sessions;   ///< oldest first
  std::list<std::shared_ptr<Session>> update_sessions;  ///< oldest first
  std::map<std::string, Body> bodies;
};

namespace {

// One connection, of either kind: collects what arrives and acts at its end (update) or at the empty line (query).
class Session : public std::enable_shared_from_this<Session>, public aio::ConnectionHandler {
 public:
  Session(CatalogServer::Impl& server, tcp::socket socket, bool updates)
      : server_(server), updates_(updates), deadline_(server.io) {
    ErrorCode error;
    from_ = socket.remote_endpoint(error).address();
    if (from_.is_v6() && from_.to_v6().is_v4_mapped()) {
      from_ = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, from_.to_v6());
    }
    connection_ = std::make_shared<aio::Connection>(std::move(socket), *this);
  }
  ~Session() override { connection_->detach(); }

  void start() {
    arm(updates_ ? server_.options.update_deadline : server_.options.request_deadline);
    connection_->start();
  }

  // Ends now; an update counts with what has arrived.
  void end(const char* why) {
    deadline_.cancel();
    connection_->close(why);
  }

  [[nodiscard]] bool is_update() const { return updates_; }

 private:
  void arm(Duration after) {
    deadline_.expires_after(after);
    deadline_.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto self = weak.lock();
      if (!error && self) self->end("deadline");
    });
  }

  std::size_t on_data(std::span<const char> bytes) override {
    if (answered_) return bytes.size();
    input_.append(bytes.data(), bytes.size());
    constexpr std::size_t longest_request = 64U << 10;
    if (updates_) {
      if (input_.size() > update_limit) {
        ++server_.counters.dropped;
        input_.clear();
        input_.shrink_to_fit();
        server_.log("dropped an update from " + connection_->peer_text() + ": larger than 1 MiB");
        end("too large");
      }
    } else if (input_.find("\n\r\n") != std::string::npos || input_.find("\n\n") != std::string::npos) {
      answer();
    } else if (input_.size() > longest_request) {
      end("request too long");
    }
    return bytes.size();
  }

  void answer() {
    answered_ = true;
    std::string_view line(input_);
    line = line.substr(0, line.find('\n'));
    next_token(line);
    const std::string target(next_token(line));
    const bool complete = !trim(line).empty();
    input_.clear();
    if (!complete) return end("not an HTTP request");
    ++server_.counters.queries;
    auto body = server_.body_for(target);
    arm(server_.options.reply_deadline);
    connection_->pause_reading();  // a client may close its sending side and still wait for the answer
    connection_->send(page_head(body.status, body.type, body.text->size(), unix_now()));
    connection_->send_buffer(body.text);
    connection_->finish("answered");
  }

  void on_closed(const aio::CloseReason&) override {
    const auto self = shared_from_this();
    deadline_.cancel();
    if (updates_ && !input_.empty()) {
      ++server_.counters.updates_tcp;
      server_.take_update(input_, from_);
    } else if (!updates_ && !answered_ && input_.find('\n') != std::string::npos) {
      ++server_.counters.dropped;
    }
    server_.remove(this);
  }

  CatalogServer::Impl& server_;
  bool updates_;
  bool answered_ = false;
  boost::asio::ip::address from_;
  boost::asio::steady_timer deadline_;
  std::shared_ptr<aio::Connection> connection_;
  std::string input_;
};

}  // namespace

void CatalogServer::Impl::start() {
  accept(ports->queries, false);
  accept(ports->updates, true);
  read_datagrams();
  arm_sweep();
}

void CatalogServer::Impl::stop() {
  if (stopped) return;
  stopped = true;
  ErrorCode ignored;
  ports->queries.close(ignored);
  ports->updates.close(ignored);
  ports->datagrams.close(ignored);
  names.stop();
  pause.cancel();
  sweep.cancel();
  for (auto& session : query_sessions) session->end("the catalog ends");
  for (auto& session : update_sessions) session->end("the catalog ends");
  query_sessions.clear();
  update_sessions.clear();
}

void CatalogServer::Impl::accept(tcp::acceptor& acceptor, bool updates) {
  acceptor.async_accept([self = shared_from_this(), &acceptor, updates](ErrorCode error, tcp::socket socket) {
    if (self->stopped || error == boost::asio::error::operation_aborted) return;
    if (error) {
      // Out of descriptors: wait for some to come back instead of spinning.
      self->log(std::string("cannot accept a connection: ") + error.message());
      self->pause.expires_after(std::chrono::milliseconds(100));
      self->pause.async_wait([self, &acceptor, updates](ErrorCode) {
        if (!self->stopped) self->accept(acceptor, updates);
      });
      return;
    }
    self->make_room(updates);
    auto session = std::make_shared<Session>(*self, std::move(socket), updates);
    (updates ? self->update_sessions : self->query_sessions).push_back(session);
    session->start();
    self->accept(acceptor, updates);
  });
}

void CatalogServer::Impl::make_room(bool updates) {
  auto& sessions = updates ? update_sessions : query_sessions;
  const auto limit = updates ? options.update_connections : options.query_connections;
  if (sessions.size() < limit) return;
  ++counters.pushed_out;
  auto oldest = sessions.front();
  sessions.pop_front();
  oldest->end("making room");
}

void CatalogServer::Impl::remove(Session* session) {
  auto& sessions = session->is_update() ? update_sessions : query_sessions;
  sessions.remove_if([session](const auto& item) { return item.get() == session; });
}

void CatalogServer::Impl::read_datagrams() {
  ports->datagrams.async_wait(boost::asio::ip::udp::socket::wait_read, [self = shared_from_this()](ErrorCode error) {
    if (error || self->stopped) return;
    static thread_local std::array<char, 65536> buffer;
    constexpr int most_per_turn = 200;  // then queries have their turn
    for (int i = 0; i < most_per_turn; ++i) {
      boost::asio::ip::udp::endpoint from;
      ErrorCode failure;
      const auto size = self->ports->datagrams.receive_from(boost::asio::buffer(buffer), from, 0, failure);
      if (failure) break;
      auto address = from.address();
      if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        address = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
      }
      ++self->counters.updates_udp;
      self->take_update({buffer.data(), size}, address);
    }
    self->read_datagrams();
  });
}

void CatalogServer::Impl::take_update(std::string_view bytes, const boost::asio::ip::address& from) {
  if (stopped || bytes.substr(0, 4) == "GET ") return;  // a browser at the wrong port
  const auto drop = [&](const std::string& why) {
    ++counters.dropped;
    log("dropped an update from " + from.to_string() + ": " + why);
  };
  auto text = unpack_update(bytes);
  if (!text) return drop(text.error().text);
  auto record = read_record(*text);
  if (!record) return drop(record.error().text);
  if (const auto reason = unservable(*record); !reason.empty()) return drop(reason);
  auto shared = std::make_shared<Value>(std::move(*record));
  names.get(from, [this, shared, address = from.to_string()](const std::string& name) {
    if (!stopped) store.put(std::move(*shared), address, name, unix_now());
  });
}

void CatalogServer::Impl::expire_if_due() {
  const auto now = unix_now();
  if (now == last_expiry) return;
  last_expiry = now;
  store.expire(now);
}

void CatalogServer::Impl::arm_sweep() {
  sweep.expires_after(std::chrono::seconds(10));
  sweep.async_wait([weak = weak_from_this()](ErrorCode error) {
    auto self = weak.lock();
    if (error || !self) return;
    self->expire_if_due();
    self->arm_sweep();
  });
}

// Replies are kept until a record changes: every worker of a pool asks the same question.
CatalogServer::Impl::Body CatalogServer::Impl::body_for(const std::string& target) {
  expire_if_due();
  const auto generation = store.generation();
  if (const auto it = bodies.find(target); it != bodies.end() && it->second.generation == generation) return it->second;
  std::erase_if(bodies, [generation](const auto& item) { return item.second.generation != generation; });
  auto page = render_page(store, target);
  Body body{generation, std::make_shared<const std::string>(std::move(page.body)), page.status, std::move(page.type)};
  constexpr std::size_t most_bodies = 16;
  if (page.status == 200 && bodies.size() < most_bodies) bodies[target] = body;
  return body;
}

Expected<std::unique_ptr<CatalogServer>> CatalogServer::make(boost::asio::io_context& io, ServerOptions options) {
  auto ports = bind_ports(io, options.address, options.port, options.low_port, options.high_port);
  if (!ports) return ports.error();
  auto impl = std::make_shared<Impl>(io, std::move(options), *ports);
  impl->port = impl->ports->queries.local_endpoint().port();
  std::unique_ptr<CatalogServer> server(new CatalogServer(impl));
  impl->owner = server.get();
  return server;
}

CatalogServer::~CatalogServer() {
  stop();
  impl_->owner = nullptr;
}

void CatalogServer::start() { impl_->start(); }
void CatalogServer::stop() { impl_->stop(); }
std::uint16_t CatalogServer::port() const { return impl_->port; }
RecordStore& CatalogServer::store() { return impl_->store; }
const ServerCounters& CatalogServer::counters() const { return impl_->counters; }

}  // namespace taskmill::catalog
