// What a user asks for: one task, as plain values (manager.md 4.1, 4.2).
//
// The machine packs a TaskSpec into its interned table at submission and keeps no reference to it. Units:
// durations and times in microseconds (the types carry them), Resources as in common/base/resources.hpp,
// anything negative or zero in the places marked so means "not specified".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/resources.hpp"
#include "common/base/time.hpp"

namespace taskmill::manager {

/// Kinds of manager.md 2.1; the numbers are those of the old interface.
enum class FileKind : std::uint8_t {
  file = 1,             ///< a file or a directory tree at the manager
  buffer = 2,           ///< bytes in memory
  command = 3,          ///< the worker runs it; "%%" stands for the file to make
  piece = 4,            ///< a byte range of a file
  empty_directory = 5,  ///< made in the sandbox, nothing is sent
  url = 6,              ///< the worker downloads it
  environment = 7,      ///< for native workers: offered in frames; `source` is the digest. Made by the core itself
};

struct InputSpec {
  FileKind kind = FileKind::file;
  std::string source;  ///< path, URL or command; may hold $OS and $ARCH (file kinds). Unused for buffers.
  std::string remote;  ///< name in the sandbox: relative, no ".."
  std::shared_ptr<const std::string> data;  ///< buffer only
  /// Buffer only: 32 hex digits that name the content, when the caller already has them; else the core makes them.
  std::string digest;
  std::uint64_t first = 0, last = 0;  ///< piece only: both ends included
  bool cache = true;                  ///< keep at the worker and share between tasks
  bool operator==(const InputSpec&) const = default;
};

enum class OutputWhen : std::uint8_t { always, on_failure, on_success };

struct OutputSpec {
  std::string local;   ///< path at the manager
  std::string remote;  ///< name in the sandbox: relative, no ".."
  OutputWhen when = OutputWhen::always;
  bool watch = false;  ///< sent back while the task runs
  bool cache = false;  ///< stays at the worker under the name an input with the same local path would get
  /// With `cache`: a worker that can pass on files keeps it, and it is not fetched (kept_outputs.cpp). Others return
  /// it.
  bool keep = false;
  bool operator==(const OutputSpec&) const = default;
};

/// How a software environment reaches workers (docs/environments.md). Native ones get `digest` offered; for others
/// `runner` and `archive` are cached inputs, and the command is wrapped.
struct EnvironmentPlan {
  std::string name;         ///< as in TaskSpec::environment_archive
  std::string digest;       ///< of the tar stream, 64 hex digits
  std::uint64_t bytes = 0;  ///< of the tar stream
  bool native = true;       ///< can be offered at all
  InputSpec runner, archive;
  std::string command_head;  ///< what stands before the quoted command
};

struct EnvironmentVariable {
  std::string name;
  std::optional<std::string> value;  ///< nullopt: ask for the variable to be unset
  bool operator==(const EnvironmentVariable&) const = default;
};

/// manager.md 2.2; `unset` means the queue's.
enum class Algorithm : std::uint8_t { unset = 0, fcfs = 1, files = 2, time = 3, rand = 4, worst = 5 };

struct TaskSpec {
  std::string command;
  std::string tag;
  std::string category = "default";
  std::string coprocess;  ///< name of a coprocess; also requires the feature wq_worker_coprocess:NAME
  std::vector<InputSpec> inputs;
  std::vector<OutputSpec> outputs;
  std::vector<EnvironmentVariable> environment;
  /// Archive (conda-pack layout) or directory that the command runs inside; empty: none. The core knows it by this name
  /// after Machine::declare_environment().
  std::string environment_archive;
  std::vector<std::string> features;  ///< the worker must have announced all of them
  Resources resources;                ///< what is asked; negative fields unspecified
  double priority = 0;                ///< higher runs earlier
  int max_retries = 0;                ///< n >= 1: at most n+1 dispatches; 0: no limit
  Duration min_running_time{0};       ///< 0: none; only compared with workers that announce an end time
  Duration max_running_time{0};       ///< 0: none
  WallTime end_time{};                ///< 0: none
  WallTime start_time_min{};          ///< 0: none; not dispatched before
  Algorithm algorithm = Algorithm::unset;
  bool may_run_twice = true;  ///< a second copy may run elsewhere while the first is alive
};

}  // namespace taskmill::manager
