#include "tests/support/protocol_text.hpp"

#include <array>
#include <charconv>
#include <concepts>
#include <cstdio>

namespace taskmill::testing {
namespace {

using namespace protocol;

// name key=value key="text" …
class Text {
 public:
  explicit Text(std::string_view name) : text_(name) {}
  Text& add(std::string_view key, std::string_view value) {
    text_ += ' ';
    text_ += key;
    text_ += "=\"" + escape(value) + '"';
    return *this;
  }
  template <class Number>
  requires std::integral<Number> || std::floating_point<Number> Text& add(std::string_view key, Number value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    text_ += ' ';
    text_ += key;
    text_ += '=';
    text_.append(digits.data(), end);
    return *this;
  }
  Text& mode(unsigned value) {
    std::array<char, 16> digits{};
    std::snprintf(digits.data(), digits.size(), " mode=%04o", value);
    text_ += digits.data();
    return *this;
  }
  operator std::string() const { return text_; }

 private:
  std::string text_;
};

std::string_view name_of(StatusKind kind) {
  switch (kind) {
    case StatusKind::queue:
      return "queue";
    case StatusKind::task:
      return "task";
    case StatusKind::worker:
      return "worker";
    case StatusKind::wable:
      return "wable";
    case StatusKind::resources:
      return "resources";
  }
  return "?";
}

struct Printer {
  std::string operator()(const Authenticated&) { return "authenticated"; }
  std::string operator()(const Greeting& m) {
    return Text("greeting")
        .add("version", m.version)
        .add("host", m.hostname)
        .add("os", m.os)
        .add("arch", m.arch)
        .add("software", m.software)
        .add("extra", m.extra);
  }
  std::string operator()(const Info& m) { return Text("info").add("field", m.field).add("value", m.value); }
  std::string operator()(const Feature& m) { return Text("feature").add("name", m.name); }
  std::string operator()(const ResourceReport& m) {
    return Text("resource")
        .add("name", m.name)
        .add("total", m.total)
        .add("smallest", m.smallest)
        .add("largest", m.largest);
  }
  std::string operator()(const ResourceTag& m) { return Text("resource-tag").add("tag", m.tag); }
  std::string operator()(const Alive&) { return "alive"; }
  std::string operator()(const TlqToken& m) { return Text("tlq").add("token", m.token); }
  std::string operator()(const NameQuery&) { return "name-query"; }
  std::string operator()(const AvailableResults&) { return "available-results"; }
  std::string operator()(const TaskResult& m) {
    return Text("result")
        .add("task", m.task_id)
        .add("status", m.status)
        .add("exit", m.exit_code)
        .add("output", m.output_length)
        .add("time_us", m.execution_us)
        .add("extra", m.extra);
  }
  std::string operator()(const WatchUpdate& m) {
    return Text("update").add("task", m.task_id).add("path", m.path).add("offset", m.offset).add("length", m.length);
  }
  std::string operator()(const ResultsEnd&) { return "results-end"; }
  std::string operator()(const FileItem& m) { return Text("file").add("path", m.path).add("length", m.length); }
  std::string operator()(const DirItem& m) { return Text("dir").add("path", m.path); }
  std::string operator()(const MissingItem& m) { return Text("missing").add("path", m.path).add("error", m.error); }
  std::string operator()(const GetEnd&) { return "get-end"; }
  std::string operator()(const CacheUpdate& m) {
    return Text("cache-update").add("name", m.name).add("size", m.size).add("time_us", m.transfer_us);
  }
  std::string operator()(const CacheInvalid& m) {
    return Text("cache-invalid").add("name", m.name).add("length", m.length);
  }
  std::string operator()(const ThirdPutComplete& m) { return Text("thirdput-complete").add("ok", m.ok ? 1 : 0); }
  std::string operator()(const StatusQuery& m) { return Text("status-query").add("kind", name_of(m.kind)); }
  std::string operator()(const HttpRequest& m) { return Text("http").add("path", m.path); }
  std::string operator()(const Frame& m) { return Text("frame").add("kind", m.kind).add("length", m.length); }

