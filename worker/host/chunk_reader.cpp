#include "worker/host/chunk_reader.hpp"

#include <utility>

namespace taskmill::worker {

archive::Status ChunkReader::open() {
  if (chunks_) return {};
  auto chunks = archive::ChunkStore::open(directory_, {});
  if (!chunks) return chunks.error();
  auto index = (*chunks)->find_index(environment_);
  if (!index || !(*chunks)->has_all(*index)) return make_error("the environment is not here any more");
  chunks_ = std::move(*chunks);
  index_ = std::move(*index);
  return {};
}

Expected<std::string> ChunkReader::read(std::uint32_t index, bool compressed) {
  if (auto opened = open(); !opened) return opened.error();
  if (index >= index_.chunks.size()) return make_error("the environment has no such chunk");
  const auto& ref = index_.chunks[index];
  return compressed ? chunks_->packed(ref.digest) : chunks_->plain(ref);
}

}  // namespace taskmill::worker
