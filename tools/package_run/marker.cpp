#include "tools/package_run/marker.hpp"

#include "common/base/text.hpp"

namespace taskmill::package_run {

namespace {
constexpr std::string_view digest_key = "sha256 ";
constexpr std::string_view identity_key = "identity ";
constexpr std::string_view seen_key = "seen ";
}  // namespace

std::string identity_of(const struct stat& file) {
  return std::to_string(file.st_dev) + " " + std::to_string(file.st_ino) + " " + std::to_string(file.st_size) + " " +
         std::to_string(file.st_mtim.tv_sec) + "." + std::to_string(file.st_mtim.tv_nsec);
}

std::string to_text(const Marker& marker) {
  std::string text = marker.date + "\n";
  if (marker.digest) text.append(digest_key).append(marker.digest->hex()).append("\n");
  if (!marker.identity.empty()) text.append(identity_key).append(marker.identity).append("\n");
  for (const std::string& identity : marker.seen) text.append(seen_key).append(identity).append("\n");
  return text;
}

Marker marker_from_text(std::string_view text) {
  Marker marker;
  const auto lines = split(text, '\n');
  if (!lines.empty()) marker.date = lines[0];
  for (const std::string_view line : lines) {
    if (line.starts_with(digest_key)) marker.digest = archive::Digest::from_hex(line.substr(digest_key.size()));
    if (line.starts_with(identity_key)) marker.identity = line.substr(identity_key.size());
    if (line.starts_with(seen_key)) marker.seen.emplace_back(line.substr(seen_key.size()));
  }
  return marker;
}

}  // namespace taskmill::package_run
