#include "manager/net/environment_feed.hpp"

#include <utility>

namespace taskmill::manager {
namespace {

struct Batch {
  std::uint32_t next = 0, end = 0;
  bool zstd = false;

  Expected<bool> read(EnvironmentLibrary& library, const OfferedEnvironment& environment, std::string& frames) {
    const auto reached = library.chunks(environment, next, end, aio::BatchFeed::batch_bytes, zstd, frames);
    if (!reached) return make_error("cannot send an environment: " + reached.error().text);
    next = *reached;
    return {boost::system::in_place_value, next == end};
  }
};

}  // namespace

bool EnvironmentFeed::on_need(const pb::EnvironmentNeed& need, bool zstd) {
  const auto digest = to_digest(need.digest());
  const auto environment = digest ? library_->find(*digest) : nullptr;
  if (!environment) return false;
  if (need.list()) {
    auto frame = std::make_shared<std::string>();
    if (!protocol::append_frame(*frame, library_->list(*environment, need.base()), zstd)) return false;
    feed_->add_ready(std::move(frame));
  }
  const std::uint64_t count = environment->index.chunks.size();
  for (const auto& range : need.missing()) {
    const std::uint64_t end = std::uint64_t{range.first()} + range.count();
    if (end > count) return false;
    auto read = [library = library_, environment, batch = Batch{range.first(), static_cast<std::uint32_t>(end), zstd}](
                    std::string& frames) mutable { return batch.read(*library, *environment, frames); };
    if (!feed_->add(std::move(read))) return false;
  }
  feed_->pump();
  return true;
}

}  // namespace taskmill::manager
