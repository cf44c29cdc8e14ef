#include "common/archive/tar_reader.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace taskmill::archive {

struct TarReader::State {
  struct ::archive* handle = ::archive_read_new();
  ByteSource& source;
  std::optional<Error> source_error;
  std::vector<char> tail;  ///< the last block seen, to tell a finished archive from a cut one
  bool opened = false;
  bool any_entry = false;

  explicit State(ByteSource& from) : source(from) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { ::archive_read_free(handle); }

  static la_ssize_t read(struct ::archive* handle, void* self, const void** data) {
    auto& state = *static_cast<State*>(self);
    auto piece = state.source.next();
    if (!piece) {
      state.source_error = piece.error();
      ::archive_set_error(handle, EIO, "%s", "source");
      return -1;
    }
    state.remember(*piece);
    *data = piece->data();
    return static_cast<la_ssize_t>(piece->size());
  }

  void remember(Bytes piece) {
    if (std::ssize(piece) < tail_size) {
      tail.insert(tail.end(), piece.begin(), piece.end());
      if (std::ssize(tail) > tail_size) tail.erase(tail.begin(), tail.end() - tail_size);
    } else {
      tail.assign(piece.end() - tail_size, piece.end());
    }
  }

  /// Reads what follows the last member, so that checksums at the end of the stream are verified and a
  /// digest covers all bytes. The format ends with empty blocks; a cut archive does not have them.
  Status drain() {
    for (;;) {
      auto piece = source.next();
      if (!piece) return piece.error();
      if (piece->empty()) break;
      remember(*piece);
    }
    const bool ended =
        std::ssize(tail) == tail_size && std::all_of(tail.begin(), tail.end(), [](char c) { return c == 0; });
    if (!ended) return make_error("truncated tar archive: the end marker is missing");
    return {};
  }

  static constexpr std::ptrdiff_t tail_size = 512;
};

namespace {

// libarchive keeps a name in the form the archive had it: pax names are UTF-8 and have no form in the C
// locale, names of old headers are bytes and may have no UTF-8 form. One of the two is always there.
std::string first_of(const char* utf8, const char* raw) {
  if (utf8 != nullptr) return utf8;
  return raw != nullptr ? raw : "";
}

std::string_view name_of_kind(unsigned type) {
  switch (type) {
    case AE_IFBLK:
      return "a block device";
    case AE_IFCHR:
      return "a character device";
    case AE_IFIFO:
      return "a fifo";
    case AE_IFSOCK:
      return "a socket";
    default:
      return "a member of unknown kind";
  }
}

TarEntry convert(struct ::archive_entry* from) {
  TarEntry entry;
  entry.path = first_of(::archive_entry_pathname_utf8(from), ::archive_entry_pathname(from));
  entry.mode = ::archive_entry_perm(from);
  entry.mtime.tv_sec = ::archive_entry_mtime(from);
  entry.mtime.tv_nsec = ::archive_entry_mtime_nsec(from);
  const std::string hard = first_of(::archive_entry_hardlink_utf8(from), ::archive_entry_hardlink(from));
  if (!hard.empty()) {
    entry.kind = EntryKind::hard_link;
    entry.target = hard;
    return entry;
  }
  switch (::archive_entry_filetype(from)) {
    case AE_IFREG:
      entry.kind = EntryKind::file;
      entry.size = static_cast<std::uint64_t>(std::max<la_int64_t>(0, ::archive_entry_size(from)));
      break;
    case AE_IFDIR:
      entry.kind = EntryKind::directory;
      break;
    case AE_IFLNK:
      entry.kind = EntryKind::symlink;
      entry.target = first_of(::archive_entry_symlink_utf8(from), ::archive_entry_symlink(from));
      break;
    default:
      entry.other_name = name_of_kind(::archive_entry_filetype(from));
      break;
  }
  return entry;
}

}  // namespace

TarReader::TarReader(ByteSource& source) : state_(std::make_unique<State>(source)) {
  ::archive_read_support_format_tar(state_->handle);
}
TarReader::~TarReader() = default;

Error TarReader::failure(std::string_view what) const {
  if (state_->source_error) return *state_->source_error;
  const char* text = ::archive_error_string(state_->handle);
  return make_error("damaged tar archive: " + std::string(what) + (text != nullptr ? std::string(": ") + text : ""));
}

Expected<std::optional<TarEntry>> TarReader::next() {
  State& state = *state_;
  if (!state.opened) {
    state.opened = true;
    if (::archive_read_open2(state.handle, &state, nullptr, &State::read, nullptr, nullptr) != ARCHIVE_OK) {
      return failure("it cannot be read");
    }
  }
  struct ::archive_entry* raw = nullptr;
  const int code = ::archive_read_next_header(state.handle, &raw);
  if (state.source_error) return *state.source_error;
  if (code == ARCHIVE_EOF) {
    if (auto drained = state.drain(); !drained) return drained.error();
    if (!state.any_entry) return make_error("the archive has no members");
    return std::optional<TarEntry>{};
  }
  // A warning is about a name without a form in this locale; convert() copes with it.
  if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return failure("bad member header");
  state.any_entry = true;
  return std::optional<TarEntry>(convert(raw));
}

Expected<std::optional<TarBlock>> TarReader::read() {
  const void* data = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  const int code = ::archive_read_data_block(state_->handle, &data, &size, &offset);
  if (state_->source_error) return *state_->source_error;
  if (code == ARCHIVE_EOF) return std::optional<TarBlock>{};
  if (code != ARCHIVE_OK) return failure("bad member data");
  return std::optional<TarBlock>(
      TarBlock{Bytes(static_cast<const char*>(data), size), static_cast<std::uint64_t>(offset)});
}

}  // namespace taskmill::archive
