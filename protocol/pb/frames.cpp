#include "protocol/pb/frames.hpp"

#include <zstd.h>

#include "protocol/format.hpp"
#include "protocol/limits.hpp"

namespace taskmill::protocol {
namespace {

constexpr std::size_t worth_compressing = 4096;
constexpr int fast_level = 1;

// Empty when compression gains nothing.
std::string packed(const std::string& body) {
  std::string out(ZSTD_compressBound(body.size()), '\0');
  const auto size = ZSTD_compress(out.data(), out.size(), body.data(), body.size(), fast_level);
  if (ZSTD_isError(size) != 0 || size >= body.size()) return {};
  out.resize(size);
  return out;
}

// The size must be stated, and within the limit, before anything is reserved for it.
std::optional<std::string> unpacked(std::span<const char> body) {
  const auto size = ZSTD_getFrameContentSize(body.data(), body.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > max_frame) return std::nullopt;
  std::string out(static_cast<std::size_t>(size), '\0');
  const auto written = ZSTD_decompress(out.data(), out.size(), body.data(), body.size());
  if (ZSTD_isError(written) != 0 || written != size) return std::nullopt;
  return out;
}

}  // namespace

bool append_frame(std::string& out, FrameKind kind, const google::protobuf::MessageLite& message, bool compress) {
  const auto size = message.ByteSizeLong();
  if (size > max_frame) return false;
  const auto number = static_cast<std::uint32_t>(kind);
  if (compress && size >= worth_compressing) {
    if (const auto body = packed(message.SerializeAsString()); !body.empty()) {
      frame(out, number | frame_compressed, body.size());
      out += body;
      return true;
    }
  }
  frame(out, number, size);
  return message.AppendToString(&out);
}

bool parse_frame(std::uint32_t kind, std::span<const char> body, google::protobuf::MessageLite& message) {
  if ((kind & frame_compressed) != 0) {
    const auto plain = unpacked(body);
    return plain && message.ParseFromString(*plain);
  }
  return body.size() <= max_frame && message.ParseFromArray(body.data(), static_cast<int>(body.size()));
}

}  // namespace taskmill::protocol
