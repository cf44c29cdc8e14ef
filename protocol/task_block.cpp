#include "protocol/task_block.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/text.hpp"
#include "protocol/keyword_table.hpp"
#include "protocol/limits.hpp"
#include "protocol/line.hpp"

namespace taskmill::protocol {

/// One function per keyword.
struct TaskBlockLines {
  using Progress = TaskBlock::Progress;

  static Progress cmd(TaskBlock& b, std::string_view rest) {
    return b.expect_body(TaskBlock::Body::command, rest, max_command);
  }
  static Progress coprocess(TaskBlock& b, std::string_view rest) {
    if (b.version_ < 10) return b.fail(Problem::unknown_message, "coprocess is not of this version");
    return b.expect_body(TaskBlock::Body::coprocess, rest, max_line);
  }
  static Progress env(TaskBlock& b, std::string_view rest) {
    return b.expect_body(TaskBlock::Body::env, rest, max_env);
  }
  static Progress category(TaskBlock& b, std::string_view rest) {
    b.task_.category = next_token(rest);
    return Progress::line;
  }
  static Progress cores(TaskBlock& b, std::string_view rest) { return b.read_number(b.task_.cores, rest); }
  static Progress gpus(TaskBlock& b, std::string_view rest) { return b.read_number(b.task_.gpus, rest); }
  static Progress memory(TaskBlock& b, std::string_view rest) { return b.read_number(b.task_.memory, rest); }
  static Progress disk(TaskBlock& b, std::string_view rest) { return b.read_number(b.task_.disk, rest); }
  static Progress end_time(TaskBlock& b, std::string_view rest) { return b.read_time(b.task_.end_time_s, rest); }
  static Progress wall_time(TaskBlock& b, std::string_view rest) { return b.read_time(b.task_.wall_time, rest); }
  static Progress limit(TaskBlock& b, std::string_view rest) { return b.read_limit(rest); }
  static Progress infile(TaskBlock& b, std::string_view rest) { return b.read_file(b.task_.inputs, rest); }
  static Progress outfile(TaskBlock& b, std::string_view rest) { return b.read_file(b.task_.outputs, rest); }
  static Progress dir(TaskBlock& b, std::string_view rest) {
    InputFile input;
    input.sandbox_name = next_token(rest);
    input.empty_directory = true;
    if (input.sandbox_name.empty()) return b.fail(Problem::malformed, "dir needs a name");
    b.task_.inputs.push_back(std::move(input));
    return Progress::line;
  }
  static Progress end(TaskBlock& b, std::string_view rest) {
    return rest.empty() ? Progress::complete : b.fail(Problem::unknown_message, "unknown line in a task block");
  }
};

namespace {

using Handler = TaskBlock::Progress (*)(TaskBlock&, std::string_view);
using Table = KeywordTable<Handler, 15>;
constexpr Table table(std::array<Table::Entry, 15>{{
    {"cmd", TaskBlockLines::cmd},
    {"coprocess", TaskBlockLines::coprocess},
    {"category", TaskBlockLines::category},
    {"cores", TaskBlockLines::cores},
    {"infile", TaskBlockLines::infile},
    {"outfile", TaskBlockLines::outfile},
    {"env", TaskBlockLines::env},
    {"end_time", TaskBlockLines::end_time},
    {"end", TaskBlockLines::end},
    {"dir", TaskBlockLines::dir},
    {"disk", TaskBlockLines::disk},
    {"gpus", TaskBlockLines::gpus},
    {"limit", TaskBlockLines::limit},
    {"memory", TaskBlockLines::memory},
    {"wall_time", TaskBlockLines::wall_time},
}});

}  // namespace

void TaskBlock::begin(std::int64_t task_id, int version) {
  task_ = {};
  task_.task_id = task_id;
  version_ = version;
  bytes_ = 0;
  problem_ = Problem::none;
  why_ = {};
}

TaskBlock::Progress TaskBlock::on_line(std::string_view line) {
  if (line.empty()) return Progress::line;  // also the LF behind the body of an `env`
  bytes_ += line.size() + sizeof(InputFile);
  if (bytes_ > max_task_block) return fail(Problem::too_large, "task block");
  const auto* entry = table.find(line);
  if (entry == nullptr) return fail(Problem::unknown_message, "unknown line in a task block");
  return entry->handler(*this, line.substr(entry->word.size()));
}

void TaskBlock::on_body(std::string& body) {
  // A NUL ends a command or a variable, as everywhere it will pass through.
  if (const auto nul = body.find('\0'); nul != std::string::npos) body.resize(nul);
  switch (body_) {
    case Body::command:
      task_.command = std::move(body);
      break;
    case Body::coprocess:
      task_.coprocess = std::move(body);
      break;
    case Body::env:
      if (!body.empty()) task_.env.push_back(std::move(body));
      break;
  }
  body.clear();
}

TaskBlock::Progress TaskBlock::fail(Problem problem, std::string_view why) {
  problem_ = problem;
  why_ = why;
  return Progress::failed;
}

TaskBlock::Progress TaskBlock::expect_body(Body kind, std::string_view rest, std::uint64_t limit) {
  const auto length = next_int<std::uint64_t>(rest);
  if (!length) return fail(Problem::malformed, "a body needs its length");
  if (*length > limit) return fail(Problem::too_large, "command or variable");
  bytes_ += *length;
  if (bytes_ > max_task_block) return fail(Problem::too_large, "task block");
  body_ = kind;
  body_length_ = *length;
  return Progress::body;
}

TaskBlock::Progress TaskBlock::read_number(std::optional<double>& target, std::string_view rest) {
  if (skip_blanks(rest).empty()) return Progress::line;  // says nothing; old workers take it, too
  target = next_number(rest);
  return target ? Progress::line : fail(Problem::malformed, "a resource needs a number");
}

TaskBlock::Progress TaskBlock::read_time(double& target, std::string_view rest) {
  const auto value = next_number(rest);
  if (!value) return fail(Problem::malformed, "a time needs a number");
  target = std::max(0.0, *value);
  return Progress::line;
}

// "limit NAME AMOUNT stop|tell". Names that we do not know belong to newer managers.
TaskBlock::Progress TaskBlock::read_limit(std::string_view rest) {
  const auto name = next_token(rest);
  const auto amount = next_number(rest);
  const auto action = next_token(rest);
  if (name.empty() || !amount || *amount < 0 || (action != "stop" && action != "tell"))
    return fail(Problem::malformed, "a limit needs a name, an amount, and stop or tell");
  auto& limits = task_.limits;
  const bool stop = action == "stop";
  if (name == "cores") {
    limits.cores = amount;
    limits.stop_for_cores = stop;
  } else if (stop) {
    if (name == "memory") limits.memory = amount;
    if (name == "disk") limits.disk = amount;
    if (name == "wall_time") limits.wall_time = amount;
    if (name == "processes") limits.processes = amount;
  }
  return Progress::line;
}

template <class File>
TaskBlock::Progress TaskBlock::read_file(std::vector<File>& files, std::string_view rest) {
  File file;
  file.cache_name = next_name(rest);
  const auto encoded = next_name(rest);
  const auto flags = next_int<int>(rest);
  if (encoded.empty() || !flags) return fail(Problem::malformed, "a file needs cache name, sandbox name and flags");
  if (!decode_name(encoded, file.sandbox_name)) return fail(Problem::malformed, "malformed escape in a name");
  file.flags = *flags;
  files.push_back(std::move(file));
  return Progress::line;
}

}  // namespace taskmill::protocol
