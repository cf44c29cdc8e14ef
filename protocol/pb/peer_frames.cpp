#include "protocol/pb/peer_frames.hpp"

#include <algorithm>
#include <string_view>

#include "common/base/text.hpp"
#include "protocol/format.hpp"
#include "protocol/limits.hpp"
#include "protocol/pb/frames.hpp"

namespace taskmill::protocol {
namespace {

constexpr std::size_t max_frame_line = 40;
constexpr std::size_t max_error = 1024;

// Of protobuf: a tag is the number of the field and how its value is written.
enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };
constexpr std::uint64_t tag(std::uint64_t field, Wire wire) { return field << 3U | static_cast<std::uint64_t>(wire); }
constexpr std::uint64_t offset_tag = tag(1, Wire::varint);
constexpr std::uint64_t data_tag = tag(2, Wire::bytes);
constexpr std::uint64_t compressed_tag = tag(3, Wire::varint);
constexpr std::uint64_t last_tag = tag(4, Wire::varint);
constexpr std::uint64_t error_tag = tag(5, Wire::bytes);

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) out += static_cast<char>(value | 0x80U);
  out += static_cast<char>(value);
}

struct FrameLine {
  std::size_t size = 0;  ///< of the line with its LF
  std::uint64_t length = 0;
  FrameKind kind{};
};

// "wqx KIND LENGTH\n"; nothing and no problem: more bytes are needed.
std::optional<FrameLine> read_line(std::span<const char> bytes, std::initializer_list<FrameKind> kinds,
                                   std::string& problem) {
  const std::string_view text(bytes.data(), std::min(bytes.size(), max_frame_line));
  const auto end = text.find('\n');
  if (end == std::string_view::npos) {
    if (bytes.size() >= max_frame_line) problem = "no frame begins here";
    return std::nullopt;
  }
  const auto words = split(text.substr(0, end), ' ');
  const bool is_frame = words.size() == 3 && words[0] == "wqx";
  const auto number = is_frame ? parse_int(words[1]) : std::nullopt;
  const auto length = is_frame ? parse_int(words[2]) : std::nullopt;
  if (!number || !length || *length < 0 || static_cast<std::uint64_t>(*length) > max_frame) {
    problem = "no frame begins here";
    return std::nullopt;
  }
  for (const FrameKind kind : kinds) {
    if (*number == static_cast<std::int64_t>(kind))
      return FrameLine{end + 1, static_cast<std::uint64_t>(*length), kind};
  }
  problem = "a frame of kind " + std::to_string(*number) + " is not expected here";
  return std::nullopt;
}

// Reads fields from what is here of a body. `short_of_bytes`: the body goes on behind what is here.
class FieldReader {
 public:
  FieldReader(std::string_view here, std::uint64_t whole) : here_(here), left_(whole) {}
  bool varint(std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      std::string_view one;
      if (!take(1, one)) return false;
      const auto byte = static_cast<unsigned char>(one.front());
      value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
      if ((byte & 0x80U) == 0) return true;
    }
    bad_ = true;
    return false;
  }
  bool take(std::uint64_t count, std::string_view& bytes) {
    if (count > left_) {
      bad_ = true;
      return false;
    }
    if (count > here_.size()) {
      short_ = true;
      return false;
    }
    bytes = here_.substr(0, static_cast<std::size_t>(count));
    here_.remove_prefix(bytes.size());
    left_ -= count;
    return true;
  }
  [[nodiscard]] std::uint64_t left() const { return left_; }
  [[nodiscard]] std::size_t unread() const { return here_.size(); }
  [[nodiscard]] bool is_short() const { return short_; }
  [[nodiscard]] bool is_bad() const { return bad_; }

 private:
  std::string_view here_;
  std::uint64_t left_;
  bool short_ = false, bad_ = false;
};

// One field that is not the data; unknown ones are skipped.
bool read_field(FieldReader& reader, std::uint64_t key, PeerHead& head, bool& compressed) {
  std::uint64_t value = 0;
  std::string_view bytes;
  switch (static_cast<Wire>(key & 7U)) {
    case Wire::varint:
      if (!reader.varint(value)) return false;
      if (key == offset_tag) head.offset = value;
      if (key == last_tag) head.last = value != 0;
      if (key == compressed_tag) compressed = value != 0;
      return true;
    case Wire::bytes:
      if (!reader.varint(value) || !reader.take(value, bytes)) return false;
      if (key == error_tag) head.error = bytes.substr(0, max_error);
      return true;
    case Wire::fixed64:
      return reader.take(8, bytes);
    case Wire::fixed32:
      return reader.take(4, bytes);
  }
  (void)reader.take(~0ULL, bytes);  // no such way to write a value
  return false;
}

}  // namespace

