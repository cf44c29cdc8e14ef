#include "common/archive/environment_store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <thread>

#include "common/archive/ready_marker.hpp"
#include "common/archive/relocate.hpp"

namespace taskmill::archive {

namespace {

constexpr std::size_t id_length = 32;
constexpr std::chrono::milliseconds busy_pause{50};
constexpr std::chrono::milliseconds life_interval{500};

std::string id_of(const Digest& digest) { return digest.hex().substr(0, id_length); }

bool is_id(std::string_view name) {
  return name.size() == id_length && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  if (DIR* listing = ::opendir(path.c_str())) {
    while (const dirent* entry = ::readdir(listing)) names.emplace_back(entry->d_name);
    ::closedir(listing);
  }
  return names;
}

Status make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return system_error("cannot make directory", path, errno);
}

/// The marker, if it vouches for this tree on this machine now.
std::optional<ReadyMarker> valid_marker(const std::string& path, const std::string& prefix) {
  auto text = read_file(path, 16384);
  if (!text) return std::nullopt;
  auto marker = ready_marker_from_text(*text);
  if (!marker || marker->prefix != prefix) return std::nullopt;
  if (!marker->synced && marker->boot != boot_id()) return std::nullopt;
  return marker;
}

}  // namespace

struct EnvironmentStore::Entry {
  std::string id;
  std::uint64_t bytes = 0;
  timespec last_use{};
};

std::string EnvironmentStore::id_path(const std::string& id, std::string_view file) const {
  return root_ + "/" + id + "/" + std::string(file);
}

Expected<std::unique_ptr<EnvironmentStore>> EnvironmentStore::open(const std::string& root, StoreOptions options) {
  if (auto made = make_directory(root); !made) return made.error();
  if (auto made = make_directory(root + "/locks"); !made) return made.error();
  char* resolved = ::realpath(root.c_str(), nullptr);
  if (resolved == nullptr) return system_error("cannot resolve", root, errno);
  std::unique_ptr<EnvironmentStore> store(new EnvironmentStore(resolved, options));
  ::free(resolved);
  auto fd = open_directory(AT_FDCWD, store->root_);
  if (!fd) return fd.error();
  store->root_fd_ = std::move(*fd);
  store->remove_leftovers();
  return store;
}

Expected<os::UniqueFd> EnvironmentStore::lock(const std::string& id) {
  const std::string path = root_ + "/locks/" + id;
  os::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd) return system_error("cannot open", path, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return os::UniqueFd{};
  return system_error("cannot lock", path, errno);
}

/// tmp.<id>.* and trash.<id>.* belong to whoever holds the lock of <id>; if nobody does, to nobody.
void EnvironmentStore::remove_leftovers() {
  for (const std::string& name : names_in(root_)) {
    const std::size_t dot = name.find('.');
    if (dot == std::string::npos || (!name.starts_with("tmp.") && !name.starts_with("trash."))) continue;
    const std::string id = name.substr(dot + 1, id_length);
    if (!is_id(id)) continue;
    auto held = lock(id);
    if (held && *held) (void)remove_tree(root_fd_.get(), name);
  }
}

