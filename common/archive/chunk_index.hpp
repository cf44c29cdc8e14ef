// Which chunks make up a stream, and how one version differs from another. Pure.
//
// A ChunkIndex is the ordered list of chunks of one stream and the digest of the whole. An IndexDelta tells
// one index in terms of another that the peer has: runs of chunks copied from it, and new ones. For an
// environment of 30,000 chunks with one changed module that is a hundred bytes instead of a megabyte.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/archive/digest.hpp"

namespace taskmill::archive {

struct ChunkRef {
  Digest digest;
  std::uint32_t length = 0;
  bool operator==(const ChunkRef&) const = default;
};

struct ChunkIndex {
  Digest stream;  ///< SHA-256 of all chunks in order
  std::vector<ChunkRef> chunks;

  [[nodiscard]] std::uint64_t bytes() const;
  bool operator==(const ChunkIndex&) const = default;
};

/// Chunks [from, from + count) of the base.
struct CopyRun {
  std::uint32_t from = 0;
  std::uint32_t count = 0;
  bool operator==(const CopyRun&) const = default;
};
using DeltaStep = std::variant<CopyRun, ChunkRef>;

struct IndexDelta {
  Digest stream;               ///< of the target
  std::optional<Digest> base;  ///< stream digest of the base; none: nothing is copied
  std::vector<DeltaStep> steps;
  bool operator==(const IndexDelta&) const = default;
};

/// Needs no more than one pass and a table over the base.
IndexDelta make_delta(const ChunkIndex* base, const ChunkIndex& target);
/// nullopt when a run leaves the base.
std::optional<ChunkIndex> apply_delta(const ChunkIndex* base, const IndexDelta& delta);

/// Binary, little endian; see docs/environments.md. Decoding checks every count against the size.
std::string encode(const ChunkIndex& index);
std::optional<ChunkIndex> decode_index(std::string_view bytes);
std::string encode(const IndexDelta& delta);
std::optional<IndexDelta> decode_delta(std::string_view bytes);

inline constexpr std::uint32_t largest_chunk = 1U << 20U;

}  // namespace taskmill::archive
