// Chunks of one environment of this worker, to be handed to another one. For pool threads, one at a time.
#pragma once

#include <memory>
#include <string>

#include "common/archive/chunk_store.hpp"

namespace taskmill::worker {

class ChunkReader {
 public:
  ChunkReader(std::string directory, archive::Digest environment)
      : directory_(std::move(directory)), environment_(environment) {}

  /// One chunk, as it is stored (a zstd frame) or plain. The first call looks for the environment.
  Expected<std::string> read(std::uint32_t index, bool compressed);
  [[nodiscard]] const archive::Digest& environment() const { return environment_; }

 private:
  archive::Status open();

  std::string directory_;
  archive::Digest environment_;
  std::unique_ptr<archive::ChunkStore> chunks_;
  archive::ChunkIndex index_;
};

}  // namespace taskmill::worker
