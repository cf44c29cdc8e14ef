// How many events a file holds, read from the file itself.
//
// CSV and JSON lines: the lines are counted in one pass (a quoted CSV field may hold line ends; the first CSV line
// is the header; empty lines are no events) and an index of byte offsets is made on the way. Parquet: the footer's
// row counts, nothing else is read. ROOT: the entries of a TTree from the file's own header structures (Brun and
// Rademakers' TFile layout: header, directory keys, the streamed TTree up to fEntries); compression zlib, LZMA, LZ4
// and zstd. Files are hostile input: all errors are values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::analysis_tool {

enum class Format : std::uint8_t { csv, jsonl, parquet, root };
const char* format_name(Format format);
/// By name ("csv", "jsonl", "parquet", "root"); "auto": by the first bytes of the file, then its ending.
Expected<Format> find_format(const std::string& name, const std::string& path);

/// Byte offset of every `step`-th event; offsets[i] is where event i*step begins.
struct LineIndex {
  Format format = Format::csv;
  std::uint64_t events = 0;
  std::uint64_t header_bytes = 0;
  std::uint64_t size = 0;  ///< of the file, to notice a changed one
  std::uint64_t step = 1000;
  std::vector<std::uint64_t> offsets;

  [[nodiscard]] std::string to_text() const;
  static Expected<LineIndex> from_text(std::string_view text);
};

struct EventCount {
  Format format = Format::csv;
  std::uint64_t events = 0;
  std::string uuid;                       ///< ROOT: the file's UUID, hex
  std::string tree;                       ///< ROOT: path of the tree that was counted
  std::vector<std::uint64_t> row_groups;  ///< Parquet: rows of each group
  LineIndex index;                        ///< csv, jsonl
};

/// `tree`: ROOT only; empty takes the only tree, or "Events".
Expected<EventCount> count_events(const std::string& path, Format format, const std::string& tree,
                                  std::uint64_t index_step = 1000);

Expected<EventCount> count_lines(int file, const std::string& path, Format format, std::uint64_t step);
Expected<EventCount> count_parquet(int file, const std::string& path);
Expected<EventCount> count_root(int file, const std::string& path, const std::string& tree);

/// What tells a ROOT file apart wherever it lies: its UUID, and a digest of the header that holds it (sizes and places,
/// which change with the content). Empty: no ROOT file, or one without a UUID.
std::string root_identity(const std::string& path);
std::string root_identity(int file, const std::string& path);

/// Copies the header (csv) and the events [first, last) of a line file to `out`. The index may be empty (then the
/// file is scanned from its start).
Expected<std::uint64_t> slice_lines(const std::string& path, const LineIndex& index, std::uint64_t first,
                                    std::uint64_t last, int out);

/// Exactly `length` bytes at `offset`, or an error that names the file.
Expected<std::string> read_at(int file, const std::string& path, std::uint64_t offset, std::uint64_t length);
Expected<std::uint64_t> size_of(int file, const std::string& path);

}  // namespace taskmill::analysis_tool
