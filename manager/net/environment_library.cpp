#include "manager/net/environment_library.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace taskmill::manager {
namespace {

constexpr std::size_t most_bases = 16;
constexpr std::size_t most_chunks = 1'500'000;  // their list still fits one frame
constexpr std::uint64_t store_limit = std::uint64_t{50} << 30U;

}  // namespace

std::string to_bytes(const archive::Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

std::optional<archive::Digest> to_digest(const std::string& bytes) {
  archive::Digest digest;
  if (bytes.size() != digest.bytes.size()) return std::nullopt;
  std::memcpy(digest.bytes.data(), bytes.data(), bytes.size());
  return digest;
}

Expected<bool> EnvironmentLibrary::add(const std::string& archive, const archive::Digest& digest,
                                       const std::string& name) {
  // In a store of its own, so that others read meanwhile; it takes the place of theirs when it has everything.
  archive::ChunkStoreOptions options;
  options.max_bytes = store_limit;
  auto store = archive::ChunkStore::open(directory_, options);
  if (!store) return store.error();
  auto index = (*store)->find_index(digest);
  if (!index || !(*store)->has_all(*index)) {
    auto source = archive::FileSource::open(archive);
    if (!source) return source.error();
    auto cut = (*store)->ingest(**source);
    if (!cut) return cut.error();
    if (cut->stream != digest) return make_error(archive + " changed while it was read");
    index = std::move(*cut);
  }
  const bool offered = index->chunks.size() <= most_chunks;
  const auto size = index->bytes();
  const std::lock_guard lock(mutex_);
  store_ = std::move(*store);
  if (!offered) return false;
  known_[digest] = std::make_shared<const OfferedEnvironment>(OfferedEnvironment{std::move(*index), name, size});
  return true;
}

OfferedEnvironmentPtr EnvironmentLibrary::find(const archive::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto at = known_.find(digest);
  return at == known_.end() ? nullptr : at->second;
}

pb::EnvironmentOffer EnvironmentLibrary::offer(const OfferedEnvironment& environment) const {
  pb::EnvironmentOffer offer;
  offer.set_digest(to_bytes(environment.index.stream));
  offer.set_size(environment.size);
  offer.set_name(environment.name);
  const std::lock_guard lock(mutex_);
  for (const auto& stream : store_->streams()) {
    if (static_cast<std::size_t>(offer.bases_size()) == most_bases) break;
    if (stream != environment.index.stream) offer.add_bases(to_bytes(stream));
  }
  return offer;
}

pb::EnvironmentOffer EnvironmentLibrary::list(const OfferedEnvironment& environment, const std::string& base) const {
  std::optional<archive::ChunkIndex> known;
  if (const auto digest = to_digest(base)) {
    const std::lock_guard lock(mutex_);
    known = store_->find_index(*digest);
  }
  pb::EnvironmentOffer offer;
  offer.set_digest(to_bytes(environment.index.stream));
  offer.set_size(environment.size);
  offer.set_name(environment.name);
  offer.set_list(encode(archive::make_delta(known ? &*known : nullptr, environment.index)));
  return offer;
}

Expected<std::uint32_t> EnvironmentLibrary::chunks(const OfferedEnvironment& environment, std::uint32_t first,
                                                   std::uint32_t end, std::size_t most, bool zstd,
                                                   std::string& frames) {
  pb::ChunkData message;
  message.set_digest(to_bytes(environment.index.stream));
  message.set_compressed(zstd);
  for (; first < end && frames.size() < most; ++first) {
    const auto& ref = environment.index.chunks[first];
    auto data = [&] {
      const std::lock_guard lock(mutex_);
      return zstd ? store_->packed(ref.digest) : store_->plain(ref);
    }();
    if (!data) return data.error();
    message.set_index(first);
    message.set_data(std::move(*data));
    protocol::append_frame(frames, message, false);
  }
  return first;
}

}  // namespace taskmill::manager
