// A local directory as a stream of small pieces, in bounded memory (wire-protocol.md 7.3, recursive `dir` frame).
//
// next() yields one entry at a time: a header, and for a file that is not small the open descriptor to be sent
// behind it. Entries come in name order, so that the same tree gives the same bytes on every machine. Links inside
// the tree are sent as links; sockets, fifos and devices are skipped. An entry that cannot be read leaves the frame
// in step (every `end` is still sent) and sets error(): the copy at the worker is incomplete and must be unlinked.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::manager {

/// What goes on the wire next: text, then `length` bytes of `file` from `offset`.
struct OutPiece {
  std::string text;
  std::shared_ptr<os::UniqueFd> file;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class TreeSource {
 public:
  /// `directory` is open; `wire_name` is the cache name.
  TreeSource(os::UniqueFd directory, std::string wire_name);

  /// Fills `piece`; false when the whole frame, its last `end` included, has been given out.
  bool next(OutPiece& piece);
  /// First local error met; the tree was sent incompletely.
  [[nodiscard]] ErrorCode error() const { return error_; }
  [[nodiscard]] const std::string& error_path() const { return error_path_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  ///< file bytes given out so far

 private:
  struct Level {
    os::UniqueFd fd;
    std::string name;
    std::vector<std::string> names;  ///< sorted descending: taken from the back
  };
  void enter(os::UniqueFd fd, std::string name, std::string& text);
  void add_entry(const std::string& name, OutPiece& piece);
  void add_file(const std::string& name, OutPiece& piece);
  void add_link(const std::string& name, OutPiece& piece);
  void note_error(ErrorCode error, const std::string& name);

  std::vector<Level> levels_;
  std::string pending_text_;
  ErrorCode error_;
  std::string error_path_;
  std::uint64_t bytes_ = 0;
};

}  // namespace taskmill::manager
