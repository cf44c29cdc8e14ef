#include "worker/host/sandbox.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>

#include "common/os/file.hpp"
#include "common/os/tree.hpp"

namespace taskmill::worker {
namespace {

constexpr int directory_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr std::uint64_t quick_entries = 48;
constexpr std::uint64_t quick_bytes = 512U << 10;
constexpr std::uint64_t most_counted = 5000;  ///< entries of an output tree that are looked at for its size

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// Stages one object; keeps what it needs to know on the way down a tree.
class Stager {
 public:
  Stager(const Places& places, const StageInput& input, const StagePolicy& policy, const std::atomic<bool>& stop,
         std::vector<GuardedFile>& guarded)
      : places_(places), input_(input), policy_(policy), stop_(stop), guarded_(guarded) {}

  ErrorCode any(int from, const std::string& name, int to, const std::string& leaf, const std::string& path) {
    if (stop_.load(std::memory_order_relaxed)) return code_of(ECANCELED);
    if (input_.bytes) return write(to, leaf);
    if (!input_.shared && !input_.directory) {
      if (::linkat(from, name.c_str(), to, leaf.c_str(), 0) == 0) return {};
      if (errno == ENOENT || errno == EEXIST || errno == ENOSPC) return errno_code();
      return other_way(from, name, to, leaf, path);
    }
    struct stat status {};
    if (::fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return errno_code();
    if (S_ISDIR(status.st_mode)) return directory(from, name, to, leaf, path);
    if (S_ISREG(status.st_mode) && input_.shared) return shared_file(from, name, to, leaf, path, status);
    if (::linkat(from, name.c_str(), to, leaf.c_str(), 0) == 0) return {};
    if (errno == ENOENT || errno == EEXIST || errno == ENOSPC) return errno_code();
    return other_way(from, name, to, leaf, path);
  }

 private:
  ErrorCode write(int to, const std::string& leaf) {
    constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const os::UniqueFd file(::openat(to, leaf.c_str(), flags, storage_mode(input_.mode)));
    return file ? os::write_all(file.get(), *input_.bytes) : errno_code();
  }

  ErrorCode directory(int from, const std::string& name, int to, const std::string& leaf, const std::string& path) {
    if (::mkdirat(to, leaf.c_str(), 0777) != 0 && errno != EEXIST) return errno_code();
    const os::UniqueFd target(::openat(to, leaf.c_str(), directory_flags));
    if (!target) return errno_code();
    const int source = ::openat(from, name.c_str(), directory_flags);
    if (source < 0) return errno_code();
    const std::unique_ptr<DIR, DirCloser> dir(::fdopendir(source));
    while (const dirent* entry = ::readdir(dir.get())) {
      if (os::is_dots(entry->d_name)) continue;
      const std::string member = entry->d_name;
      if (const auto error = any(source, member, target.get(), member, path + "/" + member)) return error;
    }
    return {};
  }

  ErrorCode shared_file(int from, const std::string& name, int to, const std::string& leaf, const std::string& path,
                        const struct stat& status) {
    // Without write permission an ordinary user cannot change it by accident; permissions do not stop root.
    const bool protectable = ::geteuid() != 0;
    const bool writable = (status.st_mode & 0222) != 0;
    const bool wants_copy = policy_.can_clone || !protectable || writable;
    const bool may_copy =
        policy_.can_clone || input_.always_copy ||
        (static_cast<std::uint64_t>(status.st_size) <= policy_.copy_limit && input_.entries <= policy_.copy_entries);
    if (wants_copy && may_copy) return copy(from, name, to, leaf, status.st_mode & 07777);
    if (const auto error = guard(from, name, path, status)) return error;
    if (::linkat(from, name.c_str(), to, leaf.c_str(), 0) == 0) return {};
    if (errno == ENOENT || errno == EEXIST || errno == ENOSPC) return errno_code();
    return other_way(from, name, to, leaf, path);
  }

  // Read-only from now on, and a modification time that no later write can produce again.
  ErrorCode guard(int from, const std::string& name, const std::string& path, struct stat status) {
    const mode_t mode = status.st_mode & 07777;
    if ((mode & 0222) != 0) {
      ::fchmodat(from, name.c_str(), mode & ~static_cast<mode_t>(0222), 0);
      timespec times[2] = {{0, UTIME_OMIT}, {status.st_mtim.tv_sec - 1, status.st_mtim.tv_nsec}};
      ::utimensat(from, name.c_str(), times, AT_SYMLINK_NOFOLLOW);
      if (::fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return errno_code();
    }
    guarded_.push_back({path, status.st_size, status.st_mtim});
    return {};
  }

  ErrorCode copy(int from, const std::string& name, int to, const std::string& leaf, mode_t mode) {
    const os::UniqueFd source(::openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!source) return errno_code();
    return os::copy_file(source.get(), to, leaf.c_str(), mode, &stop_);
  }

  // Hard links do not work here (too many, or a file system without them).
  ErrorCode other_way(int from, const std::string& name, int to, const std::string& leaf, const std::string& path) {
    struct stat status {};
    if (::fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return errno_code();
    if (S_ISLNK(status.st_mode)) {
      std::string target(4096, '\0');
      const ssize_t length = ::readlinkat(from, name.c_str(), target.data(), target.size());
      if (length < 0) return errno_code();
      target.resize(static_cast<std::size_t>(length));
      return ::symlinkat(target.c_str(), to, leaf.c_str()) == 0 ? ErrorCode{} : errno_code();
    }
    if (policy_.symlinks) {
      const auto target = policy_.cache_path + "/" + path;
      return ::symlinkat(target.c_str(), to, leaf.c_str()) == 0 ? ErrorCode{} : errno_code();
    }
    return copy(from, name, to, leaf, status.st_mode & 07777);
  }

  const Places& places_;
  const StageInput& input_;
  const StagePolicy& policy_;
  const std::atomic<bool>& stop_;
  std::vector<GuardedFile>& guarded_;
};

ErrorCode make_sandbox(const Places& places, const SandboxNames& names, bool& old_moved) {
  const char* name = names.name.c_str();
  if (names.spare == names.name) return {};  // it is there, and as new
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!names.spare.empty() && ::renameat2(places.top, names.spare.c_str(), places.top, name, RENAME_NOREPLACE) == 0) {
      return {};
    }
    if ((names.spare.empty() || errno != EEXIST) && ::mkdirat(places.top, name, 0700) == 0) {
      const auto temp = names.name + "/.tmp";
      return ::mkdirat(places.top, temp.c_str(), 0700) == 0 ? ErrorCode{} : errno_code();
    }
    if (errno != EEXIST || attempt > 0) break;
    if (::renameat(places.top, name, places.trash, names.trash.c_str()) != 0) break;
    old_moved = true;
  }
  return errno_code();
}

// Nothing in it but "." and ".." and, if `temp` is set, ".tmp"; private and ours.
bool holds_nothing(int fd, bool temp) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || (status.st_mode & 07777) != 0700 || status.st_uid != ::geteuid()) return false;
  // Default access rights would be handed on to what the next task writes.
  if (::fgetxattr(fd, "system.posix_acl_default", nullptr, 0) >= 0) return false;
  alignas(dirent64) std::array<char, 512> buffer{};
  bool seen_temp = false;
  while (true) {
    const ssize_t got = ::getdents64(fd, buffer.data(), buffer.size());
    if (got < 0) return false;
    if (got == 0) return seen_temp == temp;
    for (ssize_t offset = 0; offset < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + offset);
      offset += entry->d_reclen;
      if (os::is_dots(entry->d_name)) continue;
      if (!temp || std::strcmp(entry->d_name, ".tmp") != 0) return false;
      seen_temp = true;
    }
  }
}

