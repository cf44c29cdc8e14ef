#include "manager/net/input_job.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

extern char** environ;

namespace taskmill::manager {
namespace {

std::string problem(const std::string& path, int error) { return path + ": " + std::strerror(error); }

bool read_small(OpenedInput& input) {
  input.content.resize(input.length);
  std::uint64_t done = 0;
  while (done < input.length) {
    const ssize_t n = ::pread(input.file->get(), input.content.data() + done, input.length - done,
                              static_cast<off_t>(input.offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::uint64_t>(n);
  }
  return true;
}

// curl, as the old workers use it, but without a shell and with a limit on the time without progress.
OpenedInput download(const std::string& url) {
  OpenedInput input;
  const char* temporary = std::getenv("TMPDIR");
  std::string name =
      std::string(temporary != nullptr && *temporary != '\0' ? temporary : "/tmp") + "/taskmill-url-XXXXXX";
  input.file = std::make_shared<os::UniqueFd>(::mkostemp(name.data(), O_CLOEXEC));
  if (!*input.file) {
    input.error = problem(name, errno);
    return input;
  }
  std::vector<std::string> words{"curl",
                                 "-fsSL",
                                 "--max-filesize",
                                 "1099511627776",
                                 "--speed-limit",
                                 "1",
                                 "--speed-time",
                                 "60",
                                 "--proto",
                                 "=http,https,ftp,ftps,file",
                                 "-o",
                                 name,
                                 "--",
                                 url};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  int status = -1;
  const int error = ::posix_spawnp(&pid, "curl", nullptr, nullptr, argv.data(), environ);
  if (error == 0) {
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  struct stat info {};
  if (error != 0)
    input.error = "curl is needed to fetch " + url + ": " + std::strerror(error);
  else if (status != 0)
    input.error = url + ": cannot be fetched (curl status " + std::to_string(WEXITSTATUS(status)) + ")";
  else if (::fstat(input.file->get(), &info) != 0)
    input.error = problem(url, errno);
  ::unlink(name.c_str());
  input.size = input.length = static_cast<std::uint64_t>(info.st_size);
  input.mode = 0777;
  return input;
}

}  // namespace

OpenedInput open_input(const InputSource& source) {
  if (source.url) return download(source.path);
  OpenedInput input;
  input.file =
      std::make_shared<os::UniqueFd>(::open(source.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!*input.file || ::fstat(input.file->get(), &info) != 0) {
    input.error = problem(source.path, errno);
    return input;
  }
  input.size = static_cast<std::uint64_t>(info.st_size);
  input.mtime_ns = info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
  input.mode = info.st_mode & 0777U;
  if (S_ISDIR(info.st_mode)) {
    if (source.piece) input.error = source.path + ": is a directory, no byte range can be cut from it";
    input.directory = true;
    return input;
  }
  if (!S_ISREG(info.st_mode)) {
    input.error = source.path + ": neither a file nor a directory";
    return input;
  }
  input.offset = source.piece ? source.offset : 0;
  input.length = source.piece ? source.length : input.size;
  if (source.piece && (source.offset > input.size || source.length > input.size - source.offset)) {
    input.error =
        source.path + ": the range ends behind the end of the file (" + std::to_string(input.size) + " bytes)";
    return input;
  }
  if (input.length <= small_input) {
    if (!read_small(input)) {
      input.error = source.path + ": became shorter while it was read";
      return input;
    }
    input.loaded = true;
    input.file.reset();
    return input;
  }
  ::posix_fadvise(input.file->get(), static_cast<off_t>(input.offset), static_cast<off_t>(input.length),
                  POSIX_FADV_SEQUENTIAL);
  return input;
}

}  // namespace taskmill::manager
