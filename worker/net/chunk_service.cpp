#include "worker/net/chunk_service.hpp"

#include <utility>

#include "protocol/pb/frames.hpp"

namespace taskmill::worker {
namespace {

constexpr std::uint64_t most_chunks = 4'000'000;

struct Batch {
  std::uint32_t next = 0, end = 0;
  bool zstd = false;

  Expected<bool> read(ChunkReader& reader, std::string& frames) {
    const auto& digest = reader.environment();
    pb::ChunkData message;
    message.set_digest(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
    message.set_compressed(zstd);
    for (; next < end && frames.size() < aio::BatchFeed::batch_bytes; ++next) {
      auto data = reader.read(next, zstd);
      if (!data) return data.error();
      message.set_index(next);
      message.set_data(std::move(*data));
      protocol::append_frame(frames, message, false);
    }
    return {boost::system::in_place_value, next == end};
  }
};

}  // namespace

ChunkService::ChunkService(const std::string& directory, const archive::Digest& environment, aio::Pool& pool,
                           aio::BatchFeed::Wire wire)
    : reader_(std::make_shared<ChunkReader>(directory, environment)),
      feed_(std::make_shared<aio::BatchFeed>(pool, std::move(wire))) {}

bool ChunkService::on_request(const pb::PeerRequest& request) {
  for (const auto& range : request.chunks()) {
    const std::uint64_t end = std::uint64_t{range.first()} + range.count();
    if (end > most_chunks) return false;
    Batch batch{range.first(), static_cast<std::uint32_t>(end), request.zstd()};
    auto read = [reader = reader_, batch](std::string& frames) mutable { return batch.read(*reader, frames); };
    if (!feed_->add(std::move(read))) return false;
  }
  feed_->pump();
  return true;
}

}  // namespace taskmill::worker
