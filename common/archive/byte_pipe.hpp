// Two ways to put a thread boundary into a byte stream.
//
// BytePipe: one writer pushes slices, one reader pulls them; bounded, so a slow reader slows the writer
// down (or, with try_push, tells it to stop reading its socket). Each side can end it: the writer with
// close() or fail(), the reader with abandon(), after which push returns the reader's error.
//
// ReadAhead: runs another source on a thread of its own, a few blocks ahead, so that decompression and
// writing files overlap.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

class BytePipe final : public ByteSource {
 public:
  explicit BytePipe(std::size_t capacity = std::size_t{8} << 20U) : capacity_(capacity) {}

  /// Copies the slice in, waiting for room. Fails with the reader's reason once it has given up.
  Status push(Bytes bytes);
  /// The same without waiting: false when there is no room now (nothing is taken).
  Expected<bool> try_push(Bytes bytes);
  void close();
  /// The stream broke; the reader gets `error` after the bytes pushed so far.
  void fail(Error error);

  Expected<Bytes> next() override;
  /// The reader wants nothing more.
  void abandon(Error reason);

  [[nodiscard]] std::size_t pending() const;

 private:
  bool has_room(std::size_t size) const { return size_ == 0 || size_ + size <= capacity_; }
  void take(Bytes bytes);

  mutable std::mutex mutex_;
  std::condition_variable readable_;
  std::condition_variable writable_;
  std::deque<std::vector<char>> queue_;
  std::vector<std::vector<char>> spare_;
  std::vector<char> current_;
  std::size_t capacity_;
  std::size_t size_ = 0;
  bool closed_ = false;
  std::optional<Error> failure_;
  std::optional<Error> abandoned_;
};

class ReadAhead final : public ByteSource {
 public:
  /// `source` must outlive this object.
  explicit ReadAhead(ByteSource& source, std::size_t capacity = std::size_t{8} << 20U);
  ~ReadAhead() override;
  Expected<Bytes> next() override { return pipe_.next(); }

 private:
  void run(ByteSource& source);
  BytePipe pipe_;
  std::thread thread_;
};

}  // namespace taskmill::archive
