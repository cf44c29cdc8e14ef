#include "protocol/format.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>

#include "common/base/text.hpp"
#include "protocol/limits.hpp"

namespace taskmill::protocol {
namespace {

enum class Blanks : bool { refused, allowed };

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// Appends one line to a string, or takes back everything it appended.
class Line {
 public:
  Line(std::string& out, std::string_view verb) : out_(out), start_(out.size()) { out_ += verb; }

  template <std::integral Int>
  Line& number(Int value) {
    char digits[24];
    const auto end = std::to_chars(std::begin(digits), std::end(digits), value).ptr;
    out_ += ' ';
    out_.append(digits, end);
    return *this;
  }
  Line& mode(unsigned value) {
    char digits[16];
    const auto end = std::to_chars(std::begin(digits), std::end(digits), value & 0777U, 8).ptr;
    out_ += " 0";
    out_.append(digits, end);
    return *this;
  }
  /// `scale` decimals, as the old programs print them; finite numbers of a sane size only.
  Line& fixed(double value, int decimals) {
    char digits[64];
    if (!std::isfinite(value) || std::abs(value) > 1e18) return refuse();
    out_ += ' ';
    if (value == std::trunc(value) && !std::signbit(value) && value < 1e15) {
      // Nearly always; printing a fraction takes a quarter of a task's description.
      const auto whole = std::to_chars(std::begin(digits), std::end(digits), static_cast<std::int64_t>(value)).ptr;
      out_.append(digits, whole);
      if (decimals > 0) out_.append(1, '.').append(static_cast<std::size_t>(decimals), '0');
      return *this;
    }
    const auto end = std::to_chars(std::begin(digits), std::end(digits), value, std::chars_format::fixed, decimals);
    out_.append(digits, end.ptr);
    return *this;
  }
  /// A token as it is.
  Line& word(std::string_view text) { return raw(text, Blanks::refused); }
  /// Text as it is, to the end of the line.
  Line& text(std::string_view text) { return raw(text, Blanks::allowed); }
  /// A name of a file: any byte but those that end a line or a C string.
  Line& path(std::string_view text) {
    if (text.empty() || text.find_first_of(std::string_view("\n\r\0", 3)) != std::string_view::npos) return refuse();
    out_ += ' ';
    out_ += text;
    return *this;
  }
  Line& encoded(std::string_view text) {
    if (text.empty() || text.size() > max_line || text.find('\0') != std::string_view::npos) return refuse();
    out_ += ' ';
    append_percent_encoded(out_, text);
    return *this;
  }
  Line& refuse() {
    ok_ = false;
    return *this;
  }
  bool end() {
    if (!ok_ || out_.size() - start_ > max_line) {
      out_.resize(start_);
      return false;
    }
    out_ += '\n';
    return true;
  }

 private:
  Line& raw(std::string_view text, Blanks blanks) {
    const bool bad = std::any_of(text.begin(), text.end(),
                                 [&](char c) { return is_control(c) || (c == ' ' && blanks == Blanks::refused); });
    if (text.empty() || text.size() > max_line || bad) return refuse();
    out_ += ' ';
    out_ += text;
    return *this;
  }

