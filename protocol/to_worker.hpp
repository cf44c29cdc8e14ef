// What a manager says to a worker (M>W), one struct per message. Views are valid until the next call of
// next(); a task block is complete and owned.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace taskmill::protocol {

/// Our side of the password exchange is done and the peer proved itself.
struct ManagerAuthenticated {};
/// The manager asked for a password and we have none.
struct PasswordRequired {};

// Staging (7.3). `depth` of directory frames is tracked by the session: entries arrive with `path` relative to the
// cache, e.g. "name/sub/file", every component checked by is_safe_name.
struct PutFile {
  std::string_view path;
  std::uint64_t length = 0;
  unsigned mode = 0;
};  ///< body follows
struct BeginDirectory {
  std::string_view path;
};
struct PutSymlink {
  std::string_view path, target;
};  ///< target complete, trailing NULs stripped
struct EndDirectory {
  std::string_view path;
};  ///< path of the directory that is complete
struct PutUrl {
  std::string_view url, name;
  std::uint64_t size = 0;
  unsigned mode = 0;
};
struct PutCommand {
  std::string_view command, name;
  std::uint64_t size = 0;
  unsigned mode = 0;
};
struct LegacyUrl {
  std::string_view name, url;
  unsigned mode = 0;
  int flags = 0;
};  // v9
enum class ThirdKind : std::uint8_t { command = 1, copy = 2, link = 3 };
struct ThirdGet {
  ThirdKind kind{};
  std::string_view name, text;
};  // v9
struct ThirdPut {
  ThirdKind kind{};
  std::string_view name, text;
};  // v9
struct Unlink {
  std::string_view name;
};
struct InvalidateFile {
  std::string_view name;
};

struct InputFile {
  std::string cache_name, sandbox_name;
  int flags = 0;
  bool empty_directory = false;
  // Only in a TaskBatch (docs/extensions.md):
  std::optional<std::string> content{};  ///< came along, is not in the cache
  unsigned mode = 0;                     ///< of `content`
};
struct OutputFile {
  std::string cache_name, sandbox_name;
  int flags = 0;
};
/// What the worker stops a task for, or (cores) only tells: `limit` lines of native managers, docs/extensions.md.
/// Absent: not limited.
struct TaskLimits {
  std::optional<double> memory, disk;  ///< MB
  std::optional<double> cores;
  std::optional<double> wall_time;  ///< seconds, to the microsecond and without the slack of `wall_time` lines
  std::optional<double> processes;
  bool stop_for_cores = false;
  bool operator==(const TaskLimits&) const = default;
};
/// A whole `task … end` block (8). Names are decoded, not yet judged: the worker refuses unsafe ones per task.
struct TaskDescription {
  std::int64_t task_id = 0;
  std::optional<std::string> command;
  std::string coprocess, category;
  std::optional<double> cores, memory, disk, gpus;
  double end_time_s = 0;         ///< Unix seconds, 0 = none
  double wall_time = 0;          ///< as on the wire; unit see 8.3, 0 = none
  TaskLimits limits;             ///< agreed with `enforce` only
  std::vector<std::string> env;  ///< "NAME=value", or "NAME" for unset
  /// Digest (64 hex digits) of the environment it runs in, where `env` is agreed on; empty: none. In a block it travels
  /// as a variable, see environment_variable.
  std::string environment;
  std::vector<InputFile> inputs;
  std::vector<OutputFile> outputs;
  // Only in a TaskBatch (docs/extensions.md):
  std::vector<std::string> argv{};  ///< run without a shell
  std::uint64_t end_time_us = 0;    ///< Unix time, 0: none; takes the place of end_time_s
  std::uint32_t attempt = 0;        ///< comes back with the result
};
/// Carries TaskDescription::environment in a task block, between peers that agreed on `env`; an ordinary variable
/// otherwise.
constexpr std::string_view environment_variable = "TASKMILL_ENVIRONMENT";
struct RunTask {
  TaskDescription task;
};

struct SendResults {
  std::int64_t count = -1;
};
struct Get {
  std::string_view name;
  bool recursive = false;
};
struct Kill {
  std::int64_t task_id = 0;
};  ///< negative: all
struct Check {};
struct Tlq {
  std::string_view token;
};
struct Release {};
struct Exit {};
struct ManagerFrame {
  std::uint32_t kind = 0;
  std::uint64_t length = 0;
};  ///< extension frame, body follows

using ToWorker = std::variant<ManagerAuthenticated, PasswordRequired, PutFile, BeginDirectory, PutSymlink, EndDirectory,
                              PutUrl, PutCommand, LegacyUrl, ThirdGet, ThirdPut, Unlink, InvalidateFile, RunTask,
                              SendResults, Get, Kill, Check, Tlq, Release, Exit, ManagerFrame>;

}  // namespace taskmill::protocol