Expected<std::optional<EnvironmentLease>> EnvironmentStore::find(const Digest& digest) {
  const std::string id = id_of(digest);
  const std::string use_path = id_path(id, "use");
  EnvironmentLease lease;
  lease.use_.reset(::open(use_path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!lease.use_ || ::flock(lease.use_.get(), LOCK_SH | LOCK_NB) != 0) return std::optional<EnvironmentLease>{};
  // Between open and lock it may have been moved away for removal: the name must still mean this file.
  struct stat locked {};
  struct stat named {};
  if (::fstat(lease.use_.get(), &locked) != 0 || ::stat(use_path.c_str(), &named) != 0 ||
      locked.st_ino != named.st_ino) {
    return std::optional<EnvironmentLease>{};
  }
  lease.path_ = id_path(id, "tree");
  const auto marker = valid_marker(id_path(id, "ready"), lease.path_);
  if (!marker || marker->digest != digest) return std::optional<EnvironmentLease>{};
  auto text = read_file(id_path(id, "activation"));
  auto activation = text ? activation_from_text(*text) : std::nullopt;
  if (!activation) return std::optional<EnvironmentLease>{};
  lease.activation_ = std::move(*activation);
  lease.bytes_ = marker->bytes;
  lease.entries_ = marker->entries;
  ::futimens(lease.use_.get(), nullptr);
  return std::optional<EnvironmentLease>(std::move(lease));
}

/// Moves <id> out of the way, then removes it. The caller holds its lock.
Status EnvironmentStore::discard(const std::string& id) {
  const std::string trash = "trash." + id + "." + std::to_string(::getpid());
  if (auto removed = remove_tree(root_fd_.get(), trash); !removed) return removed;
  if (::renameat(root_fd_.get(), id.c_str(), root_fd_.get(), trash.c_str()) != 0) {
    return errno == ENOENT ? Status{} : Status(system_error("cannot remove", root_ + "/" + id, errno));
  }
  return remove_tree(root_fd_.get(), trash);
}

Expected<Beginning> EnvironmentStore::begin(const Digest& digest, DigestOf of, std::uint64_t expected_bytes) {
  auto found = find(digest);
  if (!found) return found.error();
  if (*found) return Beginning(std::move(**found));
  const std::string id = id_of(digest);
  auto held = lock(id);
  if (!held) return held.error();
  if (!*held) return Beginning(Busy{sign_of(id)});
  found = find(digest);  // somebody may have finished it meanwhile
  if (!found) return found.error();
  if (*found) return Beginning(std::move(**found));
  if (auto removed = discard(id); !removed) return removed.error();
  if (options_.max_bytes > 0) (void)evict(options_.max_bytes - std::min(options_.max_bytes, expected_bytes));
  std::unique_ptr<EnvironmentBuild> build(new EnvironmentBuild(*this, digest, of));
  build->lock_ = std::move(*held);
  if (auto started = build->start(expected_bytes); !started) return started.error();
  return Beginning(std::move(build));
}

Expected<EnvironmentLease> EnvironmentStore::obtain(const Digest& digest, DigestOf of, const OpenSource& open_source) {
  for (;;) {
    auto beginning = begin(digest, of);
    if (!beginning) return beginning.error();
    if (auto* lease = std::get_if<EnvironmentLease>(&*beginning)) return std::move(*lease);
    if (std::holds_alternative<Busy>(*beginning)) {
      std::this_thread::sleep_for(busy_pause);
      continue;
    }
    auto& build = std::get<std::unique_ptr<EnvironmentBuild>>(*beginning);
    auto source = open_source();
    if (!source) return source.error();
    for (;;) {
      auto piece = (*source)->next();
      if (!piece) return piece.error();
      if (piece->empty()) break;
      if (auto fed = build->feed(*piece); !fed) return fed.error();
    }
    return build->finish();
  }
}

std::vector<EnvironmentStore::Entry> EnvironmentStore::list() const {
  std::vector<Entry> entries;
  for (std::string& id : names_in(root_)) {
    if (!is_id(id)) continue;
    const auto marker = valid_marker(id_path(id, "ready"), id_path(id, "tree"));
    struct stat use {};
    ::stat(id_path(id, "use").c_str(), &use);
    entries.push_back({std::move(id), marker ? marker->bytes : 0, use.st_mtim});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.last_use.tv_sec, a.last_use.tv_nsec) < std::pair(b.last_use.tv_sec, b.last_use.tv_nsec);
  });
  return entries;
}

std::uint64_t EnvironmentStore::used_bytes() const {
  std::uint64_t total = 0;
  for (const Entry& entry : list()) total += entry.bytes;
  return total;
}

