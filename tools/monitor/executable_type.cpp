#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "common/base/text.hpp"
#include "common/os/fd.hpp"
#include "tools/monitor/monitor.hpp"

namespace taskmill::monitor {

namespace {

std::optional<std::string> find_program(const std::string& program) {
  if (program.find('/') != std::string::npos)
    return ::access(program.c_str(), F_OK) == 0 ? std::optional(program) : std::nullopt;
  const char* path = std::getenv("PATH");
  const std::string folders = path ? path : "/usr/local/bin:/usr/bin:/bin";
  for (const auto folder : split(folders, ':')) {
    auto candidate = (folder.empty() ? std::string(".") : std::string(folder)) + '/' + program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

/// A program interpreter in its headers makes it dynamic.
bool has_interpreter(int fd, const Elf64_Ehdr& header) {
  for (unsigned i = 0; i < header.e_phnum && i < 128; ++i) {
    Elf64_Phdr part{};
    const auto at = static_cast<off_t>(header.e_phoff + i * header.e_phentsize);
    if (::pread(fd, &part, sizeof part, at) != sizeof part) return false;
    if (part.p_type == PT_INTERP) return true;
  }
  return false;
}

}  // namespace

std::optional<std::string> executable_type(const std::string& program) {
  const auto path = find_program(program);
  if (!path) return std::nullopt;
  const os::UniqueFd fd(::open(path->c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return "unknown";
  char head[256] = {};
  const auto n = ::pread(fd.get(), head, sizeof head - 1, 0);
  if (n >= 2 && head[0] == '#' && head[1] == '!') return std::string(head, std::strcspn(head, "\n"));
  Elf64_Ehdr header{};
  if (n < static_cast<ssize_t>(sizeof header)) return "unknown";
  std::memcpy(&header, head, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64) return "unknown";
  return has_interpreter(fd.get(), header) ? "dynamic" : "static";
}

}  // namespace taskmill::monitor
