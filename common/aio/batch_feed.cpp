#include "common/aio/batch_feed.hpp"

#include <utility>

namespace taskmill::aio {
namespace {

constexpr std::size_t most_batches = 2;  // read ahead, or in the connection's outbox
constexpr std::size_t most_orders = 100'000;

}  // namespace

bool BatchFeed::add(Read read) {
  if (orders_.size() >= most_orders) return false;
  orders_.push_back(std::make_shared<Read>(std::move(read)));
  return true;
}

void BatchFeed::on_sent() {
  if (leaving_ > 0) --leaving_;
  pump();
}

void BatchFeed::pump() {
  if (closed_) return;
  while (!read_.empty() && leaving_ < most_batches && wire_.has_room()) {
    ++leaving_;
    auto batch = std::move(read_.front());
    read_.pop_front();
    wire_.send(std::move(batch));
  }
  read_next();
}

void BatchFeed::read_next() {
  if (reading_ || orders_.empty() || read_.size() >= most_batches) return;
  reading_ = true;
  auto job = [self = shared_from_this(), read = orders_.front()]() -> Pool::Done {
    auto batch = std::make_shared<std::string>();
    const auto outcome = (*read)(*batch);
    // Not the outcome itself is captured: a moved result<bool> is made of "has a value".
    const bool complete = outcome && *outcome;
    auto error = outcome ? std::string() : outcome.error().text;
    return [self, batch, complete, error = std::move(error)] {
      self->reading_ = false;
      self->on_read(complete, batch, error);
    };
  };
  if (pool_.submit(job)) return;
  // The pool is full: what is short is done here, one batch per turn of the connection.
  if (const auto done = job()) done();
}

void BatchFeed::on_read(bool complete, std::shared_ptr<const std::string> batch, const std::string& error) {
  if (closed_) return;
  if (!error.empty()) return wire_.fail(error);
  if (complete) orders_.pop_front();
  if (!batch->empty()) read_.push_back(std::move(batch));
  pump();
}

}  // namespace taskmill::aio
