#include "manager/net/task_text.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace taskmill::manager {
namespace {

os::UniqueFd open_spool(const std::string& wanted) {
  std::string directory = wanted;
  if (directory.empty()) {
    const char* temporary = std::getenv("TMPDIR");
    directory = temporary != nullptr && *temporary != '\0' ? temporary : "/tmp";
  }
  os::UniqueFd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600));
  if (file) return file;
  std::string name = directory + "/taskmill-stdout-XXXXXX";  // file systems without O_TMPFILE
  file.reset(::mkostemp(name.data(), O_CLOEXEC));
  if (file) ::unlink(name.c_str());
  return file;
}

}  // namespace

TaskText::TaskText(std::uint64_t length, const Limits& limits) : kept_(std::min(length, limits.kept)) {
  if (length <= limits.memory) {
    text_.reserve(length);
    return;
  }
  file_ = open_spool(limits.directory);
  if (!file_) {  // nowhere to put it: keep what memory allows
    kept_ = std::min(kept_, limits.memory);
    text_.reserve(kept_);
  }
}

void TaskText::append(std::string_view bytes) {
  if (!file_) {
    text_.append(bytes);
    return;
  }
  while (!bytes.empty() && !lost_) {
    const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      lost_ = true;
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void TaskText::finish(std::uint64_t dropped, ErrorCode file_error) {
  if (file_error) lost_ = true;
  struct stat info {};
  size_ = text_.size();
  if (file_ && ::fstat(file_.get(), &info) == 0) size_ = static_cast<std::uint64_t>(info.st_size);
  if (dropped == 0) return;
  truncated_ = true;
  const std::string notice = "\n>>>>>> WORK QUEUE HAS TRUNCATED THE STDOUT AFTER THIS POINT.\n>>>>>> MAXIMUM OF " +
                             std::to_string(kept_) + " BYTES REACHED, " + std::to_string(dropped) + " BYTES TRUNCATED.";
  if (notice.size() > size_) return;
  if (!file_) {
    text_.replace(text_.size() - notice.size(), notice.size(), notice);
  } else if (::pwrite(file_.get(), notice.data(), notice.size(), static_cast<off_t>(size_ - notice.size())) < 0) {
    lost_ = true;
  }
}

std::string TaskText::read(std::uint64_t offset, std::uint64_t length) const {
  if (offset >= size_) return {};
  length = std::min(length, size_ - offset);
  if (!file_) return text_.substr(offset, length);
  std::string out(length, '\0');
  std::uint64_t done = 0;
  while (done < length) {
    const ssize_t n = ::pread(file_.get(), out.data() + done, length - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::uint64_t>(n);
  }
  out.resize(done);
  return out;
}

}  // namespace taskmill::manager
