#include "common/archive/byte_pipe.hpp"

namespace taskmill::archive {

void BytePipe::take(Bytes bytes) {
  std::vector<char> block;
  if (!spare_.empty()) {
    block = std::move(spare_.back());
    spare_.pop_back();
  }
  block.assign(bytes.begin(), bytes.end());
  size_ += block.size();
  queue_.push_back(std::move(block));
  readable_.notify_one();
}

Status BytePipe::push(Bytes bytes) {
  if (bytes.empty()) return {};
  std::unique_lock lock(mutex_);
  writable_.wait(lock, [&] { return abandoned_ || has_room(bytes.size()); });
  if (abandoned_) return *abandoned_;
  take(bytes);
  return {};
}

Expected<bool> BytePipe::try_push(Bytes bytes) {
  const std::lock_guard lock(mutex_);
  if (abandoned_) return *abandoned_;
  if (!has_room(bytes.size())) return false;
  if (!bytes.empty()) take(bytes);
  return true;
}

void BytePipe::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  readable_.notify_one();
}

void BytePipe::fail(Error error) {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(error);
  closed_ = true;
  readable_.notify_one();
}

Expected<Bytes> BytePipe::next() {
  std::unique_lock lock(mutex_);
  if (current_.capacity() > 0) spare_.push_back(std::move(current_));
  current_ = {};
  readable_.wait(lock, [&] { return closed_ || abandoned_ || !queue_.empty(); });
  if (abandoned_) return *abandoned_;
  if (queue_.empty()) {
    if (failure_) return *failure_;
    return Bytes{};
  }
  current_ = std::move(queue_.front());
  queue_.pop_front();
  size_ -= current_.size();
  writable_.notify_one();
  return Bytes(current_);
}

void BytePipe::abandon(Error reason) {
  const std::lock_guard lock(mutex_);
  if (!abandoned_) abandoned_ = std::move(reason);
  writable_.notify_all();
  readable_.notify_all();
}

std::size_t BytePipe::pending() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

ReadAhead::ReadAhead(ByteSource& source, std::size_t capacity) : pipe_(capacity) {
  thread_ = std::thread([this, &source] { run(source); });
}

ReadAhead::~ReadAhead() {
  pipe_.abandon(make_error("reading was given up"));
  thread_.join();
}

void ReadAhead::run(ByteSource& source) {
  for (;;) {
    auto piece = source.next();
    if (!piece) return pipe_.fail(piece.error());
    if (piece->empty()) return pipe_.close();
    if (!pipe_.push(*piece)) return;
  }
}

}  // namespace taskmill::archive