void clear(int fd, bool keep_temp, const std::atomic<bool>& stop) {
  ::fchmod(fd, 0700);
  const int copy = ::openat(fd, ".", directory_flags);
  if (copy < 0) return;
  const std::unique_ptr<DIR, DirCloser> dir(::fdopendir(copy));
  std::vector<std::string> entries;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (!os::is_dots(entry->d_name)) entries.emplace_back(entry->d_name);
  }
  for (const auto& entry : entries) {
    if (stop.load(std::memory_order_relaxed)) return;
    os::UniqueFd temp;
    if (keep_temp && entry == ".tmp") temp.reset(::openat(fd, ".tmp", directory_flags));
    if (temp) {
      clear(temp.get(), false, stop);
    } else {
      os::remove_tree(fd, entry, &stop);
    }
  }
}

}  // namespace

bool is_pristine(int directory, const std::string& name) {
  const os::UniqueFd sandbox(::openat(directory, name.c_str(), directory_flags));
  if (!sandbox || !holds_nothing(sandbox.get(), true)) return false;
  const os::UniqueFd temp(::openat(sandbox.get(), ".tmp", directory_flags));
  return temp.valid() && holds_nothing(temp.get(), false);
}

bool make_pristine(int directory, const std::string& name, const std::atomic<bool>& stop) {
  const os::UniqueFd sandbox(::openat(directory, name.c_str(), directory_flags));
  if (!sandbox) return false;
  clear(sandbox.get(), true, stop);
  return is_pristine(directory, name);
}

