// Bytes of chunks on disk and between peers (docs/environments.md has the grammar). Lengths are checked
// before anything is allocated; chunks are verified against their digest.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/archive/chunk_index.hpp"

namespace taskmill::archive {

struct RecordHeader {
  Digest digest;
  std::uint32_t plain = 0;
  std::uint32_t stored = 0;
};
inline constexpr std::size_t record_header_size = 40;
std::string encode_record_header(const RecordHeader& header);
std::optional<RecordHeader> decode_record_header(std::string_view bytes);

/// "TMsend1\n", then the delta as one compressed frame; the new chunks follow as frames.
std::string encode_transfer_head(const IndexDelta& delta);
std::string encode_length(std::uint32_t length);

/// Reads frames (length, bytes) from a stream.
class FrameReader {
 public:
  explicit FrameReader(ByteSource& source) : source_(source) {}
  Expected<std::string> exactly(std::size_t size);
  Expected<std::string> frame(std::uint32_t limit);
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  ByteSource& source_;
  Bytes rest_;
  std::uint64_t count_ = 0;
};
Expected<IndexDelta> read_transfer_head(FrameReader& reader);

class ChunkCompressor {
 public:
  explicit ChunkCompressor(int level);
  ~ChunkCompressor();
  ChunkCompressor(const ChunkCompressor&) = delete;
  ChunkCompressor& operator=(const ChunkCompressor&) = delete;
  std::string compress(Bytes plain);

 private:
  struct State;
  std::unique_ptr<State> state_;
};
/// Fails when length or digest are not those of `ref`.
Expected<std::string> decompress_chunk(const ChunkRef& ref, Bytes stored);

}  // namespace taskmill::archive
