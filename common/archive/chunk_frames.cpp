#include "common/archive/chunk_frames.hpp"

#include <zstd.h>

#include <cstring>

#include "common/base/assert.hpp"

namespace taskmill::archive {

namespace {

void put_u32(std::string& out, std::uint32_t value) {
  for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 0xffU);
}
std::uint32_t get_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) value |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << 8U * i;
  return value;
}

}  // namespace

std::string encode_record_header(const RecordHeader& header) {
  std::string out(reinterpret_cast<const char*>(header.digest.bytes.data()), header.digest.bytes.size());
  put_u32(out, header.plain);
  put_u32(out, header.stored);
  return out;
}

std::optional<RecordHeader> decode_record_header(std::string_view bytes) {
  if (bytes.size() < record_header_size) return std::nullopt;
  RecordHeader header;
  std::memcpy(header.digest.bytes.data(), bytes.data(), header.digest.bytes.size());
  header.plain = get_u32(bytes.substr(32));
  header.stored = get_u32(bytes.substr(36));
  if (header.plain == 0 || header.plain > largest_chunk || header.stored > largest_chunk + 1024) return std::nullopt;
  return header;
}

struct ChunkCompressor::State {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::string out;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { ZSTD_freeCCtx(context); }
};

ChunkCompressor::ChunkCompressor(int level) : state_(std::make_unique<State>()) {
  ZSTD_CCtx_setParameter(state_->context, ZSTD_c_compressionLevel, level);
}
ChunkCompressor::~ChunkCompressor() = default;

std::string ChunkCompressor::compress(Bytes plain) {
  std::string& out = state_->out;
  out.resize(ZSTD_compressBound(plain.size()));
  const std::size_t size = ZSTD_compress2(state_->context, out.data(), out.size(), plain.data(), plain.size());
  TASKMILL_ASSERT(ZSTD_isError(size) == 0);  // the buffer is large enough for any input
  return out.substr(0, size);
}

Expected<std::string> decompress_chunk(const ChunkRef& ref, Bytes stored) {
  thread_local std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), &ZSTD_freeDCtx);
  std::string plain(ref.length, '\0');
  const std::size_t got = ZSTD_decompressDCtx(context.get(), plain.data(), plain.size(), stored.data(), stored.size());
  if (ZSTD_isError(got) != 0 || got != ref.length || sha256(as_bytes(plain)) != ref.digest) {
    return make_error("damaged chunk " + ref.digest.hex());
  }
  return {boost::system::in_place_value, std::move(plain)};
}

}  // namespace taskmill::archive
