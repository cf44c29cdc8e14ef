#include "common/aio/pool.hpp"

#include <boost/asio/post.hpp>
#include <utility>

namespace taskmill::aio {

Pool::Pool(boost::asio::io_context& control, unsigned threads, std::size_t queue_limit)
    : control_(control), queue_limit_(queue_limit) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    queue_.clear();
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

bool Pool::submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= queue_limit_) return false;
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
  return true;
}

std::size_t Pool::queued() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void Pool::work() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    // The guard keeps run() of the control thread alive until the closure has been handed over.
    const auto guard = boost::asio::make_work_guard(control_);
    Done done = job();
    job = nullptr;
    if (done) boost::asio::post(control_, std::move(done));
  }
}

}  // namespace taskmill::aio
