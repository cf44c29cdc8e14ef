#include "worker/net/environments.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/text.hpp"
#include "protocol/pb/frames.hpp"

namespace taskmill::worker {
namespace {

constexpr std::size_t most_offered = 64;
constexpr std::uint64_t largest_stream = std::uint64_t{256} << 30U;
constexpr int most_bases = 64;

std::optional<archive::Digest> digest_of(const std::string& bytes) {
  archive::Digest digest;
  if (bytes.size() != digest.bytes.size()) return std::nullopt;
  std::memcpy(digest.bytes.data(), bytes.data(), bytes.size());
  return digest;
}

std::string bytes_of(const archive::Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

// Others must not be able to put files in there: the tasks of this user would run them.
std::string make_private(const std::string& path) {
  struct stat info {};
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return "cannot make " + path + ": " + std::strerror(errno);
  if (::stat(path.c_str(), &info) != 0) return "cannot use " + path + ": " + std::strerror(errno);
  if (!S_ISDIR(info.st_mode)) return path + " is not a directory";
  if (info.st_uid != ::geteuid()) return path + " belongs to another user";
  if ((info.st_mode & 0022U) != 0) return path + " can be written by others: chmod go-w " + path;
  return {};
}

// Names of members are in it: any bytes, where a text of protobuf must be UTF-8.
std::string one_line(const std::string& text) {
  std::string line = text.substr(0, 1000);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c < 0x20 || c == 0x7f; }, '?');
  return line;
}

archive::ChunkStoreOptions chunk_options(const EnvironmentSettings& settings) {
  archive::ChunkStoreOptions options;
  options.max_bytes = settings.limit_bytes / 4;
  return options;
}

}  // namespace

Environments::Environments(Context& context, EnvironmentSettings settings)
    : context_(context), settings_(std::move(settings)) {}

Environments::~Environments() {
  stop();
  for (auto& [number, job] : jobs_) job.thread.join();
}

std::string Environments::prepare() {
  root_ = settings_.cache_directory.empty() ? context_.space.path() + "/.env" : settings_.cache_directory;
  if (auto bad = make_private(root_); !bad.empty()) return bad;
  archive::StoreOptions options;
  options.max_bytes = settings_.limit_bytes;
  auto store = archive::EnvironmentStore::open(root_ + "/trees", options);
  if (!store) return store.error().text;
  store_ = std::move(*store);
  return {};
}

bool Environments::zstd() const { return context_.native.can(protocol::Capability::zstd); }

bool Environments::on_frame(std::uint32_t kind, std::string_view body) {
  switch (static_cast<protocol::FrameKind>(kind & ~protocol::frame_compressed)) {
    case protocol::FrameKind::environment_offer: {
      const auto offer = protocol::parse_frame<pb::EnvironmentOffer>(kind, body);
      return offer && on_offer(*offer);
    }
    case protocol::FrameKind::chunk_data: {
      auto chunk = protocol::parse_frame<pb::ChunkData>(kind, body);
      return chunk && on_chunk(*chunk);
    }
    default:
      return false;
  }
}

bool Environments::on_offer(const pb::EnvironmentOffer& offer) {
  const auto digest = digest_of(offer.digest());
  if (!digest || offer.size() == 0 || offer.size() > largest_stream || offer.bases_size() > most_bases) return false;
  const auto hex = digest->hex();
  const auto at = offered_.find(hex);
  if (!offer.list().empty()) {
    return at != offered_.end() && at->second.transfer != nullptr &&
           at->second.transfer->intake()->on_list(offer.list());
  }
  if (at != offered_.end() && at->second.lease != nullptr) {
    EnvironmentOutcome here;
    here.lease = at->second.lease;
    here.serves = archive::ChunkStore::lists(chunk_directory(), *digest);
    tell(hex, at->second, here);
    context_.wake();
    return true;
  }
  if (at != offered_.end() && at->second.transfer != nullptr) return true;
  if (at == offered_.end() && offered_.size() >= most_offered && !evict_oldest()) {
    EnvironmentOutcome full;
    full.retry = true;
    full.error = std::to_string(most_offered) + " environments are in use here already";
    tell(hex, {}, full);
    context_.machine.on_environment_offered(hex, aio::steady_now());
    context_.machine.on_environment_failed(hex, aio::steady_now());
    context_.wake();
    return true;
  }
  return begin(hex, offer);
}

