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
  /// It is pristine as it is.
  void keep(std::string name);
  /// Name of a pristine sandbox, which is the caller's from now on; empty when there is none.
  std::string take_spare();
  [[nodiscard]] bool idle() const { return !busy_ && names_.empty() && used_.empty(); }
  /// Called (once) when everything is deleted.
  void when_idle(std::function<void()> handler);
  /// Makes a running deletion end early.
  void stop() { stop_->store(true); }

 private:
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
