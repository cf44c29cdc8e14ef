// The environment of tasks: a base shared by all tasks of a session, and what each task changes in it.
//
// The base is the worker's own environment less DISPLAY and the resource variables, plus the workspace. A task adds, in
// this order, later ones winning: the manager's entries ("NAME" alone unsets), the variables of its allocation, its
// private directories. build() yields a null-terminated array for exec; it points into the base and into strings of
// the result, so both must live until the program runs.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "worker/core/ledger.hpp"

namespace taskmill::worker {

class Environment {
 public:
  /// `inherited` as in environ. `shell_names`: only variables that a shell can have ("a-b" is none) and would hand on,
  /// so that a command sees the same with and without one. `gpus`: how tasks name the GPUs 0, 1, … of the ledger in
  /// CUDA_VISIBLE_DEVICES; those beyond the list are named by their number.
  Environment(const std::vector<std::string>& inherited, const std::string& workspace, const std::string& shared_temp,
              bool shell_names, std::vector<std::string> gpus = {});

  struct Block {
    std::vector<std::string> own;       ///< strings that are not in the base
    std::vector<const char*> pointers;  ///< ends with nullptr
    bool shell_differs = false;         ///< a shell would give one of them another value
  };
  struct TaskPart {
    const std::vector<std::string>& entries;  ///< from the manager
    const Ledger::Claim& claim;
    std::string_view sandbox;  ///< absolute
    std::string_view temp;     ///< absolute
  };
  void build(const TaskPart& task, Block& block) const;
  /// The base alone, for helpers (fetching, coprocesses).
  void build_base(Block& block) const;

 private:
  void set(std::string entry);
  void append_allocation(const Ledger::Claim& claim, std::vector<std::string>& out) const;
  [[nodiscard]] std::string gpu_name(int number) const;

  bool shell_names_;
  bool shell_differs_ = false;
  std::vector<std::string> gpus_, base_;
  std::unordered_map<std::string, std::size_t> index_;  ///< name to position in base_
};

/// Value of a variable in a built block; empty when unset.
std::string_view value_in(const Environment::Block& block, std::string_view name);

}  // namespace taskmill::worker
