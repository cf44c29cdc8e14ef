// Unpacked environments on a node, by content digest, shared by the tasks of one worker and by the workers
// of one user (--cache-dir).
//
//   <root>/<id>/tree        the environment, read-only; <id> = first 32 hex digits of the digest
//   <root>/<id>/ready       written last: whole digest, sizes, boot id, path. No valid `ready`: not there.
//   <root>/<id>/activation  what bin/activate does (activation.hpp)
//   <root>/<id>/use         shared flock = somebody runs in it; its time is the last use
//   <root>/locks/<id>       exclusive flock = somebody builds or removes it; its time moves on while a builder runs
//   <root>/tmp.<id>.*       being unpacked, or left behind by somebody who died
//
// Invariants: a lease names a complete tree whose digest was verified, and the tree is not removed while
// any lease in any process lives (the kernel drops the locks of the dead). A tree of an earlier boot that
// was never flushed to disk counts as absent, so a crash of the machine cannot leave half-written files.
//
// Locks are local to one machine; the root should be on a local disk.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "common/archive/activation.hpp"
#include "common/archive/digest.hpp"
#include "common/archive/unpacker.hpp"

namespace taskmill::archive {

/// What a digest was taken of: the archive as it is stored, or the tar stream inside it, which stays the
/// same when the archive is compressed anew.
enum class DigestOf { archive, plain };

struct StoreOptions {
  /// Least recently used environments are removed above this; 0: no limit.
  std::uint64_t max_bytes = 0;
  UnpackLimits limits;
};

/// The right to use one unpacked environment; as long as it lives the tree stays.
class EnvironmentLease {
 public:
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const Activation& activation() const { return activation_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t entries() const { return entries_; }

 private:
  friend class EnvironmentStore;
  os::UniqueFd use_;
  std::string path_;
  Activation activation_;
  std::uint64_t bytes_ = 0;
  std::uint64_t entries_ = 0;
};

class EnvironmentStore;

/// One environment being unpacked. Dropping it unfinished removes what was written.
class EnvironmentBuild {
 public:
  ~EnvironmentBuild();
  EnvironmentBuild(const EnvironmentBuild&) = delete;
  EnvironmentBuild& operator=(const EnvironmentBuild&) = delete;

  /// Slices of the archive, from a pool thread (waits) or a loop (does not).
  Status feed(Bytes bytes) {
    show_life();
    return unpacker_->feed(bytes);
  }
  Expected<bool> try_feed(Bytes bytes) {
    show_life();
    return unpacker_->try_feed(bytes);
  }
  /// At least every second or so, also while nothing comes: whoever waits for this build must see that it goes on.
  void show_life();
  /// Waits, verifies the digest, relocates, probes the activation, moves into place. Call once.
  Expected<EnvironmentLease> finish();

 private:
  friend class EnvironmentStore;
  EnvironmentBuild(EnvironmentStore& store, const Digest& digest, DigestOf of)
      : store_(store), digest_(digest), of_(of) {}
  Status start(std::uint64_t expected_bytes);
  Status complete(const UnpackReport& report);

  EnvironmentStore& store_;
  Digest digest_;
  DigestOf of_;
  std::string temporary_;
  os::UniqueFd lock_;
  std::chrono::steady_clock::time_point shown_{};
  bool needs_script_ = false;
  std::unique_ptr<Unpacker> unpacker_;
};

/// Somebody else builds this environment now: ask again in a moment. `sign` differs from one second to the next as long
/// as that one is running (show_life()); of a builder that was stopped it stays the same.
struct Busy {
  std::int64_t sign = 0;
};
using Beginning = std::variant<EnvironmentLease, std::unique_ptr<EnvironmentBuild>, Busy>;

class EnvironmentStore {
 public:
  /// Makes the directory if needed and removes what dead builders left. The store must outlive its builds.
  static Expected<std::unique_ptr<EnvironmentStore>> open(const std::string& root, StoreOptions options);

  /// A lease if the environment is there; quick (a few system calls).
  Expected<std::optional<EnvironmentLease>> find(const Digest& digest);
  /// Ready, ours to build, or busy. Does not wait.
  Expected<Beginning> begin(const Digest& digest, DigestOf of, std::uint64_t expected_bytes = 0);
  /// Waits until it is ready, building it from `open` unless somebody else does. For pool threads.
  using OpenSource = std::function<Expected<std::unique_ptr<ByteSource>>()>;
  Expected<EnvironmentLease> obtain(const Digest& digest, DigestOf of, const OpenSource& open);

  /// Removes unused environments, least recently used first, until at most `max_bytes` remain or all the
  /// rest is in use. Returns the bytes freed.
  Expected<std::uint64_t> evict(std::uint64_t max_bytes);
  /// Flushes an environment to disk and marks it so; slow, for a quiet moment on a pool thread.
  Status settle(const EnvironmentLease& lease);
  /// Bytes of all ready environments.
  [[nodiscard]] std::uint64_t used_bytes() const;
  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  friend class EnvironmentBuild;
  EnvironmentStore(std::string root, StoreOptions options) : root_(std::move(root)), options_(options) {}
  struct Entry;
  [[nodiscard]] std::vector<Entry> list() const;
  Expected<os::UniqueFd> lock(const std::string& id);
  [[nodiscard]] std::int64_t sign_of(const std::string& id) const;
  Status discard(const std::string& id);
  void remove_leftovers();
  [[nodiscard]] std::string id_path(const std::string& id, std::string_view file) const;

  std::string root_;
  os::UniqueFd root_fd_;
  StoreOptions options_;
};

}  // namespace taskmill::archive
