#include "tools/factory/scratch.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "common/base/text.hpp"

namespace taskmill::tools {
namespace {

namespace fs = std::filesystem;

std::string in_path(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const auto directory : split(path != nullptr ? path : "", ':')) {
    const auto candidate = std::string(directory.empty() ? "." : directory) + "/" + name;
    struct stat info {};
    if (::access(candidate.c_str(), X_OK) == 0 && ::stat(candidate.c_str(), &info) == 0 && S_ISREG(info.st_mode))
      return candidate;
  }
  return {};
}

// The worker next to this program, if there is one: they were installed together.
std::string sibling(const std::string& name) {
  std::array<char, 4096> self{};
  const auto length = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
  if (length <= 0) return {};
  const auto candidate = fs::path(std::string(self.data(), static_cast<std::size_t>(length))).parent_path() / name;
  return ::access(candidate.c_str(), X_OK) == 0 ? candidate.string() : std::string();
}

std::string default_directory(const FactoryConfig& config) {
  // Batch systems need a directory that the execution hosts can see; local workers do not.
  const char* temporary = std::getenv("TMPDIR");
  const std::string parent =
      config.batch_type == "local" ? (temporary != nullptr && *temporary != '\0' ? temporary : "/tmp") : ".";
  return parent + "/wq-factory-" + std::to_string(::getuid()) + "-" + std::to_string(::getpid());
}

}  // namespace

Expected<bool> Scratch::lock() {
  lock_.reset(::open((path_ + "/factory.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_) return make_error("cannot write in the scratch directory " + path_ + ": " + std::strerror(errno));
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return make_error("another factory works in the scratch directory " + path_ + "; give this one another with -S");
  }
  return true;
}

Expected<bool> Scratch::add(const std::string& from, const std::string& name, bool secret) {
  if (!is_safe_name(name)) return make_error("'" + name + "' is not a usable file name");
  std::error_code error;
  const fs::path target = fs::path(path_) / name;
  // Never written in place: a program of an earlier run may still be executing from that file.
  const fs::path fresh = fs::path(path_) / ("." + name + ".new");
  fs::remove_all(fresh, error);
  if (secret) {
    const os::UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) return make_error("cannot write " + fresh.string() + ": " + std::strerror(errno));
  }
  fs::copy(from, fresh, fs::copy_options::recursive | fs::copy_options::overwrite_existing, error);
  if (error) return make_error("cannot copy " + from + " to " + path_ + ": " + error.message());
  if (secret) ::chmod(fresh.c_str(), 0600);
  if (fs::is_directory(fresh)) fs::remove_all(target, error);
  fs::rename(fresh, target, error);
  if (error) return make_error("cannot copy " + from + " to " + path_ + ": " + error.message());
  files_.push_back(name);
  return true;
}

Expected<std::unique_ptr<Scratch>> Scratch::make(const FactoryConfig& config) {
  std::unique_ptr<Scratch> scratch(new Scratch);
  const auto wanted = config.scratch_dir.empty() ? default_directory(config) : config.scratch_dir;
  if (::mkdir(wanted.c_str(), 0700) == 0)
    scratch->own_directory_ = true;
  else if (errno != EEXIST)
    return make_error("cannot create the scratch directory " + wanted + ": " + std::strerror(errno));
  std::error_code error;
  scratch->path_ = fs::canonical(wanted, error).string();
  struct stat info {};
  if (error || ::stat(scratch->path_.c_str(), &info) != 0)
    return make_error("cannot use the scratch directory " + wanted);
  if (info.st_uid != ::getuid())
    return make_error("the scratch directory " + wanted + " belongs to somebody else; give another with -S");
  ::chmod(scratch->path_.c_str(), 0700);
  if (auto locked = scratch->lock(); !locked) {
    scratch->own_directory_ = false;
    return locked.error();
  }
  std::string worker = config.worker_binary;
  if (worker.empty()) worker = sibling("work_queue_worker");
  if (worker.empty()) worker = in_path("work_queue_worker");
  if (worker.empty()) return make_error("please add work_queue_worker to your PATH, or name it with --worker-binary");
  if (::access(worker.c_str(), X_OK) != 0)
    return make_error("the worker " + worker + " cannot be executed: " + std::strerror(errno));
  if (auto added = scratch->add(worker, "work_queue_worker", false); !added) return added.error();
  if (!config.password_file.empty()) {
    if (auto added = scratch->add(config.password_file, "pwfile", true); !added) return added.error();
  }
  for (const auto& input : config.wrapper_inputs) {
    auto source = input;
    if (source.find('/') == std::string::npos && ::access(source.c_str(), R_OK) != 0) source = in_path(input);
    if (source.empty()) return make_error("could not find " + input + " (a file for the wrapper) here or in PATH");
    if (auto added = scratch->add(source, fs::path(source).filename().string(), false); !added) return added.error();
  }
  return scratch;
}

Scratch::~Scratch() {
  if (path_.empty() || keep_) return;
  std::error_code ignored;
  if (own_directory_) {
    fs::remove_all(path_, ignored);
    return;
  }
  for (const auto& file : files_) fs::remove_all(fs::path(path_) / file, ignored);
}

}  // namespace taskmill::tools
