#include "manager/net/input_job.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "common/base/text.hpp"
#include "common/os/curl.hpp"
#include "common/os/spawn.hpp"

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

// An open file without a name: nothing is left of it whatever happens.
os::UniqueFd nameless_file(std::string& error) {
  const char* chosen = std::getenv("TMPDIR");
  std::string name = std::string(chosen != nullptr && *chosen != '\0' ? chosen : "/tmp") + "/taskmill-url-XXXXXX";
  os::UniqueFd file(::mkostemp(name.data(), O_CLOEXEC));
  if (!file) error = problem(name, errno);
  if (file) ::unlink(name.c_str());
  return file;
}

// Reads what the process prints until it ends. False: stopped before that.
bool watch(int messages, const StopSignal& stop, std::string& text) {
  constexpr std::size_t most = 4096;
  std::array<char, 1024> block{};
  while (true) {
    std::array<pollfd, 2> waiting{pollfd{messages, POLLIN, 0}, pollfd{stop.fd(), POLLIN, 0}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return false;
    if (waiting[1].revents != 0) return false;
    if (waiting[0].revents == 0) continue;
    const ssize_t n = ::read(messages, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return true;
    text.append(block.data(), std::min(static_cast<std::size_t>(n), most - std::min(most, text.size())));
  }
}

// Empty, or why `url` is not in `file`.
std::string fetch(const std::string& url, int file, const StopSignal& stop) {
  const auto words = os::curl_words(url, "");
  if (!words) return words.error().text;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return problem(url, errno);
  const os::UniqueFd messages(ends[0]);
  os::UniqueFd print(ends[1]);
  const os::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::vector<const char*> argv;
  for (const auto& word : *words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  os::SpawnPlan plan;
  plan.path = argv[0];
  plan.argv = argv.data();
  plan.envp = environ;
  plan.stdin_fd = null.get();
  plan.stdout_fd = file;
  plan.stderr_fd = print.get();
  const auto pid = os::spawn(plan);  // in a session of its own: Ctrl-C in the terminal is ours alone
  if (!pid) return problem(argv[0], pid.error().value());
  print.reset();
  std::string text;
  const bool stopped = !watch(messages.get(), stop, text);
  if (stopped) ::kill(-*pid, SIGKILL);
  int status = -1;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (stopped) return url + ": the download was stopped, the manager ends";
  if (status == 0) return {};
  const auto said = trim(text);
  return url + ": cannot be fetched (" +
         (said.empty() ? "curl status " + std::to_string(WEXITSTATUS(status)) : std::string(said)) + ")";
}

OpenedInput download(const std::string& url, const StopSignal& stop) {
  OpenedInput input;
  if (stop.raised()) {
    input.error = url + ": not fetched, the manager ends";
    return input;
  }
  input.file = std::make_shared<os::UniqueFd>(nameless_file(input.error));
  if (!*input.file) return input;
  input.error = fetch(url, input.file->get(), stop);
  struct stat info {};
  if (input.error.empty() && ::fstat(input.file->get(), &info) != 0) input.error = problem(url, errno);
  input.size = input.length = static_cast<std::uint64_t>(info.st_size);
  input.mode = 0777;
  return input;
}

}  // namespace

StopSignal::StopSignal() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void StopSignal::raise() {
  const std::uint64_t one = 1;
  (void)!::write(event_.get(), &one, sizeof one);
}

bool StopSignal::raised() const {
  pollfd waiting{event_.get(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) > 0;
}

OpenedInput open_input(const InputSource& source, const StopSignal* stop) {
  if (source.url) return download(source.path, *stop);
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
