// Content-defined chunks (FastCDC: Xia et al., USENIX ATC 2016): a stream is cut where its own bytes say so,
// so an insertion changes the chunks around it and no others.
//
// A rolling "gear" hash h = 2h + G[byte] decides: below the wanted size a cut needs more zero bits than
// above it, which keeps sizes close to the average. The table G comes from a fixed seed: both ends and
// every version must cut alike, so changing anything here means every chunk is sent anew.
#pragma once

#include <functional>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

struct ChunkSizes {
  std::size_t least = std::size_t{8} * 1024;
  std::size_t wanted = std::size_t{32} * 1024;  ///< a power of two
  std::size_t most = std::size_t{128} * 1024;
};

/// The length of the first chunk of `bytes`. When `bytes` is not the end of the stream it must hold at least
/// sizes.most bytes.
std::size_t first_chunk(Bytes bytes, const ChunkSizes& sizes);

class Chunker final : public ByteSink {
 public:
  using OnChunk = std::function<Status(Bytes)>;
  explicit Chunker(OnChunk on_chunk, ChunkSizes sizes = {}) : on_chunk_(std::move(on_chunk)), sizes_(sizes) {}
  Status write(Bytes bytes) override;
  /// Hands over the rest.
  Status close() override;

 private:
  OnChunk on_chunk_;
  ChunkSizes sizes_;
  std::vector<char> pending_;
};

}  // namespace taskmill::archive
