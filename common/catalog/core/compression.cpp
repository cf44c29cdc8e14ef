#include "common/catalog/core/compression.hpp"

#include <zlib.h>

namespace taskmill::catalog {

std::string compress_update(std::string_view text) {
  uLongf size = compressBound(text.size());
  std::string out(size + 1, compressed_mark);
  const auto* source = reinterpret_cast<const Bytef*>(text.data());
  if (compress(reinterpret_cast<Bytef*>(out.data()) + 1, &size, source, text.size()) != Z_OK) return {};
  out.resize(size + 1);
  return out;
}

Expected<std::string> unpack_update(std::string_view bytes) {
  if (bytes.empty() || bytes.front() != compressed_mark) {
    if (bytes.size() > update_limit) return make_error("the update is larger than 1 MiB");
    return Expected<std::string>(boost::system::in_place_value, bytes);
  }
  bytes.remove_prefix(1);
  if (bytes.size() > update_limit) return make_error("the update is larger than 1 MiB");
  // Grow with what really comes out, so that a small lie costs little memory.
  std::string out;
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  if (inflateInit(&stream) != Z_OK) return make_error("zlib is not available");
  int state = Z_OK;
  while (state == Z_OK && out.size() <= update_limit) {
    const std::size_t before = out.size();
    constexpr std::size_t step = 64U << 10;
    out.resize(before + step);
    stream.next_out = reinterpret_cast<Bytef*>(out.data()) + before;
    stream.avail_out = step;
    state = inflate(&stream, Z_NO_FLUSH);
    out.resize(before + step - stream.avail_out);
    if (state == Z_OK && stream.avail_in == 0 && stream.avail_out != 0) state = Z_BUF_ERROR;
  }
  inflateEnd(&stream);
  if (out.size() > update_limit) return make_error("the update unpacks to more than 1 MiB");
  if (state != Z_STREAM_END) return make_error("the compressed update is damaged");
  return Expected<std::string>(boost::system::in_place_value, std::move(out));
}

}  // namespace taskmill::catalog
