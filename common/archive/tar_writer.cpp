#include "common/archive/tar_writer.hpp"

#include <array>
#include <cstring>

#include "common/base/assert.hpp"

namespace taskmill::archive {

namespace {

constexpr std::size_t block_size = 512;
constexpr std::uint64_t largest_octal_size = 077777777777ULL;

// Field positions of the ustar header (POSIX.1-1988).
constexpr std::size_t name_at = 0, name_size = 100, mode_at = 100, uid_at = 108, gid_at = 116, size_at = 124,
                      mtime_at = 136, checksum_at = 148, type_at = 156, link_at = 157, link_size = 100, magic_at = 257,
                      prefix_at = 345, prefix_size = 155;

using Block = std::array<char, block_size>;

void put_text(Block& block, std::size_t at, std::string_view text) {
  std::memcpy(&block[at], text.data(), text.size());
}

void put_octal(Block& block, std::size_t at, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i-- > 0; value >>= 3U) block[at + i] = static_cast<char>('0' + (value & 7U));
}

/// Splits a long path at a '/' into prefix and name; false when it does not fit.
bool put_path(Block& block, std::string_view path) {
  if (path.size() <= name_size) {
    put_text(block, name_at, path);
    return true;
  }
  const std::size_t slash = path.find('/', path.size() - name_size - 1);
  if (slash == std::string_view::npos || slash == 0 || slash > prefix_size || slash + 1 == path.size()) return false;
  put_text(block, prefix_at, path.substr(0, slash));
  put_text(block, name_at, path.substr(slash + 1));
  return true;
}

/// "length key=value\n" where length counts itself.
std::string pax_record(std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t total = rest + 1;
  while (std::to_string(total).size() + rest != total) ++total;
  return std::to_string(total) + " " + std::string(key) + "=" + std::string(value) + "\n";
}

char type_of(EntryKind kind) {
  switch (kind) {
    case EntryKind::file:
      return '0';
    case EntryKind::hard_link:
      return '1';
    case EntryKind::symlink:
      return '2';
    case EntryKind::directory:
      return '5';
    case EntryKind::other:
      break;
  }
  TASKMILL_ASSERT(false);
  return '0';
}

}  // namespace

Status TarWriter::header(const TarEntry& entry, char type, std::uint64_t size) {
  Block block{};
  std::string extra;
  if (!put_path(block, entry.path)) {
    extra += pax_record("path", entry.path);
    put_text(block, name_at, std::string_view(entry.path).substr(entry.path.size() - name_size));
  }
  if (entry.target.size() > link_size) extra += pax_record("linkpath", entry.target);
  put_text(block, link_at, std::string_view(entry.target).substr(0, link_size));
  if (size > largest_octal_size) extra += pax_record("size", std::to_string(size));
  if (entry.mtime.tv_sec < 0) extra += pax_record("mtime", std::to_string(entry.mtime.tv_sec));
  put_octal(block, mode_at, 7, entry.mode & 07777U);
  put_octal(block, uid_at, 7, 0);
  put_octal(block, gid_at, 7, 0);
  put_octal(block, size_at, 11, size > largest_octal_size ? 0 : size);
  put_octal(block, mtime_at, 11, entry.mtime.tv_sec < 0 ? 0 : static_cast<std::uint64_t>(entry.mtime.tv_sec));
  block[type_at] = type;
  put_text(block, magic_at, std::string_view("ustar\00000", 8));
  std::memset(&block[checksum_at], ' ', 8);
  std::uint32_t sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put_octal(block, checksum_at, 6, sum);
  block[checksum_at + 6] = 0;
  if (!extra.empty()) {
    TarEntry pax;
    pax.path = "PaxHeader";
    pax.mode = 0644;
    if (auto done = header(pax, 'x', extra.size()); !done) return done;
    expected_ = extra.size();
    if (auto done = data(as_bytes(extra)); !done) return done;
    if (auto done = pad(); !done) return done;
  }
  return sink_.write(block);
}

Status TarWriter::add(const TarEntry& entry) {
  if (auto done = pad(); !done) return done;
  const std::uint64_t size = entry.kind == EntryKind::file ? entry.size : 0;
  if (entry.kind == EntryKind::directory && !entry.path.ends_with('/')) {
    TarEntry slashed = entry;
    slashed.path += '/';
    return header(slashed, '5', 0);
  }
  if (auto done = header(entry, type_of(entry.kind), size); !done) return done;
  expected_ = size;
  written_ = 0;
  return {};
}

Status TarWriter::data(Bytes bytes) {
  written_ += bytes.size();
  TASKMILL_ASSERT(written_ <= expected_);
  return sink_.write(bytes);
}

Status TarWriter::pad() {
  TASKMILL_ASSERT(written_ == expected_);
  const std::size_t over = expected_ % block_size;
  expected_ = written_ = 0;
  if (over == 0) return {};
  static constexpr Block zeros{};
  return sink_.write(Bytes(zeros).first(block_size - over));
}

Status TarWriter::finish() {
  if (auto done = pad(); !done) return done;
  static constexpr std::array<char, 2 * block_size> zeros{};
  if (auto done = sink_.write(zeros); !done) return done;
  return sink_.close();
}

}  // namespace taskmill::archive
