// Bytes of chunks on disk (docs/environments.md has the grammar): zstd frames behind headers. Lengths are checked
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
