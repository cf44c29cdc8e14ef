// Inputs that tasks name, each once: what they are, how they are called at workers, which workers hold them.
//
// A record is identified by kind, source, range and whether it is cached. It lives while a queued task names it or
// a worker holds it. `version` counts changes of a cached local file; a worker's copy remembers the version it has.
// The name of a copy is name(file, number): number 0 gives the shape the old manager uses (file-0-H-B …); every
// uncached copy, every later version and every cached output has a number of its own, so no name is ever sent twice
// while in use. Names hold only [A-Za-z0-9._-].
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.hpp"
#include "common/base/time.hpp"
#include "manager/core/slab.hpp"
#include "manager/core/task_spec.hpp"

namespace taskmill::manager {

enum class FileKnown : std::uint8_t { never, pending, found, missing };

struct FileRecord {
  FileKind kind = FileKind::file;
  bool cached = true;
  FileKnown known = FileKnown::never;
  bool variable = false;  ///< $OS or $ARCH in the source
  bool directory = false;
  bool kept = false;  ///< an output that only its holders have (kept_outputs.cpp)
  std::uint32_t version = 1;
  std::uint32_t references = 0;          ///< specs that name it
  std::uint64_t offset = 0, length = 0;  ///< piece
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  Time checked{Time::min()};
  std::uint64_t key = 0;       ///< hash of the identity
  std::string source, digest;  ///< digest: 32 hex digits of the source (buffers: of the content)
  std::string error;
  std::shared_ptr<const std::string> data;
  std::vector<TaskId> waiters;         ///< tasks that wait for a stat
  std::vector<std::uint32_t> holders;  ///< worker slots with a copy; position is kept in the copy
};

class FileTable {
 public:
  /// The record of this input, made if needed; one reference is added.
  FileId acquire(const InputSpec& input);
  /// The record an input with this local path would have (cached outputs).
  FileId acquire_path(std::string_view path);
  void add_reference(FileId file) { ++slab_[file.value()].references; }
  void release(FileId file);
  /// Drops the record if nothing needs it. Called when a worker loses its copy.
  void forget_if_unused(FileId file);
  [[nodiscard]] FileId find(std::string_view source, FileKind kind) const;  ///< cached ones

  FileRecord& operator[](FileId file) { return slab_[file.value()]; }
  const FileRecord& operator[](FileId file) const { return slab_[file.value()]; }
  [[nodiscard]] bool alive(FileId file) const { return file.valid() && slab_.alive(file.value()); }
  [[nodiscard]] std::uint32_t end() const { return slab_.end(); }
  [[nodiscard]] std::uint32_t live() const { return slab_.live(); }

  void name(FileId file, std::uint32_t number, std::string& out) const;  ///< appended
  /// Of an output that is not shared.
  static void output_name(std::string_view local_path, std::uint32_t number, std::string& out);
  [[nodiscard]] static bool is_local(FileKind kind) { return kind == FileKind::file || kind == FileKind::piece; }
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct Identity {
    FileKind kind;
    bool cached;
    std::string_view source, digest;
    std::uint64_t offset, length;
  };
  FileId acquire(const Identity& identity, const std::shared_ptr<const std::string>& data);
  [[nodiscard]] std::uint32_t lookup(std::uint64_t key, const Identity& identity) const;
  void index_insert(std::uint64_t key, std::uint32_t slot);
  void index_erase(std::uint64_t key, std::uint32_t slot);
  Slab<FileRecord, 8> slab_;
  std::vector<std::uint32_t> index_;  ///< open addressing by key
  std::size_t indexed_ = 0;
};

/// [A-Za-z0-9._-] as is, everything else as '_' ; at most 80 characters of the last path component.
std::string safe_base_name(std::string_view path);
/// FNV-1a with a final mix: the project's own, so that replays are the same on every machine.
std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed = 0);

}  // namespace taskmill::manager