StageOutcome stage_in(const Places& places, const SandboxNames& names, const std::vector<StageInput>& inputs,
                      const StagePolicy& policy, const std::atomic<bool>& stop) {
  const std::string& name = names.name;
  StageOutcome outcome;
  if (const auto error = make_sandbox(places, names, outcome.old_moved)) {
    outcome.error = error;
    outcome.why = "cannot create the sandbox: " + error.message();
    return outcome;
  }
  if (inputs.empty()) {
    outcome.ok = true;
    return outcome;
  }
  const os::UniqueFd sandbox(::openat(places.top, name.c_str(), directory_flags));
  if (!sandbox) {
    outcome.error = errno_code();
    outcome.why = "cannot open the sandbox: " + errno_code().message();
    return outcome;
  }
  for (const auto& input : inputs) {
    std::string leaf;
    const auto parent = os::make_parents(sandbox.get(), input.sandbox_name, leaf);
    ErrorCode error = parent ? ErrorCode{} : parent.error();
    if (parent) {
      const int to = parent->valid() ? parent->get() : sandbox.get();
      if (input.empty_directory) {
        if (::mkdirat(to, leaf.c_str(), 0700) != 0 && errno != EEXIST) error = errno_code();
      } else {
        Stager stager(places, input, policy, stop, outcome.guarded);
        error = stager.any(places.cache, input.cache_name, to, leaf, input.cache_name);
        // Two inputs with one name: the first counts, as it always did.
        if (error == boost::system::errc::file_exists && !input.directory) error = {};
        if (error == boost::system::errc::no_such_file_or_directory) outcome.input_missing = true;
      }
    }
    if (error) {
      outcome.error = error;
      outcome.why = "cannot set up input '" + input.sandbox_name + "': " + error.message();
      return outcome;
    }
  }
  outcome.ok = true;
  return outcome;
}

bool is_quick(const std::vector<StageInput>& inputs, const StagePolicy& policy) {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  for (const auto& input : inputs) {
    entries += input.entries;
    const bool copied = input.always_copy || input.size <= policy.copy_limit * input.entries;
    if (input.shared && copied) bytes += input.size;
    if (input.bytes) bytes += input.bytes->size();
  }
  return entries <= quick_entries && (bytes <= quick_bytes || policy.can_clone);
}

