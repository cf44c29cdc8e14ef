// Chunks of environments on their way to one native worker: read on the pool a quarter of a megabyte at a time, and
// only as fast as the connection takes them, so that words for this worker pass between and others notice nothing.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "common/aio/pool.hpp"
#include "manager/net/environment_library.hpp"

namespace taskmill::manager {

class EnvironmentFeed : public std::enable_shared_from_this<EnvironmentFeed> {
 public:
  struct Wire {
    std::function<bool()> has_room;                                ///< may frames be sent now?
    std::function<void(std::shared_ptr<const std::string>)> send;  ///< on_sent() follows when they have left
    std::function<void(const std::string& why)> fail;              ///< the connection is to end
  };
  EnvironmentFeed(std::shared_ptr<EnvironmentLibrary> library, aio::Pool& pool, Wire wire)
      : library_(std::move(library)), pool_(pool), wire_(std::move(wire)) {}

  /// False: it makes no sense.
  bool on_need(const pb::EnvironmentNeed& need, bool zstd);
  void on_sent();
  /// There may be room again.
  void pump();
  void shut() { closed_ = true; }

 private:
  struct Order {
    OfferedEnvironmentPtr environment;
    std::uint32_t first = 0, end = 0;
    bool zstd = false;
  };
  void read_next();
  void on_read(std::uint32_t next, std::shared_ptr<const std::string> frames, const std::string& error);

  std::shared_ptr<EnvironmentLibrary> library_;
  aio::Pool& pool_;
  Wire wire_;
  std::deque<Order> orders_;
  std::deque<std::shared_ptr<const std::string>> read_;  ///< ready to leave
  std::size_t leaving_ = 0;                              ///< handed to the connection
  bool reading_ = false;
  bool closed_ = false;
};

}  // namespace taskmill::manager
