// Writes a plain tar stream (ustar, with pax headers where a field does not fit) into a sink.
//
// The same members give the same bytes on every machine: owner 0, no names, whole seconds. Content-
// defined chunking (chunker.hpp) and digests rely on that.
#pragma once

#include "common/archive/bytes.hpp"
#include "common/archive/tar_reader.hpp"

namespace taskmill::archive {

class TarWriter {
 public:
  /// `sink` must outlive the writer.
  explicit TarWriter(ByteSink& sink) : sink_(sink) {}

  /// Starts a member; for a file exactly entry.size bytes of data must follow.
  Status add(const TarEntry& entry);
  Status data(Bytes bytes);
  /// Two empty blocks, then closes the sink.
  Status finish();

 private:
  Status pad();
  Status header(const TarEntry& entry, char type, std::uint64_t size);
  ByteSink& sink_;
  std::uint64_t expected_ = 0;
  std::uint64_t written_ = 0;
};

}  // namespace taskmill::archive
