// What one other worker gets of an environment of this one: the chunks that it asks for, read on the pool and sent as
// fast as its connection takes them (docs/extensions.md, capability `peer`).
#pragma once

#include <memory>
#include <string>

#include "common/aio/batch_feed.hpp"
#include "protocol/pb/extension.pb.h"
#include "worker/host/chunk_reader.hpp"

namespace taskmill::worker {

class ChunkService {
 public:
  ChunkService(const std::string& directory, const archive::Digest& environment, aio::Pool& pool,
               aio::BatchFeed::Wire wire);
  ~ChunkService() { feed_->shut(); }
  ChunkService(const ChunkService&) = delete;
  ChunkService& operator=(const ChunkService&) = delete;

  /// False: it makes no sense.
  bool on_request(const pb::PeerRequest& request);
  void on_sent() { feed_->on_sent(); }
  void pump() { feed_->pump(); }
  [[nodiscard]] bool idle() const { return feed_->idle(); }

 private:
  std::shared_ptr<ChunkReader> reader_;
  std::shared_ptr<aio::BatchFeed> feed_;
};

}  // namespace taskmill::worker
