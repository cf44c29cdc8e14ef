#include "worker/host/environment_intake.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "common/archive/chunk_frames.hpp"

namespace taskmill::worker {
namespace {

using archive::ChunkRef;
using archive::Status;

/// Asked for and not yet taken in; enough for a fast network some ten milliseconds away.
constexpr std::uint64_t window = std::uint64_t{16} << 20U;
constexpr std::uint64_t portion = std::uint64_t{2} << 20U;
constexpr std::chrono::milliseconds busy_pause{20};
constexpr std::chrono::seconds life_interval{1};
constexpr std::size_t most_chunks = 4'000'000;

bool is_shortage(std::string_view text) { return text.starts_with("disk ") || text.starts_with("not enough disk"); }

Error given_up() { return make_error("it was given up"); }

}  // namespace

struct EnvironmentIntake::Receiving {
  archive::ChunkStore& chunks;
  archive::ChunkStore::Intake& keep;
  const archive::ChunkIndex& index;
  std::vector<std::uint32_t> missing;  ///< first use of each chunk that is not here
  std::size_t asked = 0;               ///< of missing
  std::size_t taken = 0;               ///< of missing
  std::uint64_t on_the_way = 0;        ///< plain bytes asked for and not taken
  std::uint64_t left = 0;              ///< plain bytes of what is missing and not taken
  std::uint64_t received = 0;
  std::uint64_t reused = 0;
};

bool EnvironmentIntake::on_list(std::string_view list) {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(list_wanted_, false)) return cancelled_;
  list_ = list;
  changed_.notify_all();
  return true;
}

void EnvironmentIntake::on_chunk(std::uint32_t index, std::string data, bool compressed) {
  const std::lock_guard lock(mutex_);
  const auto at = wanted_.find(index);
  if (at == wanted_.end() || at->second) return;
  at->second = Arrived{std::move(data), compressed};
  changed_.notify_all();
}

void EnvironmentIntake::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

EnvironmentOutcome EnvironmentIntake::run() {
  EnvironmentOutcome outcome;
  auto lease = obtain(outcome);
  const std::lock_guard lock(mutex_);
  if (lease) {
    outcome.lease = std::move(*lease);
  } else {
    outcome.error = lease.error().text;
    outcome.cancelled = cancelled_;
  }
  wanted_.clear();
  return outcome;
}

Expected<std::shared_ptr<const archive::EnvironmentLease>> EnvironmentIntake::obtain(EnvironmentOutcome& outcome) {
  const auto shared = [](archive::EnvironmentLease lease) {
    return std::make_shared<const archive::EnvironmentLease>(std::move(lease));
  };
  archive::EnvironmentStore* store = &places_.store;
  std::optional<std::int64_t> sign;
  std::chrono::steady_clock::time_point seen;
  for (;;) {
    outcome.retry = true;  // until something of the content itself is wrong
    auto beginning = store->begin(wish_.digest, archive::DigestOf::plain, std::max(wish_.unpacked_size, wish_.size));
    if (!beginning) return beginning.error();
    if (auto* lease = std::get_if<archive::EnvironmentLease>(&*beginning)) {
      outcome.serves = archive::ChunkStore::lists(places_.chunk_directory, wish_.digest);
      return shared(std::move(*lease));
    }
    if (const auto* busy = std::get_if<archive::Busy>(&*beginning)) {
      const auto now = std::chrono::steady_clock::now();
      if (!sign || *sign != busy->sign) seen = now;
      sign = busy->sign;
      if (now - seen >= places_.patience && store == &places_.store) {
        auto own = places_.own();
        if (!own) return own.error();
        store = *own;
        sign.reset();
      } else if (auto waited = pause(); !waited) {
        return waited.error();
      }
      continue;
    }
    auto& build = *std::get<std::unique_ptr<archive::EnvironmentBuild>>(*beginning);
    build_ = &build;
    auto received = receive(build, outcome);
    build_ = nullptr;
    if (!received) return received.error();
    auto lease = build.finish();
    outcome.retry = !lease && is_shortage(lease.error().text);
    if (!lease) return lease.error();
    outcome.unpacked = true;
    return shared(std::move(*lease));
  }
}

template <class Done>
void EnvironmentIntake::wait_until(std::unique_lock<std::mutex>& lock, Done done) {
  while (!changed_.wait_for(lock, life_interval, [&] { return cancelled_ || done(); })) {
    if (build_ == nullptr) continue;
    lock.unlock();
    build_->show_life();
    lock.lock();
  }
}

Status EnvironmentIntake::pause() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, busy_pause, [this] { return cancelled_; });
  if (cancelled_) return given_up();
  return {};
}

// A base that the manager has cut differently gives nonsense: then the whole list is asked for.
Expected<archive::ChunkIndex> EnvironmentIntake::fetch_list(archive::ChunkStore& chunks) {
  if (auto known = chunks.find_index(wish_.digest); known && chunks.has_all(*known)) return std::move(*known);
  std::optional<archive::ChunkIndex> base;
  for (const auto& candidate : wish_.bases) {
    base = chunks.find_index(candidate);
    if (base) break;
  }
  for (;;) {
    auto text = await_list(base);
    if (!text) return text.error();
    const auto delta = archive::decode_delta(*text);
    auto index = delta ? archive::apply_delta(base ? &*base : nullptr, *delta) : std::nullopt;
    const bool fits = index && index->stream == wish_.digest && index->bytes() == wish_.size;
    if (fits && index->chunks.size() <= most_chunks) return std::move(*index);
    if (!base) return make_error("the list of its chunks makes no sense");
    base.reset();
  }
}

