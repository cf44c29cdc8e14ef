// Chunks of environments on their way to one native worker: what it asks for is read on the pool, and sent beside
// everything else that it is told.
#pragma once

#include <memory>
#include <string>

#include "common/aio/batch_feed.hpp"
#include "manager/net/environment_library.hpp"

namespace taskmill::manager {

class EnvironmentFeed {
 public:
  EnvironmentFeed(std::shared_ptr<EnvironmentLibrary> library, aio::Pool& pool, aio::BatchFeed::Wire wire)
      : library_(std::move(library)), feed_(std::make_shared<aio::BatchFeed>(pool, std::move(wire))) {}

  /// False: it makes no sense.
  bool on_need(const pb::EnvironmentNeed& need, bool zstd);
  void on_sent() { feed_->on_sent(); }
  /// There may be room again.
  void pump() { feed_->pump(); }
  void shut() { feed_->shut(); }

 private:
  std::shared_ptr<EnvironmentLibrary> library_;
  std::shared_ptr<aio::BatchFeed> feed_;
};

}  // namespace taskmill::manager
