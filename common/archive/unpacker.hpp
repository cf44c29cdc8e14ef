// Unpacks an archive that nobody vouches for below a directory (environments.md section 1, E11).
//
// unpack() pulls from a source and blocks; Unpacker is the same behind a push interface, for bytes that
// arrive in slices from a connection: feed() on a pool thread, the work happens on the unpacker's own
// threads (one decompresses, one parses and writes), at most `pipe_capacity` bytes wait in between.
//
// What may appear is decided by SafeTree; how much, by UnpackLimits. Every error is one line that names
// the member or the numbers. On error the directory holds a part: the caller removes it (EnvironmentStore
// never lets anybody see it).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/archive/byte_pipe.hpp"
#include "common/archive/compression.hpp"
#include "common/archive/digest.hpp"
#include "common/archive/safe_tree.hpp"

namespace taskmill::archive {

struct UnpackLimits {
  std::uint64_t bytes = std::uint64_t{256} << 30U;
  std::uint64_t entries = 5'000'000;
  /// Unpacked : packed, looked at once more than ratio_from bytes were unpacked.
  std::uint64_t ratio = 200;
  std::uint64_t ratio_from = std::uint64_t{256} << 20U;
  TreeLimits tree;
};

struct UnpackOptions {
  UnpackLimits limits;
  /// No write permission is left in the tree (it is shared by tasks).
  bool read_only = true;
  /// Unpacked size where it is known: compared with the free space before the first byte.
  std::uint64_t expected_bytes = 0;
  std::size_t pipe_capacity = std::size_t{8} << 20U;
  /// Told the bytes written so far, after each member, from the unpacking thread.
  std::function<void(std::uint64_t)> on_progress;
  /// Runs when all files are there and directories are still writable, e.g. to relocate.
  std::function<Status(int directory)> before_sealing;
};

struct UnpackReport {
  std::uint64_t entries = 0;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;          ///< sum of the files' lengths
  std::uint64_t disk_bytes = 0;     ///< what the tree takes, in blocks of 4 KiB
  std::uint64_t archive_bytes = 0;  ///< as stored
  Digest archive_digest;            ///< of the archive's bytes
  Digest plain_digest;              ///< of the tar stream inside: the same however it is compressed
  Compression compression = Compression::none;
};

/// `directory` is open and empty.
Expected<UnpackReport> unpack(ByteSource& archive, int directory, const UnpackOptions& options);

class Unpacker {
 public:
  Unpacker(os::UniqueFd directory, UnpackOptions options);
  ~Unpacker();
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;

  /// The next slice of the archive. Waits while the pipe is full; fails as soon as unpacking failed.
  Status feed(Bytes bytes) { return pipe_.push(bytes); }
  /// The same without waiting: false when nothing was taken.
  Expected<bool> try_feed(Bytes bytes) { return pipe_.try_push(bytes); }
  /// All bytes were fed: waits for the end.
  Expected<UnpackReport> finish();
  /// Stops soon; finish() then returns `reason`.
  void cancel(Error reason);

 private:
  os::UniqueFd directory_;
  UnpackOptions options_;
  BytePipe pipe_;
  Expected<UnpackReport> outcome_;
  std::thread thread_;
};

}  // namespace taskmill::archive
