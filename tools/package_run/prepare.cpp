#include "tools/package_run/prepare.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "common/archive/ready_marker.hpp"
#include "common/archive/relocate.hpp"
#include "common/archive/unpacker.hpp"
#include "tools/package_run/marker.hpp"

namespace taskmill::package_run {

using archive::Status;
using archive::system_error;

namespace {

constexpr const char* activation_name = ".taskmill_activation";
constexpr const char* progress_name = ".taskmill_progress";
constexpr std::array<const char*, 2> marker_names{".poncho_package_run_expanded", ".python_package_run_expanded"};
constexpr std::string_view temporary_prefix = "poncho_package_run.";
constexpr std::chrono::seconds default_patience{300};

using Clock = std::chrono::steady_clock;

std::string absolute(const std::string& path) {
  if (path.starts_with('/')) return path;
  char* here = ::getcwd(nullptr, 0);
  std::string result = (here != nullptr ? std::string(here) : "") + "/" + path;
  ::free(here);
  return result;
}

std::string date_text() {
  const time_t now = ::time(nullptr);
  struct tm parts {};
  ::localtime_r(&now, &parts);
  std::array<char, 64> text{};
  ::strftime(text.data(), text.size(), "%a %b %e %H:%M:%S %Z %Y", &parts);
  return text.data();
}

/// One archive and one place for it.
class Target {
 public:
  Target(const Options& options, std::string path, std::string marker_name, const Say& say)
      : options_(options), path_(std::move(path)), marker_name_(std::move(marker_name)), say_(say) {}

  Status open() {
    struct stat info {};
    if (::stat(options_.environment.c_str(), &archive_) != 0) {
      return system_error("cannot read environment", options_.environment, errno);
    }
    if (::stat(path_.c_str(), &info) == 0 && !S_ISDIR(info.st_mode)) {
      return make_error("cannot unpack to " + path_ + ": it is a file, not a directory");
    }
    if (::mkdir(path_.c_str(), 0755) != 0 && errno != EEXIST) {
      return system_error("cannot make directory", path_, errno);
    }
    fd_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd_) return system_error("cannot open directory", path_, errno);
    return {};
  }

  enum class State { empty, ready, other_archive };

  /// Looks at the marker. Reads the archive only when this file was not seen before.
  Expected<State> look() {
    for (const char* name : marker_names) {
      auto text = archive::read_file(path_ + "/" + name, 1U << 20U);
      if (!text) continue;
      marker_ = marker_from_text(*text);
      if (!marker_.digest) return State::ready;
      if (!options_.identity.empty() && marker_.identity == options_.identity) return State::ready;
      const std::string identity = identity_of(archive_);
      for (const std::string& seen : marker_.seen) {
        if (seen == identity) return State::ready;
      }
      if (!digest_) {
        auto digest = archive::sha256_of_file(options_.environment);
        if (!digest) return digest.error();
        digest_ = *digest;
      }
      if (*digest_ != *marker_.digest) return State::other_archive;
      remember(name);
      return State::ready;
    }
    return State::empty;
  }