  std::string operator()(const ManagerAuthenticated&) { return "authenticated"; }
  std::string operator()(const PasswordRequired&) { return "password-required"; }
  std::string operator()(const PutFile& m) {
    return std::string(Text("put").add("path", m.path).add("length", m.length).mode(m.mode));
  }
  std::string operator()(const BeginDirectory& m) { return Text("begin-directory").add("path", m.path); }
  std::string operator()(const PutSymlink& m) { return Text("symlink").add("path", m.path).add("target", m.target); }
  std::string operator()(const EndDirectory& m) { return Text("end-directory").add("path", m.path); }
  std::string operator()(const PutUrl& m) {
    return Text("put-url").add("url", m.url).add("name", m.name).add("size", m.size).mode(m.mode);
  }
  std::string operator()(const PutCommand& m) {
    return Text("put-command").add("command", m.command).add("name", m.name).add("size", m.size).mode(m.mode);
  }
  std::string operator()(const LegacyUrl& m) {
    return Text("legacy-url").add("name", m.name).add("url", m.url).mode(m.mode).add("flags", m.flags);
  }
  std::string operator()(const ThirdGet& m) {
    return Text("thirdget").add("kind", static_cast<int>(m.kind)).add("name", m.name).add("text", m.text);
  }
  std::string operator()(const ThirdPut& m) {
    return Text("thirdput").add("kind", static_cast<int>(m.kind)).add("name", m.name).add("text", m.text);
  }
  std::string operator()(const Unlink& m) { return Text("unlink").add("name", m.name); }
  std::string operator()(const InvalidateFile& m) { return Text("invalidate-file").add("name", m.name); }
  std::string operator()(const RunTask& m) { return to_text(m.task); }
  std::string operator()(const SendResults& m) { return Text("send-results").add("count", m.count); }
  std::string operator()(const Get& m) { return Text("get").add("name", m.name).add("recursive", m.recursive ? 1 : 0); }
  std::string operator()(const Kill& m) { return Text("kill").add("task", m.task_id); }
  std::string operator()(const Check&) { return "check"; }
  std::string operator()(const Tlq& m) { return Text("tlq").add("token", m.token); }
  std::string operator()(const Release&) { return "release"; }
  std::string operator()(const Exit&) { return "exit"; }
  std::string operator()(const ManagerFrame& m) { return Text("frame").add("kind", m.kind).add("length", m.length); }
};

}  // namespace

std::string escape(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\\') {
      out += "\\\\";
    } else if (byte < 0x20 || byte >= 0x7F) {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'x' && i + 2 < text.size()) {
      unsigned value = 0;
      std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += c == 'n' ? '\n' : c == 'r' ? '\r' : c == '0' ? '\0' : c;
    }
  }
  return out;
}

std::string to_text(const TaskDescription& task) {
  Text text("task");
  text.add("id", task.task_id);
  if (task.command) text.add("command", *task.command);
  if (!task.coprocess.empty()) text.add("coprocess", task.coprocess);
  if (!task.category.empty()) text.add("category", task.category);
  if (task.cores) text.add("cores", *task.cores);
  if (task.gpus) text.add("gpus", *task.gpus);
  if (task.memory) text.add("memory", *task.memory);
  if (task.disk) text.add("disk", *task.disk);
  if (task.end_time_s > 0) text.add("end_time", task.end_time_s);
  if (task.wall_time > 0) text.add("wall_time", task.wall_time);
  const auto limit = [&text](const char* name, const std::optional<double>& amount) {
    if (amount) text.add(name, *amount);
  };
  limit("memory_limit", task.limits.memory);
  limit("disk_limit", task.limits.disk);
  limit(task.limits.stop_for_cores ? "cores_limit" : "cores_told", task.limits.cores);
  limit("wall_limit", task.limits.wall_time);
  limit("processes_limit", task.limits.processes);
  for (const auto& variable : task.env) text.add("env", variable);
  for (const auto& file : task.inputs) {
    if (file.empty_directory) {
      text.add("dir", file.sandbox_name);
    } else {
      text.add("in", file.cache_name).add("as", file.sandbox_name).add("flags", file.flags);
    }
  }
  for (const auto& file : task.outputs) {
    text.add("out", file.cache_name).add("as", file.sandbox_name).add("flags", file.flags);
  }
  return text;
}

std::string to_text(const FromWorker& message) { return std::visit(Printer{}, message); }
std::string to_text(const ToWorker& message) { return std::visit(Printer{}, message); }

}  // namespace taskmill::testing
