// Byte streams of the archive code: a source is pulled, a sink is pushed, both may block. They know
// nothing of sockets; a connection feeds a BytePipe (byte_pipe.hpp) and the code behind it runs on a
// thread of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::archive {

using Status = Expected<void>;
using Bytes = std::span<const char>;

inline Bytes as_bytes(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view as_text(Bytes bytes) { return {bytes.data(), bytes.size()}; }

class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;
  /// The next piece, valid until the next call; empty at the end. An error is final.
  virtual Expected<Bytes> next() = 0;
};

class ByteSink {
 public:
  ByteSink() = default;
  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;
  virtual ~ByteSink() = default;
  virtual Status write(Bytes bytes) = 0;
  /// Everything was written; flushes. Called once, after the last write.
  virtual Status close() { return {}; }
};

/// A source over bytes that somebody else keeps alive; gives at most `step` bytes at a time.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(Bytes bytes, std::size_t step = 256 * 1024) : rest_(bytes), step_(step) {}
  Expected<Bytes> next() override;

 private:
  Bytes rest_;
  std::size_t step_;
};

/// Reads a descriptor to its end. `name` appears in errors.
class FileSource final : public ByteSource {
 public:
  FileSource(os::UniqueFd fd, std::string name);
  static Expected<std::unique_ptr<FileSource>> open(const std::string& path);
  Expected<Bytes> next() override;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  os::UniqueFd fd_;
  std::string name_;
  std::vector<char> buffer_;
};

/// Writes to a descriptor. `name` appears in errors; a full disk is reported with numbers.
class FileSink final : public ByteSink {
 public:
  FileSink(os::UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  Status write(Bytes bytes) override;
  [[nodiscard]] std::uint64_t written() const { return written_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  os::UniqueFd fd_;
  std::string name_;
  std::uint64_t written_ = 0;
};

class StringSink final : public ByteSink {
 public:
  Status write(Bytes bytes) override {
    text.append(bytes.data(), bytes.size());
    return {};
  }
  std::string text;
};

/// Copies until the source ends; does not close the sink.
Status copy(ByteSource& from, ByteSink& to);

/// "cannot open env.tar.gz: No such file or directory"
Error system_error(std::string_view what, std::string_view name, int number);
/// A write that failed with `number`; for a full disk or quota the line says how much is free there.
Error write_error(std::string_view name, int number, int fd, std::uint64_t written);
/// Bytes an ordinary user may still write on the file system of `fd`; 0 when that cannot be told.
std::uint64_t free_space(int fd);
/// write() until everything is out; false with errno set otherwise.
bool write_fully(int fd, Bytes bytes);
Expected<std::string> read_file(const std::string& path, std::uint64_t limit = 64U << 20U);

}  // namespace taskmill::archive
