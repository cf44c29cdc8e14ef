#include "worker/net/chunk_source.hpp"

#include <boost/asio/post.hpp>
#include <utility>

#include "protocol/pb/frames.hpp"
#include "protocol/pb/peer_frames.hpp"
#include "worker/net/peer_text.hpp"

namespace taskmill::worker {
namespace {

using boost::asio::ip::tcp;

constexpr Duration silence_limit = std::chrono::seconds(10);
constexpr auto look_interval = std::chrono::seconds(1);
constexpr int most_runs = 128;  // in one request, so that its frame stays short

}  // namespace

ChunkSource::ChunkSource(Context& context, std::string object, pb::PeerSource source, Events events)
    : context_(context),
      object_(std::move(object)),
      source_(std::move(source)),
      events_(std::move(events)),
      socket_(context.io),
      timer_(context.io) {}

ChunkSource::~ChunkSource() { close(); }

std::string ChunkSource::text() const { return source_.address() + ":" + std::to_string(source_.port()); }

void ChunkSource::start() {
  moved_at_ = aio::steady_now();
  watch();
  ErrorCode error;
  const auto address = boost::asio::ip::make_address(source_.address(), error);
  if (error || source_.port() == 0 || source_.port() > 65535) {
    // Not from within: the caller has not noted this source yet.
    boost::asio::post(context_.io, [self = shared_from_this()] { self->fail("its address is none"); });
    return;
  }
  socket_.async_connect({address, static_cast<std::uint16_t>(source_.port())},
                        [self = shared_from_this()](ErrorCode failed) { self->on_connected(failed); });
}

void ChunkSource::on_connected(ErrorCode error) {
  if (closed_) return;
  if (error) return fail("cannot connect: " + error.message());
  connection_ = std::make_shared<aio::Connection>(std::move(socket_), *this);
  connection_->start();
  send_requests();
}

void ChunkSource::ask(const std::vector<ChunkRun>& runs) {
  if (expected_ == 0) moved_at_ = aio::steady_now();
  for (const ChunkRun& run : runs) expected_ += run.count;
  unsent_.insert(unsent_.end(), runs.begin(), runs.end());
  if (connection_) send_requests();
}

void ChunkSource::send_requests() {
  std::string frames;
  for (std::size_t at = 0; at < unsent_.size();) {
    pb::PeerRequest request;
    request.set_object(object_);
    if (!std::exchange(introduced_, true)) request.set_token(source_.token());
    request.set_zstd(true);
    for (; at < unsent_.size() && request.chunks_size() < most_runs; ++at) {
      auto* range = request.add_chunks();
      range->set_first(unsent_[at].first);
      range->set_count(unsent_[at].count);
    }
    protocol::append_frame(frames, request, false);
  }
  unsent_.clear();
  if (!frames.empty()) connection_->send(frames);
}

std::size_t ChunkSource::on_data(std::span<const char> bytes) {
  const auto self = shared_from_this();
  const auto take = events_.chunk;  // it may close this source
  std::size_t used = 0;
  while (used < bytes.size() && !closed_) {
    std::string problem;
    auto read = protocol::read_peer_chunk(bytes.subspan(used), problem);
    if (!read && problem.empty()) break;
    if (read && !read->error.empty()) problem = "refused: " + plain(read->error);
    if (problem.empty() && (read->chunk.digest() != object_ || expected_ == 0)) problem = "sent what was not asked for";
    if (!problem.empty()) {
      fail(problem);
      return bytes.size();
    }
    used += read->size;
    --expected_;
    take(read->chunk);
  }
  return closed_ ? bytes.size() : used;
}

void ChunkSource::on_closed(const aio::CloseReason& reason) { fail("broke off: " + reason.text); }

void ChunkSource::watch() {
  timer_.expires_after(look_interval);
  timer_.async_wait([weak = weak_from_this()](ErrorCode error) {
    const auto self = weak.lock();
    if (error || !self || self->closed_) return;
    const auto now = aio::steady_now();
    const std::uint64_t seen = self->connection_ ? self->connection_->bytes_in() : 0;
    if (seen != std::exchange(self->seen_, seen)) self->moved_at_ = now;
    if (self->expected_ > 0 && now >= self->moved_at_ + silence_limit) return self->fail("is silent");
    self->watch();
  });
}

void ChunkSource::fail(const std::string& why) {
  if (closed_) return;
  const auto self = shared_from_this();
  const auto failed = events_.failed;
  close();
  failed(why);
}

void ChunkSource::close() {
  if (std::exchange(closed_, true)) return;
  events_ = {};
  timer_.cancel();
  ErrorCode ignored;
  socket_.close(ignored);
  if (!connection_) return;
  connection_->detach();
  connection_->close("done with this source");
  connection_.reset();
}

}  // namespace taskmill::worker