std::optional<PeerHead> read_peer_head(std::span<const char> bytes, std::string& problem) {
  const auto line = read_line(bytes, {FrameKind::peer_data}, problem);
  if (!line) return std::nullopt;
  const std::string_view all(bytes.data(), std::min(bytes.size(), max_peer_head));
  const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(all.size() - line->size, line->length));
  FieldReader reader(all.substr(line->size, here), line->length);
  PeerHead head;
  bool compressed = false;
  while (reader.left() > 0) {
    std::uint64_t key = 0;
    if (!reader.varint(key)) break;
    if (key != data_tag) {
      if (!read_field(reader, key, head, compressed)) break;
      continue;
    }
    if (!reader.varint(head.length)) break;
    if (head.length != reader.left()) {
      problem = "the data is not at the end of its frame";
      return std::nullopt;
    }
    break;
  }
  if (reader.is_bad() || (reader.is_short() && bytes.size() >= max_peer_head)) {
    problem = "not a frame of data";
    return std::nullopt;
  }
  if (reader.is_short()) return std::nullopt;  // nothing is judged before all of it is here
  if (compressed) {
    problem = "compressed data was not asked for";
    return std::nullopt;
  }
  head.size = line->size + here - reader.unread();
  return head;
}

void append_peer_head(std::string& out, std::uint64_t offset, std::uint64_t length, bool last) {
  std::string body;
  put_varint(body, offset_tag);
  put_varint(body, offset);
  if (last) {
    put_varint(body, last_tag);
    put_varint(body, 1);
  }
  put_varint(body, data_tag);
  put_varint(body, length);
  frame(out, static_cast<std::uint32_t>(FrameKind::peer_data), body.size() + length);
  out += body;
}

void append_peer_error(std::string& out, const std::string& error) {
  pb::PeerData refusal;
  refusal.set_error(error.substr(0, max_error));
  append_frame(out, refusal, false);
}

std::optional<PeerAsked> read_peer_request(std::span<const char> bytes, std::string& problem) {
  const auto line = read_line(bytes, {FrameKind::peer_request}, problem);
  if (!line) return std::nullopt;
  if (line->length > max_peer_head) {
    problem = "the request is too long";
    return std::nullopt;
  }
  const auto length = static_cast<std::size_t>(line->length);
  if (bytes.size() - line->size < length) return std::nullopt;
  auto request = parse_frame<pb::PeerRequest>(static_cast<std::uint32_t>(FrameKind::peer_request),
                                              bytes.subspan(line->size, length));
  if (!request) {
    problem = "not a request";
    return std::nullopt;
  }
  return PeerAsked{line->size + length, std::move(*request)};
}

std::optional<PeerChunk> read_peer_chunk(std::span<const char> bytes, std::string& problem) {
  const auto line = read_line(bytes, {FrameKind::chunk_data, FrameKind::peer_data}, problem);
  if (!line) return std::nullopt;
  const bool is_chunk = line->kind == FrameKind::chunk_data;
  if (line->length > (is_chunk ? max_peer_chunk : max_peer_head)) {
    problem = "a frame that is too long for a chunk";
    return std::nullopt;
  }
  const auto length = static_cast<std::size_t>(line->length);
  if (bytes.size() - line->size < length) return std::nullopt;
  const auto body = bytes.subspan(line->size, length);
  PeerChunk read;
  read.size = line->size + length;
  pb::PeerData refusal;
  const bool ok = is_chunk ? parse_frame(static_cast<std::uint32_t>(line->kind), body, read.chunk)
                           : parse_frame(static_cast<std::uint32_t>(line->kind), body, refusal);
  read.error = refusal.error().substr(0, max_error);
  if (!ok || (!is_chunk && read.error.empty())) {
    problem = "not a chunk";
    return std::nullopt;
  }
  return read;
}

}  // namespace taskmill::protocol
