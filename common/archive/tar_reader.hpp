// Members of a tar stream, one after the other, over libarchive's tar format only (none of its filters
// or extractors: those would follow links and bring a dozen libraries along).
//
// Names arrive as raw bytes, unchecked; the caller decides what is safe (unpacker.hpp). Any of ustar,
// pax, GNU long names and sparse files.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

enum class EntryKind { file, directory, symlink, hard_link, other };

struct TarEntry {
  EntryKind kind = EntryKind::other;
  std::string path;
  std::string target;           ///< of a symbolic or hard link
  std::string_view other_name;  ///< "a character device", … when kind is other
  std::uint32_t mode = 0;
  std::uint64_t size = 0;
  timespec mtime{};
};

/// A run of a file's bytes; sparse files have holes between runs.
struct TarBlock {
  Bytes bytes;
  std::uint64_t offset = 0;
};

class TarReader {
 public:
  /// `source` gives the plain tar stream and must outlive the reader.
  explicit TarReader(ByteSource& source);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  /// nullopt at the end of the archive. Data of the previous entry that was not read is skipped.
  Expected<std::optional<TarEntry>> next();
  /// Data of the current entry; nullopt behind its last byte.
  Expected<std::optional<TarBlock>> read();

 private:
  struct State;
  Error failure(std::string_view what) const;
  std::unique_ptr<State> state_;
};

}  // namespace taskmill::archive
