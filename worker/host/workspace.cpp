#include "worker/host/workspace.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "common/base/text.hpp"
#include "common/os/file.hpp"
#include "common/os/spawn.hpp"
#include "common/os/tree.hpp"

namespace taskmill::worker {
namespace {

constexpr std::size_t suffix_length = 8;
constexpr int directory_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// "worker-UID-PID-xxxxxxxx" of this user. Old workers' directories have no suffix (and no lock): not ours to judge.
bool is_workspace_name(std::string_view name) {
  const auto parts = split(name, '-');
  return parts.size() == 4 && parts[0] == "worker" && parts[1] == std::to_string(::getuid()) && parse_int(parts[2]) &&
         parts[3].size() == suffix_length;
}

Expected<os::UniqueFd> make_directory(int parent, const char* name) {
  if (::mkdirat(parent, name, 0700) != 0) return make_error(std::string(name) + ": " + errno_code().message());
  os::UniqueFd fd(::openat(parent, name, directory_flags));
  if (!fd) return make_error(std::string(name) + ": " + errno_code().message());
  return fd;
}

}  // namespace

std::string Workspace::default_parent() {
  for (const char* name : {"CCTOOLS_TEMP", "_CONDOR_SCRATCH_DIR", "TMPDIR", "TEMP", "TMP"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != 0 && ::access(value, R_OK | W_OK | X_OK) == 0) return value;
  }
  return "/tmp";
}

Expected<Workspace> Workspace::create(const std::string& parent) {
  Workspace space;
  std::error_code error;
  const auto absolute = std::filesystem::canonical(parent, error);
  if (error) return make_error("work directory '" + parent + "': " + error.message());
  space.parent_.reset(::open(absolute.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!space.parent_) return make_error("work directory '" + parent + "': " + errno_code().message());

  space.name_ = "worker-" + std::to_string(::getuid()) + "-" + std::to_string(::getpid()) + "-" +
                os::secret_letters(suffix_length);
  space.path_ = absolute.string() == "/" ? "/" + space.name_ : absolute.string() + "/" + space.name_;
  const auto failed = [&](const std::string& why) {
    return make_error("failed to setup workspace at " + space.path_ + ". " + why);
  };
  // Until it is locked it has a name that no other worker takes for a stale workspace.
  const std::string hidden = "." + space.name_;
  auto top = make_directory(space.parent_.get(), hidden.c_str());
  if (!top) return failed(top.error().text);
  space.top_ = std::move(*top);
  space.lock_.reset(::openat(space.top_.get(), ".lock", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!space.lock_ || ::flock(space.lock_.get(), LOCK_EX | LOCK_NB) != 0) return failed(errno_code().message());
  const std::array<std::pair<const char*, os::UniqueFd*>, 4> parts = {
      {{"cache", &space.cache_}, {"in", &space.in_}, {"out", &space.out_}, {"trash", &space.trash_}}};
  for (const auto& [name, fd] : parts) {
    auto made = make_directory(space.top_.get(), name);
    if (!made) return failed(made.error().text);
    *fd = std::move(*made);
  }
  if (::mkdirat(space.top_.get(), "tmp", 0700) != 0) return failed(errno_code().message());
  if (::renameat(space.parent_.get(), hidden.c_str(), space.parent_.get(), space.name_.c_str()) != 0) {
    return failed(errno_code().message());
  }
  return space;
}

std::string Workspace::check(bool& noexec) const {
  noexec = false;
  const os::UniqueFd file(::openat(top_.get(), "test.sh", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
  if (!file) return "cannot write there: " + errno_code().message();
  if (const auto error = os::write_all(file.get(), "#!/bin/sh\nexit 0\n"))
    return "cannot write there: " + error.message();
  const_cast<os::UniqueFd&>(file).reset();
  const auto ran = os::run_and_capture({path_ + "/test.sh"}, 10'000);
  ::unlinkat(top_.get(), "test.sh", 0);
  if (!ran) {
    noexec = ran.error() == boost::system::errc::permission_denied;
    return "programs cannot be run there: " + ran.error().message();
  }
  if (!WIFEXITED(ran->wait_status) || WEXITSTATUS(ran->wait_status) != 0) return "a test program failed there";
  return {};
}

std::vector<std::string> Workspace::claim_stale() {
  std::vector<std::string> stale;
  const std::unique_ptr<DIR, DirCloser> dir(::fdopendir(::openat(parent_.get(), ".", directory_flags)));
  if (!dir) return stale;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name == name_ || !is_workspace_name(name)) continue;
    const os::UniqueFd top(::openat(parent_.get(), name.c_str(), directory_flags));
    struct stat status {};
    if (!top || ::fstat(top.get(), &status) != 0 || status.st_uid != ::getuid()) continue;
    os::UniqueFd lock(::openat(top.get(), ".lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    // Without a lock file it is a workspace whose removal was interrupted: nobody lives there either.
    if (!lock && errno != ENOENT) continue;
    if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) continue;
    stale_locks_.push_back(std::move(lock));
    stale.push_back(name);
  }
  return stale;
}

Result<std::vector<std::string>> Workspace::reset_cache() {
  std::vector<std::string> old;
  const std::array<std::pair<const char*, os::UniqueFd*>, 3> parts = {
      {{"cache", &cache_}, {"in", &in_}, {"out", &out_}}};
  for (const auto& [name, fd] : parts) {
    const auto moved = next_name();
    if (::renameat(top_.get(), name, trash_.get(), moved.c_str()) != 0 && errno != ENOENT) return errno_code();
    old.push_back(moved);
    if (::mkdirat(top_.get(), name, 0700) != 0) return errno_code();
    fd->reset(::openat(top_.get(), name, directory_flags));
    if (!*fd) return errno_code();
  }
  const auto moved = next_name();
  if (::renameat(top_.get(), "tmp", trash_.get(), moved.c_str()) == 0) old.push_back(moved);
  ::mkdirat(top_.get(), "tmp", 0700);
  for (const auto& stray : strays()) {
    auto name = next_name();
    if (::renameat(top_.get(), stray.c_str(), trash_.get(), name.c_str()) == 0) old.push_back(std::move(name));
  }
  return old;
}

// What tasks have left beside their sandboxes. (Sandboxes have owners who remove them.)
std::vector<std::string> Workspace::strays() const {
  std::vector<std::string> found;
  const std::unique_ptr<DIR, DirCloser> dir(::fdopendir(::openat(top_.get(), ".", directory_flags)));
  if (!dir) return found;
  constexpr std::array<std::string_view, 7> ours = {"cache", "in", "out", "tmp", "trash", ".lock", ".env"};
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (os::is_dots(entry->d_name) || name.starts_with("t.")) continue;
    if (std::find(ours.begin(), ours.end(), name) == ours.end()) found.emplace_back(name);
  }
  return found;
}

}  // namespace taskmill::worker
