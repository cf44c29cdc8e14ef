#include "manager/net/environment_feed.hpp"

#include <utility>

namespace taskmill::manager {
namespace {

constexpr std::size_t batch_bytes = 256U << 10;
constexpr std::size_t most_batches = 2;  // read ahead, or in the connection's outbox
constexpr std::size_t most_orders = 100'000;

}  // namespace

bool EnvironmentFeed::on_need(const pb::EnvironmentNeed& need, bool zstd) {
  const auto digest = to_digest(need.digest());
  const auto environment = digest ? library_->find(*digest) : nullptr;
  if (!environment || closed_) return environment != nullptr;
  if (need.list()) {
    auto frame = std::make_shared<std::string>();
    if (!protocol::append_frame(*frame, library_->list(*environment, need.base()), zstd)) return false;
    read_.push_back(std::move(frame));
  }
  const std::uint64_t count = environment->index.chunks.size();
  for (const auto& range : need.missing()) {
    if (std::uint64_t{range.first()} + range.count() > count || orders_.size() >= most_orders) return false;
    orders_.push_back({environment, range.first(), range.first() + range.count(), zstd});
  }
  pump();
  return true;
}

void EnvironmentFeed::on_sent() {
  if (leaving_ > 0) --leaving_;
  pump();
}

void EnvironmentFeed::pump() {
  if (closed_) return;
  while (!read_.empty() && leaving_ < most_batches && wire_.has_room()) {
    ++leaving_;
    auto frames = std::move(read_.front());
    read_.pop_front();
    wire_.send(std::move(frames));
  }
  read_next();
}

void EnvironmentFeed::read_next() {
  if (reading_ || orders_.empty() || read_.size() >= most_batches) return;
  reading_ = true;
  auto job = [self = shared_from_this(), order = orders_.front()]() -> aio::Pool::Done {
    auto frames = std::make_shared<std::string>();
    const auto next =
        self->library_->chunks(*order.environment, order.first, order.end, batch_bytes, order.zstd, *frames);
    return [self, frames, next] {
      self->reading_ = false;
      self->on_read(next ? *next : 0, frames, next ? std::string() : next.error().text);
    };
  };
  if (pool_.submit(job)) return;
  // The pool is full: what is short is done here, one batch per turn of the connection.
  if (const auto done = job()) done();
}

void EnvironmentFeed::on_read(std::uint32_t next, std::shared_ptr<const std::string> frames, const std::string& error) {
  if (closed_) return;
  if (!error.empty()) return wire_.fail("cannot send an environment: " + error);
  Order& order = orders_.front();
  order.first = next;
  if (order.first == order.end) orders_.pop_front();
  read_.push_back(std::move(frames));
  pump();
}

}  // namespace taskmill::manager
