// Deletes what is in trash/, in batches on a thread of its own. Adding costs nothing but a name.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/aio/pool.hpp"

namespace taskmill::worker {

class Disposal {
 public:
  /// `directory` must stay open as long as jobs may run.
  Disposal(boost::asio::io_context& io, int directory);
  void add(std::string name);
  void add(std::vector<std::string> names);
  /// A used sandbox: emptied, and kept as a spare for the next task.
  void recycle(std::string name);
  [[nodiscard]] bool has_room() const { return spares_.size() < most_spares; }  ///< for one more to keep
  /// It is pristine as it is: a path from the top of the workspace.
  void keep(std::string name);
  /// Path of a pristine sandbox, which is the caller's from now on; empty when there is none.
  /// `preferred` itself if it is one, so that nothing in the list ever has the name of a live sandbox.
  std::string take_spare(const std::string& preferred);
  [[nodiscard]] bool idle() const { return !busy_ && names_.empty() && used_.empty(); }
  /// Called (once) when everything is deleted.
  void when_idle(std::function<void()> handler);
  /// Makes a running deletion end early.
  void stop() { stop_->store(true); }

 private:
  static constexpr std::size_t most_spares = 256;
  void pump();
  int directory_;
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  std::vector<std::string> names_;
  std::vector<std::string> used_;
  std::vector<std::string> spares_;
  bool busy_ = false;
  std::function<void()> on_idle_;
  aio::Pool pool_;
};

}  // namespace taskmill::worker
