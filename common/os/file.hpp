// Files relative to directory descriptors, without ever following a link out of that directory.
//
// Paths given to the *_beneath functions are relative; they have been checked by is_safe_relative_path() or
// are checked by the kernel (openat2, RESOLVE_BENEATH). Errors are errno values.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::os {

enum class Links : std::uint8_t {
  refuse,          ///< no component may be a symbolic link
  inside_the_tree  ///< links are followed while they stay beneath the directory
};
Result<UniqueFd> open_beneath(int directory, const char* path, int flags, mode_t mode, Links links);

/// Creates the missing parents of `path` below `directory` (0777 less umask), never through a link. The result is
/// the parent directory, opened; `leaf` is set to the last component. For a bare name no descriptor is opened
/// and an empty UniqueFd is returned: use `directory` itself.
Result<UniqueFd> make_parents(int directory, const std::string& path, std::string& leaf);

ErrorCode write_all(int file, std::string_view bytes);
/// The rest of the file, at most `limit` bytes.
Result<std::string> read_some(int file, std::size_t limit);
Result<std::string> read_file(const std::string& path, std::size_t limit);

/// Copies a regular file: by sharing its blocks where the file system can (FICLONE), else by copy_file_range. The
/// new file must not exist; it gets `mode` exactly. `stop` ends a long copy with ECANCELED.
ErrorCode copy_file(int from, int to_directory, const char* to_name, mode_t mode,
                    const std::atomic<bool>* stop = nullptr);
/// Can files below this directory share blocks? One small trial.
bool can_clone(int directory);

/// `length` letters a-z from the kernel's random source.
std::string secret_letters(std::size_t length);

}  // namespace taskmill::os
