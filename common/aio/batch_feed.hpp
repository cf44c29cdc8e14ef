// What is read on the pool, a batch at a time, and only as fast as a connection takes it: so that other words pass
// between, and memory stays bounded. Runs on the control thread, but for the reading.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "common/aio/pool.hpp"
#include "common/base/result.hpp"

namespace taskmill::aio {

class BatchFeed : public std::enable_shared_from_this<BatchFeed> {
 public:
  static constexpr std::size_t batch_bytes = 256U << 10;
  struct Wire {
    std::function<bool()> has_room;                                ///< may something be sent now?
    std::function<void(std::shared_ptr<const std::string>)> send;  ///< on_sent() follows when it has left
    std::function<void(const std::string& why)> fail;              ///< something could not be read
  };
  /// Appends about batch_bytes; true: nothing is left. Called on the pool, one at a time, until it says so or fails.
  using Read = std::function<Expected<bool>(std::string& batch)>;

  BatchFeed(Pool& pool, Wire wire) : pool_(pool), wire_(std::move(wire)) {}

  /// False: too many wait already.
  bool add(Read read);
  void add_ready(std::shared_ptr<const std::string> batch) { read_.push_back(std::move(batch)); }
  void on_sent();
  /// There may be room, or something new.
  void pump();
  void shut() { closed_ = true; }
  [[nodiscard]] bool idle() const { return orders_.empty() && read_.empty() && leaving_ == 0; }

 private:
  void read_next();
  void on_read(bool complete, std::shared_ptr<const std::string> batch, const std::string& error);

  Pool& pool_;
  Wire wire_;
  std::deque<std::shared_ptr<Read>> orders_;             ///< they remember how far they are
  std::deque<std::shared_ptr<const std::string>> read_;  ///< ready to leave
  std::size_t leaving_ = 0;                              ///< handed to the connection
  bool reading_ = false, closed_ = false;
};

}  // namespace taskmill::aio
