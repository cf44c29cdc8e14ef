#include "common/archive/chunk_index.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace taskmill::archive {

namespace {

constexpr std::string_view index_magic = "TMindex1";
constexpr std::string_view delta_magic = "TMdelta1";
constexpr char copy_tag = 'c';
constexpr char new_tag = 'n';

void put_u32(std::string& out, std::uint32_t value) {
  for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 0xffU);
}
void put_digest(std::string& out, const Digest& digest) {
  out.append(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
}

class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] bool good() const { return good_; }

  std::string_view take(std::size_t size) {
    if (rest_.size() < size) {
      good_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  std::uint32_t u32() {
    std::uint32_t value = 0;
    unsigned shift = 0;
    for (const char c : take(4)) {
      value |= std::uint32_t{static_cast<unsigned char>(c)} << shift;
      shift += 8;
    }
    return value;
  }
  Digest digest() {
    Digest value;
    const std::string_view taken = take(value.bytes.size());
    if (!taken.empty()) std::memcpy(value.bytes.data(), taken.data(), taken.size());
    return value;
  }
  ChunkRef chunk() {
    ChunkRef ref;
    ref.digest = digest();
    ref.length = u32();
    if (ref.length == 0 || ref.length > largest_chunk) good_ = false;
    return ref;
  }

 private:
  std::string_view rest_;
  bool good_ = true;
};

}  // namespace

std::uint64_t ChunkIndex::bytes() const {
  std::uint64_t total = 0;
  for (const ChunkRef& chunk : chunks) total += chunk.length;
  return total;
}

IndexDelta make_delta(const ChunkIndex* base, const ChunkIndex& target) {
  IndexDelta delta;
  delta.stream = target.stream;
  if (base != nullptr) delta.base = base->stream;
  std::unordered_map<Digest, std::uint32_t, DigestHash> places;
  const std::size_t base_size = base != nullptr ? base->chunks.size() : 0;
  for (std::size_t i = 0; i < base_size; ++i) places.emplace(base->chunks[i].digest, static_cast<std::uint32_t>(i));
  for (const ChunkRef& chunk : target.chunks) {
    auto* last = delta.steps.empty() ? nullptr : std::get_if<CopyRun>(&delta.steps.back());
    const std::size_t next = last != nullptr ? std::size_t{last->from} + last->count : base_size;
    if (next < base_size && base->chunks[next] == chunk) {
      ++last->count;
    } else if (const auto place = places.find(chunk.digest); place != places.end()) {
      delta.steps.emplace_back(CopyRun{place->second, 1});
    } else {
      delta.steps.emplace_back(chunk);
    }
  }
  return delta;
}

std::optional<ChunkIndex> apply_delta(const ChunkIndex* base, const IndexDelta& delta) {
  ChunkIndex index;
  index.stream = delta.stream;
  const std::size_t base_size = base != nullptr ? base->chunks.size() : 0;
  for (const DeltaStep& step : delta.steps) {
    if (const auto* chunk = std::get_if<ChunkRef>(&step)) {
      index.chunks.push_back(*chunk);
      continue;
    }
    const auto& run = std::get<CopyRun>(step);
    // A hostile delta could repeat a long run; an environment has at most some millions of chunks.
    if (run.from > base_size || run.count > base_size - run.from || index.chunks.size() > 64'000'000)
      return std::nullopt;
    const auto from = base->chunks.begin() + run.from;
    index.chunks.insert(index.chunks.end(), from, from + run.count);
  }
  return index;
}

std::string encode(const ChunkIndex& index) {
  std::string out(index_magic);
  out.reserve(out.size() + 32 + index.chunks.size() * 36);
  put_digest(out, index.stream);
  for (const ChunkRef& chunk : index.chunks) {
    put_digest(out, chunk.digest);
    put_u32(out, chunk.length);
  }
  return out;
}

std::optional<ChunkIndex> decode_index(std::string_view bytes) {
  Cursor cursor(bytes);
  if (cursor.take(index_magic.size()) != index_magic) return std::nullopt;
  ChunkIndex index;
  index.stream = cursor.digest();
  while (cursor.good() && !cursor.at_end()) index.chunks.push_back(cursor.chunk());
  if (!cursor.good()) return std::nullopt;
  return index;
}

std::string encode(const IndexDelta& delta) {
  std::string out(delta_magic);
  put_digest(out, delta.stream);
  out += delta.base ? '\1' : '\0';
  if (delta.base) put_digest(out, *delta.base);
  for (const DeltaStep& step : delta.steps) {
    if (const auto* run = std::get_if<CopyRun>(&step)) {
      out += copy_tag;
      put_u32(out, run->from);
      put_u32(out, run->count);
    } else {
      const auto& chunk = std::get<ChunkRef>(step);
      out += new_tag;
      put_digest(out, chunk.digest);
      put_u32(out, chunk.length);
    }
  }
  return out;
}

std::optional<IndexDelta> decode_delta(std::string_view bytes) {
  Cursor cursor(bytes);
  if (cursor.take(delta_magic.size()) != delta_magic) return std::nullopt;
  IndexDelta delta;
  delta.stream = cursor.digest();
  const std::string_view with_base = cursor.take(1);
  if (with_base == std::string_view("\1", 1))
    delta.base = cursor.digest();
  else if (with_base != std::string_view("\0", 1))
    return std::nullopt;
  while (cursor.good() && !cursor.at_end()) {
    const std::string_view tag = cursor.take(1);
    if (tag[0] == new_tag) {
      delta.steps.emplace_back(cursor.chunk());
    } else if (tag[0] == copy_tag) {
      const std::uint32_t from = cursor.u32();
      delta.steps.emplace_back(CopyRun{from, cursor.u32()});
    } else {
      return std::nullopt;
    }
  }
  if (!cursor.good()) return std::nullopt;
  return delta;
}

}  // namespace taskmill::archive
