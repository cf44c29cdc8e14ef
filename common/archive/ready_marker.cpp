#include "common/archive/ready_marker.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {
constexpr std::string_view first_line = "taskmill environment 1";
}

std::string to_text(const ReadyMarker& marker) {
  std::string text(first_line);
  text += "\ndigest " + marker.digest.hex() + "\nbytes " + std::to_string(marker.bytes) + "\nentries " +
          std::to_string(marker.entries) + "\nprefix " + percent_encode(marker.prefix) + "\nboot " +
          percent_encode(marker.boot) + "\nsynced " + (marker.synced ? "1" : "0") + "\nend\n";
  return text;
}

std::optional<ReadyMarker> ready_marker_from_text(std::string_view text) {
  ReadyMarker marker;
  const auto lines = split(text, '\n');
  if (lines.empty() || lines[0] != first_line) return std::nullopt;
  bool have_digest = false;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (lines[i] == "end") return have_digest ? std::optional(marker) : std::nullopt;
    const std::size_t blank = lines[i].find(' ');
    if (blank == std::string_view::npos) return std::nullopt;
    const std::string_view key = lines[i].substr(0, blank);
    const std::string_view value = lines[i].substr(blank + 1);
    if (key == "digest") {
      const auto digest = Digest::from_hex(value);
      if (!digest) return std::nullopt;
      marker.digest = *digest;
      have_digest = true;
    } else if (key == "bytes" || key == "entries") {
      const auto number = parse_int(value);
      if (!number || *number < 0) return std::nullopt;
      (key == "bytes" ? marker.bytes : marker.entries) = static_cast<std::uint64_t>(*number);
    } else if (key == "prefix" || key == "boot") {
      auto decoded = percent_decode(value);
      if (!decoded) return std::nullopt;
      (key == "prefix" ? marker.prefix : marker.boot) = *decoded;
    } else if (key == "synced") {
      marker.synced = value == "1";
    }
  }
  return std::nullopt;  // cut short
}

std::string boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id", 100);
  return text ? std::string(trim(*text)) : "unknown";
}

Status write_atomically(int at, const std::string& name, std::string_view text) {
  const std::string temporary = name + ".new." + std::to_string(::getpid());
  const os::UniqueFd fd(::openat(at, temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd) return write_error(temporary, errno, at, 0);
  if (!write_fully(fd.get(), text)) return write_error(temporary, errno, at, 0);
  if (::renameat(at, temporary.c_str(), at, name.c_str()) != 0) return system_error("cannot write", name, errno);
  return {};
}

}  // namespace taskmill::archive
