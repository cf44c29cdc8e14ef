#include "common/archive/chunker.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "common/base/assert.hpp"

namespace taskmill::archive {

namespace {

constexpr std::array<std::uint64_t, 256> make_gear() {
  std::array<std::uint64_t, 256> table{};
  std::uint64_t state = 0x7461736b6d696c6cULL;  // "taskmill"
  for (std::uint64_t& value : table) {          // splitmix64
    state += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
    value = z ^ (z >> 31U);
  }
  return table;
}
constexpr std::array<std::uint64_t, 256> gear = make_gear();

/// The top bits of the hash depend on the last 64 bytes, the low ones only on a few: test the top.
constexpr std::uint64_t top_bits(int count) { return ~std::uint64_t{0} << (static_cast<unsigned>(64 - count) & 63U); }

}  // namespace

std::size_t first_chunk(Bytes bytes, const ChunkSizes& sizes) {
  if (bytes.size() <= sizes.least) return bytes.size();
  const int bits = std::bit_width(sizes.wanted) - 1;
  const std::uint64_t strict = top_bits(bits + 2);
  const std::uint64_t lax = top_bits(bits - 2);
  const std::size_t end = std::min(bytes.size(), sizes.most);
  const std::size_t middle = std::min(end, sizes.wanted);
  std::uint64_t hash = 0;
  std::size_t at = sizes.least;
  for (; at < middle; ++at) {
    hash = (hash << 1U) + gear[static_cast<unsigned char>(bytes[at])];
    if ((hash & strict) == 0) return at + 1;
  }
  for (; at < end; ++at) {
    hash = (hash << 1U) + gear[static_cast<unsigned char>(bytes[at])];
    if ((hash & lax) == 0) return at + 1;
  }
  return end;
}

Status Chunker::write(Bytes bytes) {
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  Bytes rest = pending_;
  while (rest.size() >= sizes_.most) {
    const std::size_t size = first_chunk(rest, sizes_);
    TASKMILL_ASSERT(size > 0);
    if (auto taken = on_chunk_(rest.first(size)); !taken) return taken;
    rest = rest.subspan(size);
  }
  pending_.erase(pending_.begin(), pending_.end() - static_cast<std::ptrdiff_t>(rest.size()));
  return {};
}

Status Chunker::close() {
  Bytes rest = pending_;
  while (!rest.empty()) {
    const std::size_t size = first_chunk(rest, sizes_);
    if (auto taken = on_chunk_(rest.first(size)); !taken) return taken;
    rest = rest.subspan(size);
  }
  pending_.clear();
  return {};
}

}  // namespace taskmill::archive
