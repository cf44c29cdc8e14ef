// Compression found by content, undone and applied as streams.
//
// A Decompressor turns tar, tar.gz, tar.bz2, tar.xz or tar.zst (concatenated members included) into the
// plain stream; memory is bounded whatever the archive says. A stream that stops in the middle is an
// error with the number of bytes read, never a short success.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

enum class Compression { none, gzip, bzip2, xz, zstd };
std::string_view to_string(Compression kind);

/// Bytes of the beginning that detection looks at.
inline constexpr std::size_t detection_size = 512;

/// By magic numbers. Fails for what is not a tar archive in any form (a zip, squashfs or text file …)
/// with a line that says so; `start` holds min(detection_size, whole stream) bytes.
Expected<Compression> detect_compression(Bytes start);

/// One decoder: consumes from `in`, writes to `out`, returns the count produced.
class Decoder {
 public:
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;
  virtual Expected<std::size_t> run(Bytes& in, std::span<char> out) = 0;
  /// True when the input may end here.
  [[nodiscard]] virtual bool at_boundary() const = 0;
};
std::unique_ptr<Decoder> make_decoder(Compression kind);

class Decompressor final : public ByteSource {
 public:
  /// `source` must outlive this object.
  explicit Decompressor(ByteSource& source) : source_(source) {}
  Expected<Bytes> next() override;
  /// Known after the first next().
  [[nodiscard]] std::optional<Compression> kind() const { return kind_; }
  [[nodiscard]] std::uint64_t consumed() const { return consumed_; }

 private:
  Status start();
  Status refill();
  ByteSource& source_;
  std::unique_ptr<Decoder> decoder_;
  std::optional<Compression> kind_;
  std::vector<char> head_;
  std::vector<char> out_;
  Bytes in_;
  std::uint64_t consumed_ = 0;
  bool source_ended_ = false;
};

/// Compresses to zstd with `workers` threads (0: on the caller's) and a checksum.
class ZstdSink final : public ByteSink {
 public:
  /// `sink` must outlive this object.
  ZstdSink(ByteSink& sink, int level, int workers);
  ~ZstdSink() override;
  Status write(Bytes bytes) override;
  Status close() override;

 private:
  struct State;
  Status pump(Bytes bytes, bool end);
  ByteSink& sink_;
  std::unique_ptr<State> state_;
};

class GzipSink final : public ByteSink {
 public:
  GzipSink(ByteSink& sink, int level);
  ~GzipSink() override;
  Status write(Bytes bytes) override;
  Status close() override;

 private:
  struct State;
  Status pump(Bytes bytes, bool end);
  ByteSink& sink_;
  std::unique_ptr<State> state_;
};

}  // namespace taskmill::archive