  std::string& out_;
  std::size_t start_;
  bool ok_ = true;
};

bool bare(std::string& out, std::string_view verb) { return Line(out, verb).end(); }

// A counted body behind a line; the body is text for a shell or an environment and cannot hold a NUL.
bool counted(std::string& out, std::string_view verb, std::string_view body, std::uint64_t limit) {
  if (body.size() > limit || body.find('\0') != std::string_view::npos) return false;
  Line(out, verb).number(body.size()).end();
  out += body;
  return true;
}

bool task_limits(std::string& out, const TaskDescription& task) {
  bool ok = true;
  if (task.cores) ok = ok && Line(out, "cores").fixed(*task.cores, 3).end();
  if (task.gpus) ok = ok && Line(out, "gpus").fixed(*task.gpus, 0).end();
  if (task.memory) ok = ok && Line(out, "memory").fixed(*task.memory, 0).end();
  if (task.disk) ok = ok && Line(out, "disk").fixed(*task.disk, 0).end();
  if (task.end_time_s > 0) ok = ok && Line(out, "end_time").fixed(task.end_time_s, 6).end();
  if (task.wall_time > 0) ok = ok && Line(out, "wall_time").fixed(task.wall_time, 6).end();
  const auto limit = [&](std::string_view name, const std::optional<double>& amount, int decimals, bool stop) {
    if (amount) ok = ok && Line(out, "limit").word(name).fixed(*amount, decimals).word(stop ? "stop" : "tell").end();
  };
  limit("memory", task.limits.memory, 0, true);
  limit("disk", task.limits.disk, 0, true);
  limit("cores", task.limits.cores, 3, task.limits.stop_for_cores);
  limit("wall_time", task.limits.wall_time, 6, true);
  limit("processes", task.limits.processes, 0, true);
  return ok;
}

bool task_files(std::string& out, const TaskDescription& task) {
  for (const auto& file : task.inputs) {
    const bool ok = file.empty_directory
                        ? Line(out, "dir").word(file.sandbox_name).end()
                        : Line(out, "infile").word(file.cache_name).encoded(file.sandbox_name).number(file.flags).end();
    if (!ok) return false;
  }
  for (const auto& file : task.outputs) {
    if (!Line(out, "outfile").word(file.cache_name).encoded(file.sandbox_name).number(file.flags).end()) return false;
  }
  return true;
}

bool task_block(std::string& out, const TaskDescription& task, int version) {
  if (task.task_id <= 0 || task.task_id > INT32_MAX) return false;
  Line(out, "task").number(task.task_id).end();
  if (task.command && !counted(out, "cmd", *task.command, max_command)) return false;
  if (!task.coprocess.empty()) {
    if (version < 10 || !counted(out, "coprocess", task.coprocess, max_line)) return false;
  }
  // A receiver reads the category up to the first blank (8.1).
  std::string_view rest = task.category;
  if (const auto category = next_token(rest); !category.empty() && !Line(out, "category").word(category).end()) {
    return false;
  }
  if (!task_limits(out, task)) return false;
  for (const auto& variable : task.env) {
    if (!counted(out, "env", variable, max_env)) return false;
    out += '\n';
  }
  if (!task.environment.empty()) {
    if (!counted(out, "env", std::string(environment_variable) + "=" + task.environment, max_env)) return false;
    out += '\n';
  }
  return task_files(out, task) && bare(out, "end");
}

}  // namespace

bool put_header(std::string& out, std::string_view name, std::uint64_t length, unsigned mode) {
  return Line(out, "put").encoded(name).number(length).mode(mode).end();
}

bool dir_begin(std::string& out, std::string_view name) { return Line(out, "dir").encoded(name).end(); }

void dir_end(std::string& out) { bare(out, "end"); }

bool symlink(std::string& out, std::string_view name, std::string_view target) {
  if (target.empty() || target.size() >= max_symlink_target || target.find('\0') != std::string_view::npos)
    return false;
  if (!Line(out, "symlink").encoded(name).number(target.size() + 1).end()) return false;
  out += target;
  out += '\0';
  return true;
}

bool put_url(std::string& out, std::string_view url, std::string_view name, std::uint64_t size, unsigned mode) {
  return Line(out, "puturl").encoded(url).encoded(name).number(size).mode(mode).end();
}

bool put_command(std::string& out, std::string_view command, std::string_view name, std::uint64_t size, unsigned mode) {
  return Line(out, "putcmd").encoded(command).encoded(name).number(size).mode(mode).end();
}

bool legacy_url(std::string& out, std::string_view name, std::string_view url, unsigned mode, int flags) {
  if (url.empty() || url.size() > max_url || url.find('\0') != std::string_view::npos) return false;
  if (!Line(out, "url").word(name).number(url.size()).mode(mode).number(flags).end()) return false;
  out += url;
  return true;
}

bool legacy_command(std::string& out, std::string_view name, std::string_view command) {
  return Line(out, "thirdget 1").word(name).text(command).end();
}

bool unlink(std::string& out, std::string_view name) { return Line(out, "unlink").encoded(name).end(); }

bool invalidate_file(std::string& out, std::string_view name) {
  return Line(out, "invalidate-file").encoded(name).end();
}

bool task(std::string& out, const TaskDescription& task, int version) {
  const auto start = out.size();
  if (task_block(out, task, version)) return true;
  out.resize(start);
  return false;
}

void send_results(std::string& out, std::int64_t count) { Line(out, "send_results").number(count).end(); }

bool get(std::string& out, std::string_view name, bool recursive) {
  return Line(out, "get").encoded(name).number(recursive ? 1 : 0).end();
}

void kill(std::string& out, std::int64_t task_id) { Line(out, "kill").number(task_id).end(); }
void check(std::string& out) { bare(out, "check"); }
bool tlq(std::string& out, std::string_view token) { return Line(out, "tlq").word(token).end(); }
void release(std::string& out) { bare(out, "release"); }
void exit(std::string& out) { bare(out, "exit"); }

bool greeting(std::string& out, int version, std::string_view hostname, std::string_view os, std::string_view arch,
              std::string_view software) {
  return Line(out, "workqueue").number(version).word(hostname).word(os).word(arch).word(software).end();
}

bool info(std::string& out, std::string_view field, std::string_view value) {
  if (value.find_first_not_of(' ') == std::string_view::npos) return false;
  return Line(out, "info").word(field).text(value).end();
}

void info(std::string& out, std::string_view field, std::int64_t value) {
  Line(out, "info").word(field).number(value).end();
}

bool feature(std::string& out, std::string_view name) { return Line(out, "feature").encoded(name).end(); }

void resource(std::string& out, std::string_view name, std::int64_t total, std::int64_t smallest,
              std::int64_t largest) {
  Line(out, "resource").word(name).number(total).number(smallest).number(largest).end();
}

void resource_tag(std::string& out, std::int64_t tag) { Line(out, "resource tag").number(tag).end(); }
void alive(std::string& out) { bare(out, "alive"); }
void available_results(std::string& out) { bare(out, "available_results"); }

void result(std::string& out, int status, int exit_code, std::uint64_t output_length, std::uint64_t execution_us,
            std::int64_t task_id, std::string_view extra) {
  const auto numbers = [&](Line line) {
    return line.number(status).number(exit_code).number(output_length).number(execution_us).number(task_id);
  };
  if (!extra.empty() && numbers(Line(out, "result")).text(extra).end()) return;
  numbers(Line(out, "result")).end();
}

bool update(std::string& out, std::int64_t task_id, std::string_view path, std::uint64_t offset, std::uint64_t length) {
  return Line(out, "update").number(task_id).word(path).number(offset).number(length).end();
}

bool file_item(std::string& out, std::string_view path, std::uint64_t length) {
  return Line(out, "file").path(path).number(length).end();
}

bool dir_item(std::string& out, std::string_view path, bool allow_blanks) {
  if (!allow_blanks && path.find_first_of(" \t\v\f") != std::string_view::npos) return false;
  return Line(out, "dir").path(path).number(0).end();
}

bool missing_item(std::string& out, std::string_view path, int error) {
  return Line(out, "missing").path(path).number(error).end();
}

void end(std::string& out) { bare(out, "end"); }

bool cache_update(std::string& out, std::string_view name, std::uint64_t size, std::uint64_t transfer_us) {
  return Line(out, "cache-update").word(name).number(size).number(transfer_us).end();
}

bool cache_invalid(std::string& out, std::string_view name, std::string_view text) {
  if (!Line(out, "cache-invalid").word(name).number(text.size()).end()) return false;
  out += text;
  return true;
}

void frame(std::string& out, std::uint32_t kind, std::uint64_t length) {
  Line(out, "wqx").number(kind).number(length).end();
}

}  // namespace taskmill::protocol
