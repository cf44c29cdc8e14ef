// Short forms for the parts of a task (manager/core/task_spec.hpp holds the fields with their units).
//
//   TaskSpec task;
//   task.command = "./sim -c config.ini -o out";
//   task.inputs = {input_file("bin/sim"), input_buffer("seed = 7\n", "config.ini")};
//   task.outputs = {output_file("results/out-7", "out")};
//   task.resources = {.cores = 1, .memory = 500, .disk = 1000};
//
// A name in the sandbox that is left out is the last component of the local path.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "manager/core/task_spec.hpp"

namespace taskmill::manager {

/// Last component of a path, slashes at the end ignored: the usual name in the sandbox.
inline std::string sandbox_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

/// A file or a directory tree. With `cache` it stays at the worker for other tasks.
inline InputSpec input_file(const std::string& local, std::string remote = {}, bool cache = true) {
  InputSpec input;
  input.kind = FileKind::file;
  input.source = local;
  input.remote = remote.empty() ? sandbox_name(local) : std::move(remote);
  input.cache = cache;
  return input;
}

/// Bytes `first` to `last`, both included.
inline InputSpec input_piece(const std::string& local, std::string remote, std::uint64_t first, std::uint64_t last,
                             bool cache = true) {
  InputSpec input = input_file(local, std::move(remote), cache);
  input.kind = FileKind::piece;
  input.first = first;
  input.last = last;
  return input;
}

inline InputSpec input_buffer(std::string data, std::string remote, bool cache = false) {
  InputSpec input;
  input.kind = FileKind::buffer;
  input.data = std::make_shared<const std::string>(std::move(data));
  input.remote = std::move(remote);
  input.cache = cache;
  return input;
}

/// The worker downloads it.
inline InputSpec input_url(std::string url, std::string remote, bool cache = true) {
  InputSpec input;
  input.kind = FileKind::url;
  input.source = std::move(url);
  input.remote = std::move(remote);
  input.cache = cache;
  return input;
}

/// The worker runs `command`, in which %% stands for the file to make.
inline InputSpec input_command(std::string command, std::string remote, bool cache = true) {
  InputSpec input = input_url(std::move(command), std::move(remote), cache);
  input.kind = FileKind::command;
  return input;
}

inline OutputSpec output_file(const std::string& local, std::string remote = {}, OutputWhen when = OutputWhen::always) {
  OutputSpec output;
  output.local = local;
  output.remote = remote.empty() ? sandbox_name(local) : std::move(remote);
  output.when = when;
  return output;
}

}  // namespace taskmill::manager
