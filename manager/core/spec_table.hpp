// What never changes about a task after submission, packed and shared.
//
// A TaskSpec becomes one block of bytes: a fixed header, arrays of inputs, outputs and variables, then the texts.
// Equal blocks are stored once (tasks made in a loop share everything but their id), each with a count of the tasks
// that use it. Priority is not part of it. Views into a block are valid while a task refers to it.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "common/base/ids.hpp"
#include "manager/core/file_table.hpp"
#include "manager/core/slab.hpp"
#include "manager/core/task_spec.hpp"

namespace taskmill::manager {

/// Where a text lies inside the block.
struct SpecText {
  std::uint32_t offset = 0, length = 0;
};
struct PackedInput {
  std::uint32_t file = no_index;
  SpecText remote;
};
/// Of PackedOutput::flags: OutputSpec::keep. Never sent.
constexpr std::uint32_t keep_output_flag = 1U << 16U;

struct PackedOutput {
  std::uint32_t file = no_index;  ///< cached outputs only
  std::uint32_t flags = 0;        ///< bits of protocol::file_flag, and keep_output_flag
  SpecText local, remote;
};
struct PackedVariable {
  SpecText text;  ///< "NAME=value", or "NAME" for unset
};
struct SpecHeader {
  double cores = -1;
  std::int64_t memory = -1, disk = -1, gpus = -1;
  std::int64_t min_running_us = 0, max_running_us = 0, end_time_us = 0, start_min_us = 0;
  std::uint32_t category = 0, features = 0;  ///< features: interned set
  std::int32_t max_retries = 0;
  std::uint8_t algorithm = 0, may_run_twice = 1, local_files = 0, cached_files = 0;
  std::uint32_t inputs = 0, outputs = 0, variables = 0, bytes = 0;
  std::uint32_t environment = 0;  ///< 1 + number of its plan; 0: none
  std::uint32_t unused = 0;       ///< blocks are compared byte by byte
  SpecText command, tag, coprocess;

  [[nodiscard]] Resources resources() const { return {cores, memory, disk, gpus}; }
};

class SpecView {
 public:
  explicit SpecView(const char* block) : block_(block) {}
  const SpecHeader& operator*() const { return *header(); }
  const SpecHeader* operator->() const { return header(); }
  [[nodiscard]] std::string_view text(SpecText t) const { return {block_ + t.offset, t.length}; }
  [[nodiscard]] const PackedInput& input(std::uint32_t i) const { return inputs_begin()[i]; }
  [[nodiscard]] const PackedOutput& output(std::uint32_t i) const { return outputs_begin()[i]; }
  [[nodiscard]] std::string_view variable(std::uint32_t i) const { return text(variables_begin()[i].text); }

 private:
  friend class SpecTable;
  [[nodiscard]] const SpecHeader* header() const {
    return static_cast<const SpecHeader*>(static_cast<const void*>(block_));
  }
  [[nodiscard]] const PackedInput* inputs_begin() const {
    return static_cast<const PackedInput*>(static_cast<const void*>(block_ + sizeof(SpecHeader)));
  }
  [[nodiscard]] const PackedOutput* outputs_begin() const {
    return static_cast<const PackedOutput*>(static_cast<const void*>(inputs_begin() + header()->inputs));
  }
  [[nodiscard]] const PackedVariable* variables_begin() const {
    return static_cast<const PackedVariable*>(static_cast<const void*>(outputs_begin() + header()->outputs));
  }
  const char* block_;
};

class SpecTable {
 public:
  explicit SpecTable(FileTable& files) : files_(files) {}
  ~SpecTable();
  SpecTable(const SpecTable&) = delete;
  SpecTable& operator=(const SpecTable&) = delete;

  /// Packs (or finds) the spec; `users` tasks will refer to it. Category, features and environment are already
  /// interned.
  SpecId acquire(const TaskSpec& spec, std::uint32_t category, std::uint32_t features, std::uint32_t environment,
                 std::uint32_t users);
  void release(SpecId spec);
  SpecView operator[](SpecId spec) const { return SpecView(blocks_[spec.value()].bytes.get()); }
  /// The whole description again (priority, category, features and environment are the caller's to fill in).
  [[nodiscard]] TaskSpec unpack(SpecId spec) const;
  [[nodiscard]] std::uint32_t live() const { return live_; }
  [[nodiscard]] std::size_t memory_bytes() const;
  [[nodiscard]] std::uint32_t users(SpecId spec) const { return blocks_[spec.value()].users; }
  [[nodiscard]] std::uint32_t end() const { return static_cast<std::uint32_t>(blocks_.size()); }
  [[nodiscard]] bool alive(SpecId spec) const { return blocks_[spec.value()].bytes != nullptr; }

 private:
  struct Block {
    std::unique_ptr<char[]> bytes;
    std::uint32_t users = 0, hash = 0;
  };
  void pack(const TaskSpec& spec, std::uint32_t category, std::uint32_t features, std::uint32_t environment);
  std::uint32_t* find_slot(std::uint32_t hash);
  void grow_index();
  void release_files(const char* block);
  FileTable& files_;
  std::vector<Block> blocks_;
  std::vector<std::uint32_t> free_, index_;
  std::uint32_t live_ = 0;
  std::size_t bytes_ = 0;
  std::vector<char> scratch_;
};

}  // namespace taskmill::manager
