#include "worker/net/peer_server.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "common/base/text.hpp"
#include "protocol/pb/peer_frames.hpp"
#include "worker/net/chunk_service.hpp"

namespace taskmill::worker {
namespace {

using boost::asio::ip::tcp;

constexpr std::size_t most_guests = 64;
constexpr std::uint64_t piece = 4U << 20;  // of a file, in one frame
constexpr Duration request_limit = std::chrono::seconds(10);
constexpr Duration token_patience = std::chrono::seconds(5);  // its token may still be on the way
constexpr Duration stall_limit = std::chrono::seconds(30);
constexpr Duration idle_limit = std::chrono::minutes(5);  // between requests for chunks: the guest unpacks
constexpr std::uint64_t chunk_ticket = 1;
constexpr auto look_interval = std::chrono::seconds(1);
constexpr unsigned most_fetches = 1000;
constexpr Duration longest_ticket = std::chrono::hours(24);

}  // namespace

/// One connection of another worker.
class PeerServer::Guest : public aio::ConnectionHandler {
 public:
  Guest(PeerServer& server, std::uint64_t id, tcp::socket socket)
      : server_(server), id_(id), connection_(std::make_shared<aio::Connection>(std::move(socket), *this)) {
    since_ = aio::steady_now();
    connection_->start();
  }
  ~Guest() override {
    connection_->detach();
    connection_->close("no longer needed");
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  /// Asked again when a token has come.
  void try_to_serve(bool final) {
    if (!asked_ || file_ || chunks_ || refused_) return;
    std::string name;
    const auto verdict = server_.tickets_.redeem(asked_->token(), asked_->object(), aio::steady_now(), name);
    if (verdict == PeerTickets::Verdict::unknown && !final) return;
    if (verdict != PeerTickets::Verdict::granted) return refuse(verdict_text(verdict));
    name.empty() ? serve_chunks() : serve(name);
  }

  void look(Time now) {
    if (!asked_) {
      if (now >= since_ + request_limit) connection_->close("no request came");
      return;
    }
    if (!file_ && !chunks_ && now >= since_ + token_patience) try_to_serve(true);
    if (connection_->bytes_out() != seen_) {
      seen_ = connection_->bytes_out();
      since_ = now;
    } else if (now >= since_ + (chunks_ && chunks_->idle() ? idle_limit : stall_limit)) {
      connection_->close("the guest does not read");
    }
  }

 private:
  std::size_t on_data(std::span<const char> bytes) override {
    std::size_t used = 0;
    while (used < bytes.size() && connection_->is_open()) {
      // Of a file nothing more is expected; of an environment not before the first was understood.
      if (file_ || refused_) return bytes.size();
      if (asked_ && !chunks_) break;
      std::string problem;
      auto asked = protocol::read_peer_request(bytes.subspan(used), problem);
      if (!asked && problem.empty()) break;
      if (asked && chunks_ && !chunks_->on_request(asked->request)) problem = "a request that makes no sense";
      if (!problem.empty()) {
        connection_->close(problem);
        return bytes.size();
      }
      used += asked->size;
      since_ = aio::steady_now();
      if (asked_) continue;
      asked_ = std::move(asked->request);
      try_to_serve(false);
      if (asked_->chunks_size() > 0 && !chunks_) connection_->pause_reading();
    }
    return used;
  }
  void on_drained() override { chunks_ ? chunks_->pump() : send_some(); }
  void on_sent(std::uint64_t ticket) override {
    if (ticket == chunk_ticket && chunks_) chunks_->on_sent();
  }
  void on_short_file(std::uint64_t) override { connection_->close("the object became shorter"); }
  void on_closed(const aio::CloseReason& reason) override {
    server_.context_.log.detail("peer " + connection_->peer_text() + " is gone: " + reason.text);
    server_.guests_.erase(id_);  // ends this object
  }

  void serve(const std::string& name) {
    auto file = std::make_shared<os::UniqueFd>(
        ::openat(server_.context_.space.cache(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat info {};
    if (!*file || ::fstat(file->get(), &info) != 0 || !S_ISREG(info.st_mode)) return refuse("the object is gone");
    size_ = static_cast<std::uint64_t>(info.st_size);
    offset_ = asked_->offset();
    if (offset_ > size_) return refuse("the object is shorter than that");
    file_ = std::move(file);
    server_.context_.log.detail("serving '" + name + "' to peer " + connection_->peer_text());
    send_some();
  }

  void serve_chunks() {
    archive::Digest digest;
    if (asked_->object().size() != digest.bytes.size()) return refuse("no environment is called so");
    std::memcpy(digest.bytes.data(), asked_->object().data(), digest.bytes.size());
    aio::BatchFeed::Wire wire;
    wire.has_room = [this] { return connection_->is_open() && !connection_->is_congested(); };
    wire.send = [this](std::shared_ptr<const std::string> batch) {
      connection_->send_buffer(std::move(batch), chunk_ticket);
    };
    wire.fail = [this](const std::string& why) { refuse(why); };
    chunks_.emplace(server_.chunk_directory_(), digest, server_.context_.pool, std::move(wire));
    server_.context_.log.detail("serving an environment to peer " + connection_->peer_text());
    if (!chunks_->on_request(*asked_)) return refuse("a request that makes no sense");
    connection_->resume_reading();  // what came behind the request
  }

  // A piece is a head and a range of the file, which takes no memory; on_drained() brings the next ones.
  void send_some() {
    if (!file_ || complete_ || sending_) return;
    sending_ = true;  // queueing may drain at once, which comes back here
    while (!complete_ && !connection_->is_congested() && connection_->is_open()) {
      const auto length = std::min(piece, size_ - offset_);
      complete_ = offset_ + length == size_;
      std::string head;
      protocol::append_peer_head(head, offset_, length, complete_);
      connection_->send(head);
      if (length > 0) connection_->send_file(file_, offset_, length);
      offset_ += length;
    }
    sending_ = false;
    if (complete_) connection_->finish("served");
  }

  void refuse(const std::string& why) {
    refused_ = true;
    server_.context_.log.detail("refusing peer " + connection_->peer_text() + ": " + why);
    std::string frame;
    protocol::append_peer_error(frame, why);
    connection_->send(frame);
    connection_->finish("refused");
  }

  PeerServer& server_;
  std::uint64_t id_;
  std::shared_ptr<aio::Connection> connection_;
  std::optional<pb::PeerRequest> asked_;
  std::shared_ptr<os::UniqueFd> file_;
  std::optional<ChunkService> chunks_;
  std::uint64_t offset_ = 0, size_ = 0;
  bool complete_ = false, refused_ = false, sending_ = false;
  Time since_{};  ///< of the last progress
  std::uint64_t seen_ = 0;
};

PeerServer::PeerServer(Context& context, std::function<std::string()> chunk_directory)
    : context_(context), chunk_directory_(std::move(chunk_directory)), acceptor_(context.io), timer_(context.io) {}

PeerServer::~PeerServer() = default;

std::uint16_t PeerServer::listen(const boost::asio::ip::address& address) {
  close();
  ErrorCode error;
  acceptor_.open(address.is_v6() ? tcp::v6() : tcp::v4(), error);
  if (!error) acceptor_.bind(tcp::endpoint(address, 0), error);
  if (!error) acceptor_.listen(static_cast<int>(most_guests), error);
  if (!error) acceptor_.non_blocking(true, error);
  const auto port = error ? 0 : acceptor_.local_endpoint(error).port();
  if (error) {
    context_.log.detail("cannot listen for other workers on " + address.to_string() + ": " + error.message());
    close();
    return 0;
  }
  accept();
  return port;
}

void PeerServer::close() {
  ErrorCode ignored;
  acceptor_.close(ignored);
  timer_.cancel();
  looking_ = accepting_ = false;
  guests_.clear();
  tickets_.clear();
}

void PeerServer::accept() {
  accepting_ = true;
  acceptor_.async_accept([this](ErrorCode error, tcp::socket socket) {
    if (!acceptor_.is_open() || error == boost::asio::error::operation_aborted) return;
    accepting_ = false;
    if (!error && guests_.size() < most_guests) {
      const auto id = next_guest_++;
      guests_.emplace(id, std::make_unique<Guest>(*this, id, std::move(socket)));
    }
    if (!looking_) look_around();
    if (!error || error == boost::asio::error::connection_aborted) accept();  // else: when it looks around
  });
}

void PeerServer::grant(const pb::PeerServe& order) {
  const auto now = aio::steady_now();
  const auto lifetime = std::min(
      longest_ticket,
      Duration(static_cast<Duration::rep>(std::min<std::uint64_t>(order.expires_us(), longest_ticket.count()))));
  if (!order.cache_name().empty() && !is_safe_name(order.cache_name())) return;
  tickets_.grant(order.token(), order.object(), order.cache_name(), now + lifetime,
                 std::min(order.most_fetches(), most_fetches), now);
  for (auto& [id, guest] : guests_) guest->try_to_serve(false);
}

void PeerServer::look_around() {
  looking_ = true;
  timer_.expires_after(look_interval);
  timer_.async_wait([this](ErrorCode error) {
    if (error) return;
    const auto now = aio::steady_now();
    for (auto& [id, guest] : guests_) guest->look(now);
    looking_ = false;
    if (!accepting_) accept();
    if (!guests_.empty()) look_around();
  });
}

}  // namespace taskmill::worker
