#include "tools/analysis/root_compression.hpp"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "tools/analysis/byte_reader.hpp"

namespace taskmill::analysis_tool {
namespace {

constexpr std::size_t lz4_checksum_bytes = 8;
constexpr std::uint64_t lzma_memory_limit = 256ULL << 20;

const unsigned char* bytes_of(std::string_view text) {
  return static_cast<const unsigned char*>(static_cast<const void*>(text.data()));
}

bool inflate_zlib(std::string_view in, std::string& out) {
  uLongf length = out.size();
  auto* target = static_cast<Bytef*>(static_cast<void*>(out.data()));
  return ::uncompress(target, &length, bytes_of(in), in.size()) == Z_OK && length == out.size();
}

bool inflate_lzma(std::string_view in, std::string& out) {
  std::uint64_t limit = lzma_memory_limit;
  std::size_t in_position = 0;
  std::size_t out_position = 0;
  auto* target = static_cast<std::uint8_t*>(static_cast<void*>(out.data()));
  return ::lzma_stream_buffer_decode(&limit, 0, nullptr, bytes_of(in), &in_position, in.size(), target, &out_position,
                                     out.size()) == LZMA_OK &&
         out_position == out.size();
}

bool inflate_lz4(std::string_view in, std::string& out) {
  if (in.size() < lz4_checksum_bytes) return false;
  in.remove_prefix(lz4_checksum_bytes);
  return ::LZ4_decompress_safe(in.data(), out.data(), static_cast<int>(in.size()), static_cast<int>(out.size())) ==
         static_cast<int>(out.size());
}

bool inflate_zstd(std::string_view in, std::string& out) {
  return ::ZSTD_decompress(out.data(), out.size(), in.data(), in.size()) == out.size();
}

}  // namespace

Expected<std::string> decompress_first_block(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto algorithm = reader.take(2);
  reader.skip(1);
  const auto compressed = reader.little(3);
  const auto size = reader.little(3);
  const auto body = reader.take(compressed);
  if (!reader.ok()) return make_error("a compressed block ends too early");
  std::string out(static_cast<std::size_t>(size), '\0');
  bool ok = false;
  if (algorithm == "ZL" || algorithm == "CS")
    ok = inflate_zlib(body, out);
  else if (algorithm == "XZ")
    ok = inflate_lzma(body, out);
  else if (algorithm == "L4")
    ok = inflate_lz4(body, out);
  else if (algorithm == "ZS")
    ok = inflate_zstd(body, out);
  else
    return make_error("an unknown compression");
  if (!ok) return make_error("a damaged compressed block");
  return {boost::system::in_place_value, std::move(out)};
}

}  // namespace taskmill::analysis_tool
