#include "common/archive/chunk_store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "common/archive/byte_pipe.hpp"
#include "common/archive/chunk_frames.hpp"
#include "common/archive/compression.hpp"
#include "common/archive/ready_marker.hpp"
#include "common/archive/safe_tree.hpp"
#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

constexpr std::size_t batch_bytes = std::size_t{8} << 20U;
constexpr std::uint64_t intake_pack = std::uint64_t{16} << 20U;
constexpr std::string_view pack_suffix = ".pack";
constexpr std::string_view index_suffix = ".index";
constexpr std::string_view unfinished_suffix = ".new";

std::string index_name(const Digest& stream) { return stream.hex() + std::string(index_suffix); }

std::vector<std::string> names_in(int directory, std::string_view suffix) {
  std::vector<std::string> names;
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* listing = fd >= 0 ? ::fdopendir(fd) : nullptr;
  if (listing == nullptr) {
    if (fd >= 0) ::close(fd);
    return names;
  }
  while (const dirent* entry = ::readdir(listing)) {
    if (std::string_view(entry->d_name).ends_with(suffix)) names.emplace_back(entry->d_name);
  }
  ::closedir(listing);
  return names;
}

bool read_exactly(int fd, char* to, std::size_t size, std::uint64_t offset) {
  while (size > 0) {
    const ssize_t got = ::pread(fd, to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    size -= static_cast<std::size_t>(got);
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

}  // namespace

struct ChunkStore::Pack {
  std::string name;
  os::UniqueFd fd;
  std::uint64_t bytes = 0;
  bool used = false;  ///< since evict() last looked
};

struct ChunkStore::Place {
  Pack* pack = nullptr;
  std::uint64_t offset = 0;  ///< of the data
  std::uint32_t stored = 0;
  std::uint32_t plain = 0;
};

/// A pack being written: readable at once, on disk under its name only when it is complete. Dropped
/// unfinished, its chunks are forgotten.
class ChunkStore::PackWriter {
 public:
  explicit PackWriter(ChunkStore& store) : store_(store) {}
  PackWriter(const PackWriter&) = delete;
  PackWriter& operator=(const PackWriter&) = delete;
  ~PackWriter() {
    if (!pack_) return;
    ::unlinkat(store_.root_fd_.get(), temporary_.c_str(), 0);
    std::erase_if(store_.places_, [&](const auto& item) { return item.second.pack == pack_.get(); });
  }

  Status add(const Digest& digest, std::uint32_t plain, Bytes stored) {
    if (!pack_) {
      if (auto opened = open(); !opened) return opened;
    }
    const std::string header = encode_record_header({digest, plain, static_cast<std::uint32_t>(stored.size())});
    if (!write_fully(pack_->fd.get(), as_bytes(header)) || !write_fully(pack_->fd.get(), stored)) {
      return write_error(store_.root_ + "/" + temporary_, errno, pack_->fd.get(), pack_->bytes);
    }
    store_.places_[digest] = {pack_.get(), pack_->bytes + header.size(), static_cast<std::uint32_t>(stored.size()),
                              plain};
    pack_->bytes += header.size() + stored.size();
    return {};
  }

  [[nodiscard]] std::uint64_t bytes() const { return pack_ ? pack_->bytes : 0; }

  Status finish() {
    if (!pack_) return {};
    if (::renameat(store_.root_fd_.get(), temporary_.c_str(), store_.root_fd_.get(), pack_->name.c_str()) != 0) {
      return system_error("cannot name", pack_->name, errno);
    }
    store_.packs_.push_back(std::move(pack_));
    return {};
  }

 private:
  Status open() {
    static std::atomic<unsigned> counter = 0;
    for (;;) {
      pack_ = std::make_unique<Pack>();
      timespec now{};
      ::clock_gettime(CLOCK_REALTIME, &now);
      pack_->name = std::to_string(now.tv_sec) + "-" + std::to_string(now.tv_nsec) + "-" + std::to_string(::getpid()) +
                    "-" + std::to_string(counter++) + std::string(pack_suffix);
      temporary_ = "tmp-" + pack_->name + std::string(unfinished_suffix);
      pack_->fd.reset(::openat(store_.root_fd_.get(), temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
      if (!pack_->fd) {
        const int number = errno;
        pack_.reset();
        return write_error(store_.root_ + "/" + temporary_, number, store_.root_fd_.get(), 0);
      }
      // Whoever finds it unlocked takes its writer for dead and removes it; in that case once more.
      struct stat info {};
      if (::flock(pack_->fd.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(pack_->fd.get(), &info) == 0 && info.st_nlink > 0)
        return {};
    }
  }

  ChunkStore& store_;
  std::unique_ptr<Pack> pack_;
  std::string temporary_;
};

ChunkStore::ChunkStore(std::string root, ChunkStoreOptions options) : root_(std::move(root)), options_(options) {}
ChunkStore::~ChunkStore() = default;

Expected<std::unique_ptr<ChunkStore>> ChunkStore::open(const std::string& root, ChunkStoreOptions options) {
  if (::mkdir(root.c_str(), 0755) != 0 && errno != EEXIST) return system_error("cannot make directory", root, errno);
  std::unique_ptr<ChunkStore> store(new ChunkStore(root, options));
  auto fd = open_directory(AT_FDCWD, root);
  if (!fd) return fd.error();
  store->root_fd_ = std::move(*fd);
  store->remove_leftovers();
  if (auto scanned = store->refresh(); !scanned) return scanned.error();
  return store;
}

bool ChunkStore::lists(const std::string& root, const Digest& stream) {
  return ::access((root + "/" + index_name(stream)).c_str(), R_OK) == 0;
}

void ChunkStore::remove_leftovers() {
  for (const std::string& name : names_in(root_fd_.get(), std::string(pack_suffix) + std::string(unfinished_suffix))) {
    const os::UniqueFd pack(::openat(root_fd_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (pack && ::flock(pack.get(), LOCK_EX | LOCK_NB) == 0) ::unlinkat(root_fd_.get(), name.c_str(), 0);
  }
}

Status ChunkStore::refresh() {
  for (const std::string& name : names_in(root_fd_.get(), pack_suffix)) {
    const bool known = std::any_of(packs_.begin(), packs_.end(), [&](const auto& pack) { return pack->name == name; });
    if (known) continue;
    if (auto scanned = scan(name); !scanned) return scanned;
  }
  return {};
}

/// Reads the headers of a pack. A pack that does not make sense is ignored from there on: its chunks are
/// simply absent.
Status ChunkStore::scan(const std::string& name) {
  auto pack = std::make_unique<Pack>();
  pack->name = name;
  pack->fd.reset(::openat(root_fd_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!pack->fd || ::fstat(pack->fd.get(), &info) != 0) return {};
  pack->bytes = static_cast<std::uint64_t>(info.st_size);
  std::string header(record_header_size, '\0');
  for (std::uint64_t at = 0; at + record_header_size <= pack->bytes;) {
    if (!read_exactly(pack->fd.get(), header.data(), header.size(), at)) break;
    const auto record = decode_record_header(header);
    at += record_header_size;
    if (!record || record->stored > pack->bytes - at) break;
    places_.emplace(record->digest, Place{pack.get(), at, record->stored, record->plain});
    at += record->stored;
  }
  packs_.push_back(std::move(pack));
  return {};
}

std::uint64_t ChunkStore::used_bytes() const {
  std::uint64_t total = 0;
  for (const auto& pack : packs_) total += pack->bytes;
  return total;
}

Status ChunkStore::evict() {
  if (options_.max_bytes == 0) return {};
  for (const auto& pack : packs_) {
    if (std::exchange(pack->used, false)) ::futimens(pack->fd.get(), nullptr);
  }
  std::sort(packs_.begin(), packs_.end(), [](const auto& a, const auto& b) {
    struct stat x {};
    struct stat y {};
    ::fstat(a->fd.get(), &x);
    ::fstat(b->fd.get(), &y);
    return std::pair(x.st_mtim.tv_sec, x.st_mtim.tv_nsec) < std::pair(y.st_mtim.tv_sec, y.st_mtim.tv_nsec);
  });
  while (packs_.size() > 1 && used_bytes() > options_.max_bytes) {
    const Pack* oldest = packs_.front().get();
    ::unlinkat(root_fd_.get(), oldest->name.c_str(), 0);
    std::erase_if(places_, [&](const auto& item) { return item.second.pack == oldest; });
    packs_.erase(packs_.begin());
  }
  return {};
}

Expected<std::string> ChunkStore::stored(const Place& place) const {
  std::string data(place.stored, '\0');
  if (!read_exactly(place.pack->fd.get(), data.data(), data.size(), place.offset)) {
    return make_error("cannot read a chunk from " + root_ + "/" + place.pack->name);
  }
  return {boost::system::in_place_value, std::move(data)};
}

Expected<std::string> ChunkStore::packed(const Digest& chunk) const {
  const auto place = places_.find(chunk);
  if (place == places_.end()) return make_error("chunk " + chunk.hex() + " is not in " + root_ + " any more");
  place->second.pack->used = true;
  return stored(place->second);
}

ChunkStore::Intake::Intake(ChunkStore& store) : store_(store), writer_(std::make_unique<PackWriter>(store)) {}
ChunkStore::Intake::~Intake() = default;

Status ChunkStore::Intake::add(const ChunkRef& chunk, Bytes packed) {
  if (store_.has(chunk.digest)) return {};
  if (auto added = writer_->add(chunk.digest, chunk.length, packed); !added) return added;
  // So that little is lost when this process is killed.
  return writer_->bytes() < intake_pack ? Status{} : writer_->finish();
}

Status ChunkStore::Intake::keep() { return writer_->finish(); }

Status ChunkStore::Intake::finish(const ChunkIndex& index) {
  if (auto kept = keep(); !kept) return kept;
  if (auto saved = store_.save_index(index); !saved) return saved;
  return store_.evict();
}

Expected<std::string> ChunkStore::plain(const ChunkRef& ref) {
  const auto place = places_.find(ref.digest);
  if (place == places_.end()) return make_error("chunk " + ref.digest.hex() + " is not in " + root_ + " any more");
  place->second.pack->used = true;
  auto data = stored(place->second);
  if (!data) return data.error();
  return decompress_chunk(ref, as_bytes(*data));
}

bool ChunkStore::has(const Digest& chunk) const { return places_.contains(chunk); }

bool ChunkStore::has_all(const ChunkIndex& index) const {
  return std::all_of(index.chunks.begin(), index.chunks.end(),
                     [&](const ChunkRef& ref) { return places_.contains(ref.digest); });
}

Status ChunkStore::save_index(const ChunkIndex& index) const {
  return write_atomically(root_fd_.get(), index_name(index.stream), encode(index));
}

std::optional<ChunkIndex> ChunkStore::find_index(const Digest& stream) const {
  auto text = read_file(root_ + "/" + index_name(stream), std::uint64_t{1} << 31U);
  if (!text) return std::nullopt;
  auto index = decode_index(*text);
  if (!index || index->stream != stream) return std::nullopt;
  return index;
}

std::vector<Digest> ChunkStore::streams() const {
  std::vector<Digest> found;
  for (const std::string& name : names_in(root_fd_.get(), index_suffix)) {
    if (auto digest = Digest::from_hex(std::string_view(name).substr(0, name.size() - index_suffix.size()))) {
      found.push_back(*digest);
    }
  }
  return found;
}

Status ChunkStore::store_batch(std::vector<std::string>& batch, PackWriter& writer, ChunkIndex& index) {
  std::vector<Digest> digests(batch.size());
  std::vector<std::string> packed(batch.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    ChunkCompressor compressor(options_.level);
    for (std::size_t i = next++; i < batch.size(); i = next++) {
      digests[i] = sha256(as_bytes(batch[i]));
      if (!places_.contains(digests[i])) packed[i] = compressor.compress(as_bytes(batch[i]));
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < options_.threads; ++i) threads.emplace_back(work);
  work();
  for (auto& thread : threads) thread.join();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto length = static_cast<std::uint32_t>(batch[i].size());
    index.chunks.push_back({digests[i], length});
    if (places_.contains(digests[i])) continue;
    if (auto added = writer.add(digests[i], length, as_bytes(packed[i])); !added) return added;
  }
  batch.clear();
  return {};
}

Expected<ChunkIndex> ChunkStore::ingest(ByteSource& archive) {
  Decompressor plain(archive);
  ReadAhead ahead(plain, 2 * batch_bytes);
  DigestingSource stream(ahead);
  PackWriter writer(*this);
  ChunkIndex index;
  std::vector<std::string> batch;
  std::size_t batched = 0;
  Chunker chunker(
      [&](Bytes chunk) -> Status {
        batch.emplace_back(chunk.begin(), chunk.end());
        batched += chunk.size();
        if (batched < batch_bytes) return {};
        batched = 0;
        return store_batch(batch, writer, index);
      },
      options_.sizes);
  if (auto copied = copy(stream, chunker); !copied) return copied.error();
  if (auto closed = chunker.close(); !closed) return closed.error();
  if (auto done = store_batch(batch, writer, index); !done) return done.error();
  index.stream = stream.finish();
  if (auto finished = writer.finish(); !finished) return finished.error();
  if (auto saved = save_index(index); !saved) return saved.error();
  if (auto evicted = evict(); !evicted) return evicted.error();
  return index;
}

Status ChunkStore::restore(const ChunkIndex& index, ByteSink& to) {
  Sha256 sha;
  for (const ChunkRef& ref : index.chunks) {
    auto chunk = plain(ref);
    if (!chunk) return chunk.error();
    sha.update(as_bytes(*chunk));
    if (auto done = to.write(as_bytes(*chunk)); !done) return done;
  }
  if (sha.finish() != index.stream) return make_error("the stored stream is damaged: its digest is wrong");
  return to.close();
}

}  // namespace taskmill::archive
