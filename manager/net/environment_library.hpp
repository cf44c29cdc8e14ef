// The environments of this manager as chunks, to be offered to native workers (docs/extensions.md, env).
//
// Chunks lie compressed in the cache directory, one store for all managers of the user; what was cut once is found
// there by the next run. add() reads the whole archive and blocks, but nobody else; one at a time. offer() and list()
// are quick; portions of chunks are read on the pool. All calls may come from any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/archive/chunk_store.hpp"
#include "protocol/pb/frames.hpp"

namespace taskmill::manager {

struct OfferedEnvironment {
  archive::ChunkIndex index;
  std::string name;
  std::uint64_t size = 0;
};
using OfferedEnvironmentPtr = std::shared_ptr<const OfferedEnvironment>;

class EnvironmentLibrary {
 public:
  /// The directory is made and read when the first environment is added.
  explicit EnvironmentLibrary(std::string directory) : directory_(std::move(directory)) {}

  /// Cuts the archive (of any compression, its stream has this digest) unless that was done before. False: it is too
  /// large to be offered, and goes to every worker as a file.
  Expected<bool> add(const std::string& archive, const archive::Digest& digest, const std::string& name);
  [[nodiscard]] OfferedEnvironmentPtr find(const archive::Digest& digest) const;
  [[nodiscard]] pb::EnvironmentOffer offer(const OfferedEnvironment& environment) const;
  /// The same with the list of its chunks in terms of `base` (empty: of nothing).
  [[nodiscard]] pb::EnvironmentOffer list(const OfferedEnvironment& environment, const std::string& base) const;
  /// ChunkData frames of the chunks [first, end), about `most` bytes of them. Returns the first that is not among them.
  Expected<std::uint32_t> chunks(const OfferedEnvironment& environment, std::uint32_t first, std::uint32_t end,
                                 std::size_t most, bool zstd, std::string& frames);

 private:
  mutable std::mutex mutex_;
  std::string directory_;
  std::unique_ptr<archive::ChunkStore> store_;
  std::map<archive::Digest, OfferedEnvironmentPtr> known_;
};

std::string to_bytes(const archive::Digest& digest);
std::optional<archive::Digest> to_digest(const std::string& bytes);

}  // namespace taskmill::manager
