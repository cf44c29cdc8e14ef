#include "manager/core/file_table.hpp"

#include <charconv>
#include <cstring>

#include "manager/core/md5.hpp"

namespace taskmill::manager {

std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed) {
  constexpr std::uint64_t prime = 0x9fb21c651e98df25ULL;
  std::uint64_t hash = seed ^ (0x2545f4914f6cdd1dULL + bytes.size());
  while (bytes.size() >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    hash = (hash ^ word) * prime;
    hash ^= hash >> 29U;
    bytes.remove_prefix(8);
  }
  std::uint64_t word = 0;
  if (!bytes.empty()) std::memcpy(&word, bytes.data(), bytes.size());
  hash = (hash ^ word) * prime;
  hash ^= hash >> 32U;
  hash *= prime;
  return hash ^ (hash >> 28U);
}

namespace {

// In one append: the names of inputs and outputs are written several times for every task.
void append_safe_base_name(std::string& out, std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  if (const auto slash = path.rfind('/'); slash != std::string_view::npos) path.remove_prefix(slash + 1);
  constexpr std::size_t longest = 80;
  char name[longest];
  std::size_t length = 0;
  for (const char c : path.substr(0, longest)) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    name[length++] = plain ? c : '_';
  }
  if (length == 0) name[length++] = '_';
  out.append(name, length);
}

}  // namespace

std::string safe_base_name(std::string_view path) {
  std::string out;
  append_safe_base_name(out, path);
  return out;
}

namespace {
std::uint64_t key_of(FileKind kind, bool cached, std::string_view source, std::string_view digest, std::uint64_t offset,
                     std::uint64_t length) {
  std::uint64_t key = hash_bytes(source, static_cast<std::uint64_t>(kind) * 2 + (cached ? 1 : 0));
  if (kind == FileKind::buffer) key = hash_bytes(digest, key);
  if (kind == FileKind::piece) key = key * 31 + offset * 1000003 + length;
  return key;
}
}  // namespace

std::uint32_t FileTable::lookup(std::uint64_t key, const Identity& identity) const {
  if (index_.empty()) return no_index;
  const std::size_t mask = index_.size() - 1;
  for (std::size_t i = key & mask; index_[i] != no_index; i = (i + 1) & mask) {
    const FileRecord& record = slab_[index_[i]];
    if (record.key != key || record.kind != identity.kind || record.cached != identity.cached) continue;
    if (record.offset != identity.offset || record.length != identity.length) continue;
    if (identity.kind == FileKind::buffer ? record.digest == identity.digest : record.source == identity.source)
      return index_[i];
  }
  return no_index;
}

void FileTable::index_insert(std::uint64_t key, std::uint32_t slot) {
  if ((indexed_ + 1) * 2 > index_.size()) {
    std::vector<std::uint32_t> old;
    old.swap(index_);
    index_.assign(old.empty() ? 64 : old.size() * 2, no_index);
    indexed_ = 0;
    for (const std::uint32_t other : old)
      if (other != no_index) index_insert(slab_[other].key, other);
  }
  const std::size_t mask = index_.size() - 1;
  std::size_t i = key & mask;
  while (index_[i] != no_index) i = (i + 1) & mask;
  index_[i] = slot;
  ++indexed_;
}

void FileTable::index_erase(std::uint64_t key, std::uint32_t slot) {
  const std::size_t mask = index_.size() - 1;
  std::size_t i = key & mask;
  while (index_[i] != slot) i = (i + 1) & mask;
  for (std::size_t j = (i + 1) & mask; index_[j] != no_index; j = (j + 1) & mask) {
    const std::size_t want = slab_[index_[j]].key & mask;
    if (((j - want) & mask) >= ((j - i) & mask)) {
      index_[i] = index_[j];
      i = j;
    }
  }
  index_[i] = no_index;
  --indexed_;
}