Expected<std::uint64_t> EnvironmentStore::evict(std::uint64_t max_bytes) {
  const auto entries = list();
  std::uint64_t total = 0;
  for (const Entry& entry : entries) total += entry.bytes;
  std::uint64_t freed = 0;
  for (const Entry& entry : entries) {
    if (total - freed <= max_bytes) break;
    auto held = lock(entry.id);
    if (!held) return held.error();
    if (!*held) continue;
    const os::UniqueFd use(::open(id_path(entry.id, "use").c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (use && ::flock(use.get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (auto removed = discard(entry.id); !removed) return removed.error();
    freed += entry.bytes;
  }
  return freed;
}

Status EnvironmentStore::settle(const EnvironmentLease& lease) {
  const std::string directory = lease.path_.substr(0, lease.path_.rfind('/'));
  auto fd = open_directory(AT_FDCWD, directory);
  if (!fd) return fd.error();
  auto marker = valid_marker(directory + "/ready", lease.path_);
  if (!marker || marker->synced) return {};
  if (::syncfs(fd->get()) != 0) return system_error("cannot flush", directory, errno);
  marker->synced = true;
  return write_atomically(fd->get(), "ready", to_text(*marker));
}

std::int64_t EnvironmentStore::sign_of(const std::string& id) const {
  struct stat info {};
  if (::stat((root_ + "/locks/" + id).c_str(), &info) != 0) return 0;
  return info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
}

void EnvironmentBuild::show_life() {
  const auto now = std::chrono::steady_clock::now();
  if (now - shown_ < life_interval) return;
  shown_ = now;
  ::futimens(lock_.get(), nullptr);
}

Status EnvironmentBuild::start(std::uint64_t expected_bytes) {
  const std::string id = id_of(digest_);
  temporary_ = "tmp." + id + "." + std::to_string(::getpid());
  const int root = store_.root_fd_.get();
  if (auto removed = remove_tree(root, temporary_); !removed) return removed;
  const std::string tree = temporary_ + "/tree";
  if (::mkdirat(root, temporary_.c_str(), 0755) != 0 || ::mkdirat(root, tree.c_str(), 0755) != 0) {
    return write_error(store_.root_ + "/" + tree, errno, root, 0);
  }
  auto directory = open_directory(root, tree);
  if (!directory) return directory.error();
  UnpackOptions options;
  options.limits = store_.options_.limits;
  options.expected_bytes = expected_bytes;
  options.before_sealing = [this, prefix = store_.id_path(id, "tree")](int fd) -> Status {
    auto outcome = relocate(fd, prefix);
    if (!outcome) return outcome.error();
    needs_script_ = *outcome == Relocation::needs_script;
    return {};
  };
  unpacker_ = std::make_unique<Unpacker>(std::move(*directory), std::move(options));
  return {};
}

Expected<EnvironmentLease> EnvironmentBuild::finish() {
  auto report = unpacker_->finish();
  if (!report) return report.error();
  shown_ = {};
  show_life();
  const Digest& actual = of_ == DigestOf::archive ? report->archive_digest : report->plain_digest;
  if (actual != digest_) {
    return make_error("the environment's digest is " + actual.hex() + ", expected " + digest_.hex() +
                      "; it was damaged on the way or changed at the source");
  }
  if (auto done = complete(*report); !done) return done.error();
  auto lease = store_.find(digest_);
  if (!lease) return lease.error();
  if (!*lease) return make_error("environment " + digest_.hex() + " vanished from " + store_.root_);
  return std::move(**lease);
}

Status EnvironmentBuild::complete(const UnpackReport& report) {
  const std::string id = id_of(digest_);
  const int root = store_.root_fd_.get();
  if (::fchmodat(root, (temporary_ + "/tree").c_str(), 0555, 0) != 0 ||
      ::renameat(root, temporary_.c_str(), root, id.c_str()) != 0) {
    return system_error("cannot move into place", store_.root_ + "/" + id, errno);
  }
  temporary_ = id;  // from here on this is what a failure has to remove
  const std::string prefix = store_.id_path(id, "tree");
  if (needs_script_) {
    if (auto done = set_writable(root, id + "/tree", true); !done) return done;
    if (auto done = run_conda_unpack(prefix); !done) return done;
    if (auto done = set_writable(root, id + "/tree", false); !done) return done;
  }
  auto activation = probe_activation(prefix);
  if (!activation) return activation.error();
  auto directory = open_directory(root, id);
  if (!directory) return directory.error();
  if (auto done = write_atomically(directory->get(), "activation", to_text(*activation)); !done) return done;
  if (auto done = write_atomically(directory->get(), "use", ""); !done) return done;
  ReadyMarker marker;
  marker.digest = digest_;
  marker.bytes = report.disk_bytes;
  marker.entries = report.entries;
  marker.prefix = prefix;
  marker.boot = boot_id();
  if (auto done = write_atomically(directory->get(), "ready", to_text(marker)); !done) return done;
  temporary_.clear();
  return {};
}

EnvironmentBuild::~EnvironmentBuild() {
  unpacker_.reset();
  if (!temporary_.empty()) (void)remove_tree(store_.root_fd_.get(), temporary_);
}

}  // namespace taskmill::archive
