#include "common/archive/compression.hpp"

#include <algorithm>
#include <cstring>

#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

constexpr std::size_t output_size = std::size_t{512} * 1024;

bool starts_with(Bytes start, std::string_view magic) { return as_text(start).starts_with(magic); }

/// The sum of a tar header's bytes, with the checksum field taken as blanks, is stored in that field.
bool is_tar_header(Bytes start) {
  if (start.size() < 512) return false;
  if (std::all_of(start.begin(), start.begin() + 512, [](char c) { return c == 0; })) return true;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < 512; ++i) {
    sum += i >= 148 && i < 156 ? std::uint32_t{' '} : static_cast<unsigned char>(start[i]);
  }
  std::string_view field = as_text(start.subspan(148, 8));
  field = field.substr(0, std::min(field.find('\0'), field.size()));
  const auto stored = parse_octal(trim(field));
  return stored && *stored == sum;
}

std::string_view known_other_format(Bytes start) {
  if (starts_with(start, "PK\x03\x04")) return "a zip archive";
  if (starts_with(start, "hsqs")) return "a squashfs image";
  if (starts_with(start, "\x04\x22\x4d\x18")) return "an lz4 file";
  if (starts_with(start, "7z\xbc\xaf")) return "a 7z archive";
  if (starts_with(start, "#!")) return "a script";
  if (starts_with(start,
                  "\x7f"
                  "ELF"))
    return "a program";
  return {};
}

class PlainDecoder final : public Decoder {
 public:
  Expected<std::size_t> run(Bytes& in, std::span<char> out) override {
    const std::size_t count = std::min(in.size(), out.size());
    if (count > 0) std::memcpy(out.data(), in.data(), count);
    in = in.subspan(count);
    return count;
  }
  [[nodiscard]] bool at_boundary() const override { return true; }
};

}  // namespace

std::string_view to_string(Compression kind) {
  switch (kind) {
    case Compression::none:
      return "tar";
    case Compression::gzip:
      return "tar.gz";
    case Compression::bzip2:
      return "tar.bz2";
    case Compression::xz:
      return "tar.xz";
    case Compression::zstd:
      return "tar.zst";
  }
  return "?";
}

Expected<Compression> detect_compression(Bytes start) {
  if (start.empty()) return make_error("the archive is empty (0 bytes)");
  if (starts_with(start, "\x1f\x8b")) return Compression::gzip;
  if (starts_with(start, "BZh")) return Compression::bzip2;
  if (starts_with(start, std::string_view("\xfd"
                                          "7zXZ\0",
                                          6)))
    return Compression::xz;
  if (starts_with(start, "\x28\xb5\x2f\xfd")) return Compression::zstd;
  if (start.size() >= 4 && (static_cast<unsigned char>(start[0]) & 0xf0U) == 0x50U &&
      starts_with(start.subspan(1), "\x2a\x4d\x18")) {
    return Compression::zstd;  // a skippable frame first
  }
  if (is_tar_header(start)) return Compression::none;
  const std::string_view other = known_other_format(start);
  std::string text = "not a tar archive (plain, gzip, bzip2, xz or zstd)";
  if (!other.empty()) text.append("; it looks like ").append(other);
  return make_error(text);
}

Status Decompressor::start() {
  while (head_.size() < detection_size && !source_ended_) {
    auto piece = source_.next();
    if (!piece) return piece.error();
    source_ended_ = piece->empty();
    head_.insert(head_.end(), piece->begin(), piece->end());
  }
  consumed_ = head_.size();
  auto kind = detect_compression(head_);
  if (!kind) return kind.error();
  kind_ = *kind;
  decoder_ = make_decoder(*kind);
  if (!decoder_) return make_error("out of memory for a decoder");
  in_ = head_;
  out_.resize(output_size);
  return {};
}

Status Decompressor::refill() {
  auto piece = source_.next();
  if (!piece) return piece.error();
  source_ended_ = piece->empty();
  in_ = *piece;
  consumed_ += in_.size();
  return {};
}

Expected<Bytes> Decompressor::next() {
  if (!decoder_) {
    if (auto started = start(); !started) return started.error();
  }
  for (;;) {
    if (in_.empty() && !source_ended_) {
      if (auto more = refill(); !more) return more.error();
    }
    const std::size_t before = in_.size();
    auto produced = decoder_->run(in_, out_);
    if (!produced) {
      return make_error("damaged " + std::string(to_string(*kind_)) + " archive: " + produced.error().text +
                        " near byte " + std::to_string(consumed_ - in_.size()));
    }
    if (*produced > 0) return Bytes(out_.data(), *produced);
    if (!source_ended_ || in_.size() < before) continue;
    if (decoder_->at_boundary()) return Bytes{};
    return make_error("truncated " + std::string(to_string(*kind_)) + " archive: it ends in the middle after " +
                      std::to_string(consumed_) + " bytes");
  }
}

namespace detail {
std::unique_ptr<Decoder> make_gzip_decoder();
std::unique_ptr<Decoder> make_bzip2_decoder();
std::unique_ptr<Decoder> make_xz_decoder();
std::unique_ptr<Decoder> make_zstd_decoder();
}  // namespace detail

std::unique_ptr<Decoder> make_decoder(Compression kind) {
  switch (kind) {
    case Compression::none:
      return std::make_unique<PlainDecoder>();
    case Compression::gzip:
      return detail::make_gzip_decoder();
    case Compression::bzip2:
      return detail::make_bzip2_decoder();
    case Compression::xz:
      return detail::make_xz_decoder();
    case Compression::zstd:
      return detail::make_zstd_decoder();
  }
  return nullptr;
}

}  // namespace taskmill::archive