FileId FileTable::acquire(const Identity& identity, const std::shared_ptr<const std::string>& data) {
  const std::uint64_t key =
      key_of(identity.kind, identity.cached, identity.source, identity.digest, identity.offset, identity.length);
  std::uint32_t slot = lookup(key, identity);
  if (slot == no_index) {
    slot = slab_.make();
    FileRecord& record = slab_[slot];
    record = FileRecord{};
    record.kind = identity.kind;
    record.cached = identity.cached;
    record.source = identity.source;
    record.offset = identity.offset;
    record.length = identity.length;
    record.key = key;
    record.data = data;
    record.size = identity.kind == FileKind::buffer && data ? data->size() : identity.length;
    record.digest = identity.digest.empty() ? md5_hex(identity.source) : std::string(identity.digest);
    record.variable = is_local(identity.kind) && (identity.source.find("$OS") != std::string_view::npos ||
                                                  identity.source.find("$ARCH") != std::string_view::npos);
    index_insert(key, slot);
  }
  ++slab_[slot].references;
  return FileId(slot);
}

FileId FileTable::acquire(const InputSpec& input) {
  std::string digest;
  if (input.kind == FileKind::buffer) {
    digest =
        !input.digest.empty() ? input.digest : md5_hex(input.data ? std::string_view(*input.data) : std::string_view());
    for (char& c : digest)
      if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) c = '_';
  }
  const bool piece = input.kind == FileKind::piece;
  return acquire(Identity{input.kind, input.cache, input.kind == FileKind::buffer ? std::string_view() : input.source,
                          digest, piece ? input.first : 0, piece ? input.last - input.first + 1 : 0},
                 input.data);
}

FileId FileTable::acquire_path(std::string_view path) {
  return acquire(Identity{FileKind::file, true, path, {}, 0, 0}, nullptr);
}

void FileTable::release(FileId file) {
  TASKMILL_ASSERT(slab_[file.value()].references > 0);
  --slab_[file.value()].references;
  forget_if_unused(file);
}

void FileTable::forget_if_unused(FileId file) {
  FileRecord& record = slab_[file.value()];
  if (record.references > 0 || !record.holders.empty() || record.known == FileKnown::pending) return;
  index_erase(record.key, file.value());
  record = FileRecord{};
  slab_.drop(file.value());
}

FileId FileTable::find(std::string_view source, FileKind kind) const {
  const std::uint32_t slot = lookup(key_of(kind, true, source, {}, 0, 0), Identity{kind, true, source, {}, 0, 0});
  return slot == no_index ? FileId() : FileId(slot);
}

void FileTable::name(FileId file, std::uint32_t number, std::string& out) const {
  const FileRecord& record = slab_[file.value()];
  const char* kind = "file";
  if (record.kind == FileKind::piece) kind = "piece";
  if (record.kind == FileKind::buffer) kind = "buffer";
  if (record.kind == FileKind::url) kind = "url";
  if (record.kind == FileKind::command) kind = "cmd";
  if (record.kind == FileKind::environment) kind = "environment";
  out += kind;
  out += '-';
  out += std::to_string(number);
  out += '-';
  out += record.digest;
  if (is_local(record.kind) || record.kind == FileKind::empty_directory) {
    out += '-';
    append_safe_base_name(out, record.source);
  }
  if (record.kind == FileKind::piece) out += "-" + std::to_string(record.offset) + "-" + std::to_string(record.length);
}

void FileTable::output_name(std::string_view local_path, std::uint32_t number, std::string& out) {
  // The number alone makes it unique; the hash keeps the shape that tools expect.
  char text[64] = "file-";
  char* at = std::to_chars(text + 5, text + sizeof text, number).ptr;
  *at++ = '-';
  for (std::uint64_t word : {hash_bytes(local_path), hash_bytes(local_path, 1)}) {
    for (int i = 0; i < 16; ++i, word <<= 4U) *at++ = "0123456789abcdef"[word >> 60U];
  }
  *at++ = '-';
  out.append(text, at);
  append_safe_base_name(out, local_path);
}

std::size_t FileTable::memory_bytes() const {
  std::size_t bytes = slab_.memory_bytes() + index_.capacity() * 4;
  for (std::uint32_t i = 0; i < slab_.end(); ++i) {
    if (!slab_.alive(i)) continue;
    const FileRecord& record = slab_[i];
    bytes += record.source.capacity() + record.digest.capacity() + record.holders.capacity() * 4;
    if (record.data) bytes += record.data->capacity();
  }
  return bytes;
}

}  // namespace taskmill::manager