Expected<std::string> EnvironmentIntake::await_list(const std::optional<archive::ChunkIndex>& base) {
  {
    const std::lock_guard lock(mutex_);
    list_wanted_ = true;
    list_.reset();
  }
  EnvironmentQuestion question;
  question.list = true;
  if (base) question.base = base->stream;
  ask_(std::move(question));
  std::unique_lock lock(mutex_);
  wait_until(lock, [this] { return list_.has_value(); });
  if (cancelled_) return given_up();
  return {boost::system::in_place_value, std::move(*list_)};
}

Status EnvironmentIntake::receive(archive::EnvironmentBuild& build, EnvironmentOutcome& outcome) {
  auto chunks = archive::ChunkStore::open(places_.chunk_directory, places_.chunk_options);
  if (!chunks) return chunks.error();
  auto index = fetch_list(**chunks);
  if (!index) return index.error();
  archive::ChunkStore::Intake keep(**chunks);
  Receiving receiving{**chunks, keep, *index, {}, 0, 0, 0, 0, 0, 0};
  std::unordered_set<archive::Digest, archive::DigestHash> seen;
  for (std::uint32_t i = 0; i < index->chunks.size(); ++i) {
    const auto& digest = index->chunks[i].digest;
    if ((*chunks)->has(digest) || !seen.insert(digest).second) continue;
    receiving.missing.push_back(i);
    receiving.left += index->chunks[i].length;
  }
  for (std::uint32_t i = 0; i < index->chunks.size(); ++i) {
    auto chunk = chunk_at(receiving, i);
    if (!chunk) {
      (void)keep.keep();
      return chunk.error();
    }
    if (auto fed = build.feed(archive::as_bytes(*chunk)); !fed) {
      // The archive itself is refused, unless it is only the room that is lacking.
      outcome.retry = is_shortage(fed.error().text);
      (void)keep.keep();
      return fed;
    }
  }
  outcome.received_bytes = receiving.received;
  outcome.reused_bytes = receiving.reused;
  if (auto kept = keep.finish(*index); !kept) return kept;
  outcome.serves = true;
  return {};
}

// Keeps the window full: runs of neighbours become one range.
void EnvironmentIntake::ask_ahead(Receiving& receiving) {
  if (receiving.asked == receiving.missing.size() || receiving.on_the_way + portion > window) return;
  EnvironmentQuestion question;
  question.left_bytes = receiving.left;
  {
    const std::lock_guard lock(mutex_);
    while (receiving.asked < receiving.missing.size() && receiving.on_the_way < window) {
      const std::uint32_t index = receiving.missing[receiving.asked++];
      receiving.on_the_way += receiving.index.chunks[index].length;
      wanted_[index].reset();
      auto& runs = question.missing;
      if (!runs.empty() && runs.back().first + runs.back().count == index) {
        ++runs.back().count;
      } else {
        runs.push_back({index, 1});
      }
    }
  }
  ask_(std::move(question));
}

Expected<std::string> EnvironmentIntake::chunk_at(Receiving& receiving, std::uint32_t index) {
  ask_ahead(receiving);
  const ChunkRef& ref = receiving.index.chunks[index];
  const bool missing = receiving.taken < receiving.missing.size() && receiving.missing[receiving.taken] == index;
  if (!missing) {
    {
      const std::lock_guard lock(mutex_);
      if (cancelled_) return given_up();
    }
    auto plain = receiving.chunks.plain(ref);
    if (plain) {
      receiving.reused += ref.length;
      return plain;
    }
    // Evicted or damaged since: the manager has it.
    EnvironmentQuestion question;
    question.missing.push_back({index, 1});
    question.left_bytes = receiving.left + ref.length;
    {
      const std::lock_guard lock(mutex_);
      wanted_[index].reset();
    }
    ask_(std::move(question));
    return await_chunk(receiving, index);
  }
  auto chunk = await_chunk(receiving, index);
  receiving.on_the_way -= ref.length;
  receiving.left -= ref.length;
  ++receiving.taken;
  return chunk;
}

// A bad chunk is asked for once more.
Expected<std::string> EnvironmentIntake::await_chunk(Receiving& receiving, std::uint32_t index) {
  const ChunkRef& ref = receiving.index.chunks[index];
  for (int tries = 0; tries < 2; ++tries) {
    auto arrived = await(index);
    if (!arrived) return arrived.error();
    receiving.received += arrived->data.size();
    if (!arrived->compressed) arrived->data = archive::ChunkCompressor(1).compress(archive::as_bytes(arrived->data));
    auto plain = archive::decompress_chunk(ref, archive::as_bytes(arrived->data));
    if (plain) {
      if (auto kept = receiving.keep.add(ref, archive::as_bytes(arrived->data)); !kept) return kept.error();
      return plain;
    }
    if (tries > 0) break;
    EnvironmentQuestion again;
    again.missing.push_back({index, 1});
    again.damaged = true;
    {
      const std::lock_guard lock(mutex_);
      wanted_[index].reset();
    }
    ask_(std::move(again));
  }
  return make_error("chunk " + std::to_string(index) + " arrived damaged twice (" + ref.digest.hex() + ")");
}

Expected<EnvironmentIntake::Arrived> EnvironmentIntake::await(std::uint32_t index) {
  std::unique_lock lock(mutex_);
  wait_until(lock, [&] { return wanted_[index].has_value(); });
  if (!wanted_[index]) return given_up();  // what has arrived is still taken in
  Arrived arrived = std::move(*wanted_[index]);
  wanted_.erase(index);
  return arrived;
}

}  // namespace taskmill::worker
