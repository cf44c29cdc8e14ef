// Chunks on disk, compressed, by digest; on the manager's side to send from, on the worker's to build the
// next version of an environment from.
//
//   <root>/<random>.pack   records: digest (32), plain length (4), stored length (4), zstd data
//   <root>/<stream>.index  ChunkIndex of a stream whose chunks were all stored once
//
// Packs are immutable once they have their name, so several processes may share the directory; each sees
// what was there when it opened or refreshed. Above max_bytes the packs used longest ago are removed; their
// chunks count as absent. Every chunk is verified against its digest when it is read.
//
// One object serves one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "common/archive/chunk_index.hpp"
#include "common/archive/chunker.hpp"

namespace taskmill::archive {

struct ChunkStoreOptions {
  std::uint64_t max_bytes = 0;  ///< of packs; 0: no limit
  int level = 3;                ///< of zstd
  int threads = 2;              ///< that compress
  ChunkSizes sizes;
};

class ChunkStore {
  struct Pack;
  struct Place;
  class PackWriter;

 public:
  static Expected<std::unique_ptr<ChunkStore>> open(const std::string& root, ChunkStoreOptions options);
  /// All chunks of the stream were stored there once; quick.
  static bool lists(const std::string& root, const Digest& stream);
  ~ChunkStore();
  ChunkStore(const ChunkStore&) = delete;
  ChunkStore& operator=(const ChunkStore&) = delete;

  /// Cuts an archive of any compression (its plain stream) into chunks, stores the new ones and the index.
  Expected<ChunkIndex> ingest(ByteSource& archive);

  [[nodiscard]] bool has(const Digest& chunk) const;
  /// One chunk as it is stored (a zstd frame), not verified; and unpacked, verified.
  Expected<std::string> packed(const Digest& chunk) const;
  Expected<std::string> plain(const ChunkRef& chunk);

  /// Chunks that arrive one by one. Readable at once; kept on disk after finish(), or, as far as they came, after
  /// keep().
  class Intake {
   public:
    explicit Intake(ChunkStore& store);
    ~Intake();
    Intake(const Intake&) = delete;
    Intake& operator=(const Intake&) = delete;
    /// `packed` was verified.
    Status add(const ChunkRef& chunk, Bytes packed);
    Status keep();
    /// The stream is complete: its index is kept as well.
    Status finish(const ChunkIndex& index);

   private:
    ChunkStore& store_;
    std::unique_ptr<PackWriter> writer_;
  };

  /// The plain stream of an index, all of whose chunks are here.
  Status restore(const ChunkIndex& index, ByteSink& to);

  [[nodiscard]] std::optional<ChunkIndex> find_index(const Digest& stream) const;
  /// True when every chunk is here.
  [[nodiscard]] bool has_all(const ChunkIndex& index) const;
  [[nodiscard]] std::vector<Digest> streams() const;
  [[nodiscard]] std::uint64_t used_bytes() const;
  /// Looks for packs that others wrote.
  Status refresh();

 private:
  ChunkStore(std::string root, ChunkStoreOptions options);
  void remove_leftovers();
  Status scan(const std::string& name);
  Status evict();
  Expected<std::string> stored(const Place& place) const;
  Status store_batch(std::vector<std::string>& batch, PackWriter& writer, ChunkIndex& index);
  Status save_index(const ChunkIndex& index) const;

  std::string root_;
  os::UniqueFd root_fd_;
  ChunkStoreOptions options_;
  std::vector<std::unique_ptr<Pack>> packs_;
  std::unordered_map<Digest, Place, DigestHash> places_;
};

}  // namespace taskmill::archive
