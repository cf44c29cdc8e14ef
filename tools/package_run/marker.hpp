// The file that says that a directory holds a completely unpacked environment.
//
// Its name is that of the original runner, which only looks whether it exists. Ours also says of which
// archive: by SHA-256, and by the identities (device, inode, size, time) under which that archive was seen,
// so that a task that starts with the same cached file need not read it. A marker without these lines was
// written by the original and is believed.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "common/archive/digest.hpp"

namespace taskmill::package_run {

struct Marker {
  std::string date;
  std::optional<archive::Digest> digest;  ///< nothing: written by another program
  std::string identity;                   ///< digest of the tar stream inside, in hex
  std::vector<std::string> seen;
};

/// "device inode size seconds.nanoseconds"
std::string identity_of(const struct stat& file);

std::string to_text(const Marker& marker);
Marker marker_from_text(std::string_view text);

inline constexpr std::size_t most_identities = 32;

}  // namespace taskmill::package_run
