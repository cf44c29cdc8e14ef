// Rewrites the absolute path of the build machine ("prefix") in an unpacked environment
// (environments.md section 1): what the archive's bin/conda-unpack does in Python, done natively from the
// same table.
//
// Text files: every occurrence. Binary files: inside NUL-terminated strings, padded with NULs, so the new
// prefix must not be longer than the old one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

struct PrefixRecord {
  std::string path;  ///< below the environment
  std::string placeholder;
  bool binary = false;

  bool operator==(const PrefixRecord&) const = default;
};

/// The table `_prefix_records = [(path, prefix, 'text'|'binary'), …]` of a conda-unpack script; nullopt when
/// the script has none in the known form.
std::optional<std::vector<PrefixRecord>> parse_prefix_records(std::string_view script);

std::string replace_text_prefix(std::string_view data, std::string_view old_prefix, std::string_view new_prefix);
/// Fails when `new_prefix` is longer than `old_prefix`.
Expected<std::string> replace_binary_prefix(std::string_view data, std::string_view old_prefix,
                                            std::string_view new_prefix);

enum class Relocation {
  not_needed,   ///< the archive has no bin/conda-unpack
  done,         ///< rewritten natively
  needs_script  ///< the table could not be read; run_conda_unpack() at the final place
};
/// Rewrites the files of the table below `directory` for a tree that will live at `new_prefix`. Files keep
/// mode and time.
Expected<Relocation> relocate(int directory, const std::string& new_prefix);

/// Runs `prefix`/bin/conda-unpack with the environment's own Python.
Status run_conda_unpack(const std::string& prefix);

}  // namespace taskmill::archive
