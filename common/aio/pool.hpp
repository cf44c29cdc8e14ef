// Offload of what blocks or burns: a bounded pool of threads beside the one control thread.
//
// A job is a function of values that returns a closure; the job runs on a pool thread, the closure runs on
// the control thread. Nothing mutable is shared. When the queue is full submit() returns false and the
// caller keeps its input closed (a gate), so that overload does not become memory.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace taskmill::aio {

class Pool {
 public:
  using Done = std::function<void()>;
  using Job = std::function<Done()>;

  Pool(boost::asio::io_context& control, unsigned threads, std::size_t queue_limit = 1024);
  ~Pool();  ///< waits for running jobs; queued ones are dropped
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  [[nodiscard]] bool submit(Job job);
  [[nodiscard]] std::size_t queued() const;

 private:
  void work();

  boost::asio::io_context& control_;
  std::size_t queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace taskmill::aio