bool Environments::begin(const std::string& digest, const pb::EnvironmentOffer& offer) {
  EnvironmentWish wish;
  wish.digest = *archive::Digest::from_hex(digest);
  wish.size = offer.size();
  wish.unpacked_size = std::min(offer.unpacked_size(), largest_stream);
  for (const auto& base : offer.bases()) {
    const auto known = digest_of(base);
    if (!known) return false;
    wish.bases.push_back(*known);
  }
  const auto number = next_job_;
  auto ask = [this, number, &io = context_.io](EnvironmentQuestion question) {
    boost::asio::post(io, [this, number, question = std::move(question)] { on_question(number, question); });
  };
  auto intake = std::make_shared<EnvironmentIntake>(places(), std::move(wish), std::move(ask));
  auto transfer = std::make_shared<EnvironmentTransfer>(context_, std::move(intake), offer.planned());
  ++next_job_;
  Offered& offered = offered_[digest];
  offered = {one_line(offer.name()), transfer, nullptr, aio::steady_now()};
  jobs_.emplace(number, Job{number, digest, transfer, {}});
  context_.machine.on_environment_offered(digest, aio::steady_now());
  run(jobs_.at(number));
  context_.wake();
  return true;
}

// Called on the thread of an environment.
Expected<archive::EnvironmentStore*> Environments::own_store() {
  const std::lock_guard lock(own_mutex_);
  if (!own_store_) {
    const auto root = context_.space.path() + "/.env-own";
    if (auto bad = make_private(root); !bad.empty()) return make_error(bad);
    auto store = archive::EnvironmentStore::open(root, {});
    if (!store) return store.error();
    own_store_ = std::move(*store);
  }
  return own_store_.get();
}

EnvironmentPlaces Environments::places() {
  EnvironmentPlaces places{*store_, [this] { return own_store(); }, chunk_directory(), chunk_options(settings_)};
  return places;
}

void Environments::run(Job& job) {
  job.thread = std::thread([this, number = job.number, intake = job.transfer->intake(), &io = context_.io] {
    const auto outcome = intake->run();
    boost::asio::post(io, [this, number, outcome] { on_outcome(number, outcome); });
    // Without it a crash of the machine would cost the next worker the unpacking.
    if (outcome.unpacked && !settings_.cache_directory.empty()) (void)store_->settle(*outcome.lease);
    boost::asio::post(io, [this, number] { on_thread_end(number); });
  });
}

Environments::Job* Environments::find_job(std::uint64_t number) {
  const auto at = jobs_.find(number);
  if (at == jobs_.end()) return nullptr;
  const auto offered = offered_.find(at->second.digest);
  const bool current = offered != offered_.end() && offered->second.transfer == at->second.transfer;
  return current ? &at->second : nullptr;
}

void Environments::on_question(std::uint64_t number, const EnvironmentQuestion& question) {
  if (const Job* job = find_job(number)) job->transfer->on_question(question);  // else of a session that is over
}

// The environment may be ready already, or have failed: then the order comes too late.
void Environments::on_order(const pb::PeerFetch& order) {
  const auto digest = digest_of(order.object());
  const auto at = digest ? offered_.find(digest->hex()) : offered_.end();
  if (at != offered_.end() && at->second.transfer != nullptr) return at->second.transfer->on_order(order);
  if (order.sources_size() == 0) return;
  pb::PeerDone done;
  done.set_order(order.order());
  done.set_object(order.object());
  done.set_error("not wanted any more");
  protocol::append_frame(context_.effects.lines, done, false);
  context_.wake();
}

bool Environments::on_chunk(pb::ChunkData& chunk) {
  const auto digest = digest_of(chunk.digest());
  if (!digest || (chunk.compressed() && !zstd())) return false;
  const auto at = offered_.find(digest->hex());
  if (at == offered_.end()) return false;
  if (at->second.transfer != nullptr) at->second.transfer->on_chunk(chunk);  // else the rest of one that has failed
  return true;
}

void Environments::on_outcome(std::uint64_t number, EnvironmentOutcome outcome) {
  const Job* job = find_job(number);
  if (job == nullptr || outcome.cancelled) return;
  outcome.peer_bytes = job->transfer->peer_bytes();
  Offered& offered = offered_.at(job->digest);
  std::exchange(offered.transfer, nullptr)->end(outcome.lease != nullptr, outcome.error);
  offered.lease = outcome.lease;
  log_outcome(offered, outcome);
  tell(job->digest, offered, outcome);
  if (outcome.lease) {
    offered.used = aio::steady_now();
    context_.machine.on_environment_ready(job->digest, aio::steady_now());
    make_room();
  } else {
    context_.machine.on_environment_failed(job->digest, aio::steady_now());
  }
  context_.wake();
}

// What was offered in this session is held, so that no other worker of the node removes it. Beyond the limit, what no
// task here names is let go, and the manager is told, so that it offers it again when it is needed.
void Environments::make_room() {
  std::uint64_t held = 0;
  for (const auto& [digest, offered] : offered_) held += offered.lease ? offered.lease->bytes() : 0;
  if (held <= settings_.limit_bytes) return;
  while (held > settings_.limit_bytes && evict_oldest()) {
    held = 0;
    for (const auto& [digest, offered] : offered_) held += offered.lease ? offered.lease->bytes() : 0;
  }
  // Removing many files takes a while.
  (void)context_.pool.submit([store = store_, limit = settings_.limit_bytes]() -> aio::Pool::Done {
    (void)store->evict(limit);
    return [] {};
  });
}

