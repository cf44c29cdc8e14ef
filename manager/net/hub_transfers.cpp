// The hub and workers that pass large inputs on to each other (docs/extensions.md, capability `peer`).
#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <vector>

#include "common/aio/clock.hpp"
#include "common/archive/digest.hpp"
#include "manager/net/hub.hpp"
#include "protocol/pb/frames.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t token_length = 32;
constexpr std::uint32_t fetches_per_token = 2;  // one may break off and go on
constexpr Duration token_grace = std::chrono::seconds(10);

std::string make_token() {
  std::array<unsigned char, token_length> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return {};
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string host_of(const std::string& text) {
  std::string host = text.substr(0, text.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return host;
}

// ---- digests, on a pool thread ----

struct DigestJob {
  std::string path;
  std::shared_ptr<const std::string> buffer;
  bool piece = false;
  std::uint64_t offset = 0, length = 0;
};

bool read_range(int file, std::uint64_t offset, std::uint64_t end, archive::Sha256& sha) {
  std::vector<char> buffer(1U << 20);
  while (offset < end) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), end - offset));
    const ssize_t n = ::pread(file, buffer.data(), want, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sha.update(archive::as_bytes(std::string_view(buffer.data(), static_cast<std::size_t>(n))));
    offset += static_cast<std::uint64_t>(n);
  }
  return true;
}

std::int64_t mtime_of(const struct stat& info) { return info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec; }

DigestResult digest_of(const DigestJob& job) {
  DigestResult result;
  archive::Sha256 sha;
  if (job.buffer) {
    sha.update(archive::as_bytes(*job.buffer));
    result.digest = sha.finish().bytes;
    result.size = job.buffer->size();
    result.mode = 0777;
    return result;
  }
  const os::UniqueFd file(::open(job.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat before {};
  struct stat after {};
  if (!file || ::fstat(file.get(), &before) != 0 || !S_ISREG(before.st_mode)) {
    result.error = job.path + ": " + (file ? "not a file" : std::strerror(errno));
    return result;
  }
  const auto size = static_cast<std::uint64_t>(before.st_size);
  const std::uint64_t begin = job.piece ? job.offset : 0;
  const std::uint64_t end = job.piece ? job.offset + job.length : size;
  if (end > size || !read_range(file.get(), begin, end, sha) || ::fstat(file.get(), &after) != 0 ||
      mtime_of(before) != mtime_of(after) || before.st_size != after.st_size) {
    result.error = job.path + ": changed while its digest was made";
    return result;
  }
  result.digest = sha.finish().bytes;
  result.size = size;
  result.mtime_ns = mtime_of(before);
  result.mode = before.st_mode & 0777U;
  return result;
}

}  // namespace

// Not on the pool that opens inputs: reading a large file takes seconds.
void Hub::perform_digests() {
  for (const auto& request : effects_.digests) {
    DigestJob what;
    what.path = effects_.view(request.path);
    if (request.kind == FileKind::buffer) what.buffer = machine_.buffer(request.file);
    what.piece = request.kind == FileKind::piece;
    what.offset = request.offset;
    what.length = request.length;
    auto job = [this, object = request.object, what = std::move(what)]() -> aio::Pool::Done {
      return [this, object, result = digest_of(what)] {
        machine_.on_digest(object, result, aio::now());
        wake();
      };
    };
    if (downloads_.submit(std::move(job))) continue;
    DigestResult none;
    none.error = "too much else is being read";
    boost::asio::post(io_, [this, object = request.object, none] {
      machine_.on_digest(object, none, aio::now());
      wake();
    });
  }
}

void Hub::order_transfer(const Action& action, Peer& target) {
  pb::PeerFetch fetch;
  fetch.set_cache_name(std::string(effects_.view(action.name)));
  std::string frame;
  if (action.kind == ActionKind::peer_await) {
    protocol::append_frame(frame, fetch, false);
    return target.outbound().add_frame(std::move(frame));
  }
  const PeerTransfer& transfer = effects_.transfers.at(action.index);
  const std::string object(reinterpret_cast<const char*>(transfer.digest.data()), transfer.digest.size());
  const auto limit = static_cast<std::uint64_t>(std::max<Duration::rep>(transfer.limit.count(), 1));
  fetch.set_order(transfer.order);
  fetch.set_object(object);
  fetch.set_size(transfer.size);
  fetch.set_mode(transfer.mode);
  fetch.set_deadline_us(limit);
  const auto source = transfer.source.valid() ? peers_.find(transfer.source) : peers_.end();
  const std::string token = make_token();
  // A source that is leaving is left out: without any the worker answers at once that there was none.
  if (source != peers_.end() && source->second->listening().port != 0 && !token.empty()) {
    pb::PeerServe serve;
    serve.set_object(object);
    serve.set_cache_name(std::string(effects_.view(transfer.source_name)));
    serve.set_token(token);
    serve.set_expires_us(limit + static_cast<std::uint64_t>(token_grace.count()));
    serve.set_most_fetches(fetches_per_token);
    std::string order;
    protocol::append_frame(order, serve, false);
    source->second->outbound().add_frame(std::move(order));
    touched_.push_back(source->second.get());
    auto* where = fetch.add_sources();
    where->set_address(source->second->listening().address);
    where->set_port(source->second->listening().port);
    where->set_token(token);
  }
  const bool from_manager = transfer.environment && !transfer.source.valid();
  if (fetch.sources_size() == 0 && !from_manager) {
    boost::asio::post(io_, [this, id = target.id(), order = transfer.order] {
      machine_.on_peer_done(id, {order, false, true, "the source does not listen"}, aio::now());
      wake();
    });
    if (transfer.environment) return;  // without a source it would mean the manager
  }
  protocol::append_frame(frame, fetch, false);
  target.outbound().add_frame(std::move(frame));
}

// ---- what workers say about it ----

void Peer::on_peer_listening(std::string_view body) {
  const auto listening = protocol::parse_frame<pb::PeerListening>(frame_kind_, body);
  if (!listening) return fail(CloseReason::protocol_error, "a frame about peers that is none");
  const std::string address = listening->address().empty() ? host_of(address_) : listening->address();
  ErrorCode error;
  boost::asio::ip::make_address(address, error);
  if (error || listening->port() == 0 || listening->port() > 65535)
    return fail(CloseReason::protocol_error, "a worker listens where nobody can reach it");
  listening_ = {address, listening->port()};
  owner_.machine().on_peer_listening(id_, aio::now());
  owner_.wake();
}

void Peer::on_peer_done(std::string_view body) {
  const auto done = protocol::parse_frame<pb::PeerDone>(frame_kind_, body);
  if (!done) return fail(CloseReason::protocol_error, "a frame about peers that is none");
  owner_.machine().on_peer_done(
      id_, {done->order(), done->ok(), done->failed_sources_size() > 0, done->error(), done->bytes()}, aio::now());
  owner_.wake();
}

}  // namespace taskmill::manager