  Status lock() {
    holds_lock_ = true;  // or fails
    if (try_lock()) return {};
    say_("waiting for lock on directory " + path_);
    auto progress = progress_time();
    auto since = Clock::now();
    const auto patience = options_.wait_seconds ? std::chrono::seconds(*options_.wait_seconds) : default_patience;
    while (!try_lock()) {
      if (!options_.wait_seconds) {
        const auto newer = progress_time();
        if (newer != progress) since = Clock::now();
        progress = newer;
      }
      if (Clock::now() - since >= patience) {
        return make_error("could not acquire lock on " + path_ + " within " + std::to_string(patience.count()) +
                          " s: another process is unpacking there; -w SECONDS waits longer");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return {};
  }
  void unlock() {
    ::flock(fd_.get(), LOCK_UN);
    holds_lock_ = false;
  }
  os::UniqueFd take_lock() { return std::move(fd_); }

  /// Writes every member, whatever an interrupted run left here, then the marker.
  Status unpack() {
    say_("expanding environment file " + options_.environment);
    auto source = archive::FileSource::open(options_.environment);
    if (!source) return source.error();
    bool needs_script = false;
    archive::UnpackOptions options;
    options.read_only = false;
    options.on_progress = [this](std::uint64_t) { touch_progress(); };
    options.before_sealing = [&](int fd) -> Status {
      auto outcome = archive::relocate(fd, path_);
      if (!outcome) return outcome.error();
      needs_script = *outcome == archive::Relocation::needs_script;
      return {};
    };
    auto report = archive::unpack(**source, fd_.get(), options);
    if (!report) return make_error(options_.environment + ": " + report.error().text);
    if (needs_script) {
      if (auto done = archive::run_conda_unpack(path_); !done) return done;
    }
    ::unlinkat(fd_.get(), progress_name, 0);
    ::unlinkat(fd_.get(), activation_name, 0);
    if (!options_.identity.empty() && report->plain_digest.hex() != options_.identity) {
      return make_error(options_.environment + " is not the environment that was asked for: its digest is " +
                        report->plain_digest.hex() + ", expected " + options_.identity);
    }
    marker_ = {date_text(), report->archive_digest, report->plain_digest.hex(), {identity_of(archive_)}};
    return archive::write_atomically(fd_.get(), marker_name_, to_text(marker_));
  }

  /// From the file beside the tree, or by running the scripts.
  Expected<archive::Activation> activation() {
    auto text = archive::read_file(path_ + "/" + activation_name);
    if (text) {
      if (auto known = archive::activation_from_text(*text)) return {boost::system::in_place_value, std::move(*known)};
    }
    say_("activating environment");
    auto probed = archive::probe_activation(path_);
    if (probed) (void)archive::write_atomically(fd_.get(), activation_name, archive::to_text(*probed));
    return probed;
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string sibling() const { return path_ + "." + digest_->hex().substr(0, 16); }

 private:
  bool try_lock() { return ::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0; }

  /// Saves the next task the reading. Only one process at a time writes the marker, and nobody waits for it.
  void remember(const std::string& name) {
    const bool locked = try_lock();
    if (!locked) return;
    if (marker_.seen.size() >= most_identities) marker_.seen.erase(marker_.seen.begin());
    marker_.seen.push_back(identity_of(archive_));
    (void)archive::write_atomically(fd_.get(), name, to_text(marker_));
    if (!holds_lock_) unlock();
  }

  [[nodiscard]] std::pair<time_t, long> progress_time() const {
    struct stat info {};
    if (::fstatat(fd_.get(), progress_name, &info, AT_SYMLINK_NOFOLLOW) != 0) return {0, 0};
    return {info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  }

  void touch_progress() {
    const auto now = Clock::now();
    if (now - touched_ < std::chrono::seconds(2)) return;
    touched_ = now;
    const os::UniqueFd file(::openat(fd_.get(), progress_name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (file) ::futimens(file.get(), nullptr);
  }

  const Options& options_;
  std::string path_;
  std::string marker_name_;
  const Say& say_;
  os::UniqueFd fd_;
  bool holds_lock_ = false;
  struct stat archive_ {};
  Marker marker_;
  std::optional<archive::Digest> digest_;
  Clock::time_point touched_ = Clock::now();
};

/// Temporary trees of runners that were killed: their lock is free.
void remove_leftovers(const std::string& directory) {
  DIR* listing = ::opendir(directory.c_str());
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string name = entry->d_name;
    struct stat info {};
    if (!name.starts_with(temporary_prefix) ||
        ::fstatat(::dirfd(listing), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(info.st_mode) ||
        info.st_uid != ::geteuid() || info.st_ctim.tv_sec + 60 > ::time(nullptr)) {
      continue;
    }
    const os::UniqueFd fd(::openat(::dirfd(listing), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) (void)archive::remove_tree(::dirfd(listing), name);
  }
  ::closedir(listing);
}

Expected<std::string> make_temporary() {
  const char* configured = ::getenv("TMPDIR");
  const std::string directory = configured != nullptr && *configured != '\0' ? configured : "/tmp";
  remove_leftovers(directory);
  std::string path = absolute(directory) + "/" + std::string(temporary_prefix) + "XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return system_error("cannot make a temporary directory in", directory, errno);
  return {boost::system::in_place_value, std::move(path)};
}

Expected<Prepared> finish(Target& target) {
  auto activation = target.activation();
  target.unlock();
  if (!activation) return activation.error();
  return Prepared{target.path(), std::move(*activation), false, {}};
}

Expected<Prepared> prepare_at(const Options& options, const std::string& path, const std::string& marker_name,
                              const Say& say, bool may_move) {
  say("setting up environment at " + path);
  Target target(options, path, marker_name, say);
  if (auto opened = target.open(); !opened) return opened.error();
  auto state = target.look();
  if (!state) return state.error();
  if (*state == Target::State::empty) {
    if (auto locked = target.lock(); !locked) return locked.error();
    state = target.look();
    if (!state) return state.error();
    if (*state == Target::State::empty) {
      if (auto unpacked = target.unpack(); !unpacked) return unpacked.error();
      return finish(target);
    }
  }
  if (*state == Target::State::other_archive) {
    if (!may_move) return make_error(target.path() + " holds another environment; name another directory with -u");
    say("directory " + target.path() + " holds another environment; using " + target.sibling());
    target.unlock();
    return prepare_at(options, target.sibling(), marker_name, say, false);
  }
  say("directory " + path + " is not empty. Not setting environment file again");
  return finish(target);
}

Expected<Prepared> prepare_temporary(const Options& options, const std::string& marker_name, const Say& say) {
  auto path = make_temporary();
  if (!path) return path.error();
  Prepared prepared{*path, {}, true, {}};
  Target target(options, *path, marker_name, say);
  Status done = target.open();
  if (done) done = target.lock();
  if (done) done = target.unpack();
  if (done) {
    auto activation = target.activation();
    if (activation)
      prepared.activation = std::move(*activation);
    else
      done = activation.error();
  }
  prepared.lock = target.take_lock();
  if (!done) {
    remove_temporary(prepared);
    return done.error();
  }
  return prepared;
}

/// A directory is used as it is: no lock, no relocation, scripts sourced unless their effect is on file.
Expected<Prepared> prepare_directory(const Options& options, const Say& say) {
  const std::string path = absolute(options.environment);
  if (options.unpack_to) say("environment is a directory, ignoring --unpack-to");
  auto text = archive::read_file(path + "/" + activation_name);
  auto known = text ? archive::activation_from_text(*text) : std::nullopt;
  if (known) return Prepared{path, std::move(*known), false, {}};
  auto probed = archive::probe_activation(path);
  if (!probed) return probed.error();
  return Prepared{path, std::move(*probed), false, {}};
}

}  // namespace

Expected<Prepared> prepare(const Options& options, const std::string& marker_name, const Say& say) {
  struct stat info {};
  if (::stat(options.environment.c_str(), &info) != 0) {
    return system_error("cannot read environment", options.environment, errno);
  }
  if (S_ISDIR(info.st_mode)) return prepare_directory(options, say);
  if (!options.unpack_to) return prepare_temporary(options, marker_name, say);
  return prepare_at(options, absolute(*options.unpack_to), marker_name, say, true);
}

void remove_temporary(Prepared& prepared) {
  if (!prepared.temporary) return;
  (void)archive::remove_tree(AT_FDCWD, prepared.prefix);
  prepared.lock.reset();
}

}  // namespace taskmill::package_run