std::vector<std::string> changed_files(int cache, const std::vector<GuardedFile>& guarded) {
  std::vector<std::string> changed;
  for (const auto& file : guarded) {
    struct stat status {};
    if (::fstatat(cache, file.path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      continue;  // removed since: nobody's problem
    if (status.st_size == file.size && status.st_mtim.tv_sec == file.modified.tv_sec &&
        status.st_mtim.tv_nsec == file.modified.tv_nsec) {
      continue;
    }
    changed.push_back(file.path.substr(0, file.path.find('/')));
  }
  return changed;
}

ErrorCode replace_in_cache(const Places& places, int from, const std::string& name, const std::string& cache_name,
                           const std::string& trash_name, bool& old_went_to_trash) {
  old_went_to_trash = false;
  if (::renameat(from, name.c_str(), places.cache, cache_name.c_str()) == 0) return {};
  if (errno != EISDIR && errno != ENOTDIR && errno != ENOTEMPTY && errno != EEXIST) return errno_code();
  if (::renameat(places.cache, cache_name.c_str(), places.trash, trash_name.c_str()) != 0) return errno_code();
  old_went_to_trash = true;
  return ::renameat(from, name.c_str(), places.cache, cache_name.c_str()) == 0 ? ErrorCode{} : errno_code();
}

namespace {

class Collector {
 public:
  Collector(const Places& places, int sandbox, const std::string& trash_prefix, std::vector<std::string>& trashed)
      : places_(places), sandbox_(sandbox), trash_prefix_(trash_prefix), trashed_(trashed) {}

  bool collect(const StageOutput& output, MovedOutput& moved) {
    const auto slash = output.sandbox_name.rfind('/');
    os::UniqueFd held;
    int parent = sandbox_;
    std::string leaf = output.sandbox_name;
    if (slash != std::string::npos) {
      leaf = output.sandbox_name.substr(slash + 1);
      const auto path = output.sandbox_name.substr(0, slash);
      auto opened = os::open_beneath(sandbox_, path.c_str(), O_RDONLY | O_DIRECTORY, 0, os::Links::inside_the_tree);
      if (!opened) return false;
      held = std::move(*opened);
      parent = held.get();
    }
    if (read_small(parent, leaf, output, moved) && !output.keep) {
      moved.in_cache = false;
      return true;
    }
    struct stat status {};
    if (::fstatat(parent, leaf.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return false;
    // A link would point nowhere once it has left the sandbox: the file it means is the output.
    if (S_ISLNK(status.st_mode) && follow(output, status)) return finish(output, status, moved);
    if (!move(parent, leaf, output.cache_name, status)) return false;
    return finish(output, status, moved);
  }

 private:
  // All of a small regular file; links and everything else take the long way.
  bool read_small(int parent, const std::string& leaf, const StageOutput& output, MovedOutput& moved) {
    const auto limit = std::min(output.inline_limit, inline_left_);
    if (output.inline_limit == 0) return false;
    constexpr int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    const os::UniqueFd file(::openat(parent, leaf.c_str(), flags));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
    if (static_cast<std::uint64_t>(status.st_size) > limit) return false;
    const auto size = static_cast<std::size_t>(status.st_size);
    auto content = os::read_some(file.get(), size);
    if (!content || content->size() != size) return false;
    moved.mode = status.st_mode & 0777;
    moved.size = size;
    moved.content = std::move(*content);
    inline_left_ -= moved.size;
    return true;
  }

  std::string next_trash() { return trash_prefix_ + "." + std::to_string(++count_); }

  bool into_cache(int from, const std::string& name, const std::string& cache_name, ErrorCode& error) {
    const auto trash_name = next_trash();
    bool went = false;
    error = replace_in_cache(places_, from, name, cache_name, trash_name, went);
    if (went) trashed_.push_back(trash_name);
    return !error;
  }

  bool move(int parent, const std::string& leaf, const std::string& cache_name, const struct stat& status) {
    ErrorCode error;
    if (into_cache(parent, leaf, cache_name, error)) return true;
    if (error == boost::system::errc::permission_denied || error == boost::system::errc::operation_not_permitted) {
      ::fchmod(parent, 0700);  // moving needs write permission on the parent, and on a directory itself
      if (S_ISDIR(status.st_mode)) ::fchmodat(parent, leaf.c_str(), (status.st_mode & 07777) | 0700, 0);
      return into_cache(parent, leaf, cache_name, error);
    }
    if (error != boost::system::errc::cross_device_link || !S_ISREG(status.st_mode)) return false;
    const os::UniqueFd source(::openat(parent, leaf.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    return source.valid() && copy_in(source.get(), cache_name, status);
  }

  bool copy_in(int source, const std::string& cache_name, const struct stat& status) {
    const auto name = next_trash();  // built where nobody looks, then renamed
    if (os::copy_file(source, places_.trash, name.c_str(), status.st_mode & 0777)) {
      ::unlinkat(places_.trash, name.c_str(), 0);
      return false;
    }
    ErrorCode error;
    return into_cache(places_.trash, name, cache_name, error);
  }

  bool follow(const StageOutput& output, struct stat& status) {
    const auto file =
        os::open_beneath(sandbox_, output.sandbox_name.c_str(), O_RDONLY | O_NONBLOCK, 0, os::Links::inside_the_tree);
    struct stat target {};
    if (!file || ::fstat(file->get(), &target) != 0 || !S_ISREG(target.st_mode)) return false;
    if (!copy_in(file->get(), output.cache_name, target)) return false;
    status = target;
    return true;
  }

  bool finish(const StageOutput& output, const struct stat& status, MovedOutput& moved) {
    moved.directory = S_ISDIR(status.st_mode);
    moved.mode = status.st_mode & 0777;
    if (moved.directory) {
      moved.size = os::tree_size(places_.cache, output.cache_name, most_counted);
      moved.entries = most_counted;  // unknown: staged on the pool, linked rather than copied
    } else {
      moved.size = S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
    }
    return true;
  }

  const Places& places_;
  int sandbox_;
  const std::string& trash_prefix_;
  std::vector<std::string>& trashed_;
  std::uint64_t inline_left_ = most_inline_bytes;
  int count_ = 0;
};

}  // namespace

std::vector<MovedOutput> stage_out(const Places& places, const std::string& name,
                                   const std::vector<StageOutput>& outputs, const std::string& trash_prefix,
                                   std::vector<std::string>& trashed) {
  std::vector<MovedOutput> all;
  if (outputs.empty()) return all;
  os::UniqueFd sandbox(::openat(places.top, name.c_str(), directory_flags));
  if (!sandbox && errno == EACCES) {
    ::fchmodat(places.top, name.c_str(), 0700, 0);
    sandbox.reset(::openat(places.top, name.c_str(), directory_flags));
  }
  if (!sandbox) return all;
  Collector collector(places, sandbox.get(), trash_prefix, trashed);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    MovedOutput moved;
    moved.index = i;
    if (outputs[i].wanted && collector.collect(outputs[i], moved)) all.push_back(moved);
  }
  return all;
}

}  // namespace taskmill::worker