bool Environments::evict_oldest() {
  auto oldest = offered_.end();
  for (auto at = offered_.begin(); at != offered_.end(); ++at) {
    const Offered& offered = at->second;
    if (offered.lease == nullptr || offered.lease.use_count() > 1 || context_.machine.uses_environment(at->first))
      continue;
    if (oldest == offered_.end() || offered.used < oldest->second.used) oldest = at;
  }
  if (oldest == offered_.end()) return false;
  pb::EnvironmentReady gone;
  gone.set_digest(bytes_of(*archive::Digest::from_hex(oldest->first)));
  gone.set_retry(true);
  gone.set_evicted(true);
  gone.set_error("evicted");
  protocol::append_frame(context_.effects.lines, gone, zstd());
  context_.log.detail("environment " + oldest->second.name + " made room");
  context_.machine.on_environment_evicted(oldest->first);
  offered_.erase(oldest);
  context_.wake();
  return true;
}

void Environments::log_outcome(const Offered& offered, const EnvironmentOutcome& outcome) const {
  if (!outcome.lease) return context_.log.error("environment " + offered.name + ": " + outcome.error);
  const auto spent = std::chrono::duration<double>(aio::steady_now() - offered.since).count();
  context_.log.detail("environment " + offered.name + (outcome.unpacked ? " unpacked in " : " found in ") +
                      outcome.lease->path() + " after " + std::to_string(spent) + " s, " +
                      std::to_string(outcome.received_bytes) + " bytes received, " +
                      std::to_string(outcome.reused_bytes) + " reused");
}

void Environments::tell(const std::string& digest, const Offered& offered, const EnvironmentOutcome& outcome) {
  pb::EnvironmentReady ready;
  ready.set_digest(bytes_of(*archive::Digest::from_hex(digest)));
  ready.set_ok(outcome.lease != nullptr);
  ready.set_error(one_line(outcome.error));
  ready.set_retry(outcome.retry);
  if (outcome.lease) {
    ready.set_unpacked_size(outcome.lease->bytes());
    ready.set_files(outcome.lease->entries());
  }
  ready.set_unpacked(outcome.unpacked);
  ready.set_serves(outcome.serves);
  ready.set_received_bytes(outcome.received_bytes);
  ready.set_peer_bytes(outcome.peer_bytes);
  ready.set_reused_bytes(outcome.reused_bytes);
  ready.set_time_us(static_cast<std::uint64_t>((aio::steady_now() - offered.since).count()));
  protocol::append_frame(context_.effects.lines, ready, zstd());
}

void Environments::on_thread_end(std::uint64_t number) {
  const auto at = jobs_.find(number);
  if (at == jobs_.end()) return;
  at->second.thread.join();
  jobs_.erase(at);
  context_.wake();
}

// What has arrived of an environment is kept, so the next session goes on from there.
void Environments::on_session_ended() {
  for (auto& [number, job] : jobs_) {
    job.transfer->abandon();
    job.transfer->intake()->cancel();
  }
  offered_.clear();
}

void Environments::stop() { on_session_ended(); }

std::shared_ptr<const archive::EnvironmentLease> Environments::lease(const std::string& digest) {
  const auto at = offered_.find(digest);
  if (at == offered_.end()) return nullptr;
  at->second.used = aio::steady_now();
  return at->second.lease;
}

// --- tasks ---

void take_environment(protocol::TaskDescription& task) {
  const auto is_name = [](const std::string& variable) {
    return variable.starts_with(protocol::environment_variable) &&
           variable.substr(protocol::environment_variable.size()).starts_with("=");
  };
  const auto at = std::find_if(task.env.begin(), task.env.end(), is_name);
  if (at == task.env.end()) return;
  task.environment = at->substr(protocol::environment_variable.size() + 1);
  std::erase_if(task.env, is_name);
}

bool enter_environment(const archive::EnvironmentLease& lease, Environment::Block& block) {
  archive::Variables variables;
  for (const char* entry : block.pointers) {
    if (entry != nullptr) variables.emplace_back(entry);
  }
  if (!archive::can_replay(lease.activation(), variables)) return false;
  block.own = archive::apply_activation(lease.activation(), std::move(variables));
  block.pointers.clear();
  for (const auto& entry : block.own) block.pointers.push_back(entry.c_str());
  block.pointers.push_back(nullptr);
  return true;
}

std::string enter_by_script(const archive::EnvironmentLease& lease, const std::string& command) {
  std::string line;
  for (const auto& word : archive::activation_wrapper(lease.path())) line += shell_quote(word) + " ";
  return line + "/bin/sh -c " + shell_quote(command);
}

}  // namespace taskmill::worker
