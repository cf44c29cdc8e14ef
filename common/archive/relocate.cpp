#include "common/archive/relocate.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/archive/helper_process.hpp"
#include "common/archive/safe_tree.hpp"
#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

void append_utf8(std::string& text, std::uint32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0U | code >> 6U);
    text += static_cast<char>(0x80U | (code & 0x3fU));
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0U | code >> 12U);
    text += static_cast<char>(0x80U | (code >> 6U & 0x3fU));
    text += static_cast<char>(0x80U | (code & 0x3fU));
  } else {
    text += static_cast<char>(0xf0U | code >> 18U);
    text += static_cast<char>(0x80U | (code >> 12U & 0x3fU));
    text += static_cast<char>(0x80U | (code >> 6U & 0x3fU));
    text += static_cast<char>(0x80U | (code & 0x3fU));
  }
}

/// Reads Python literals as repr() writes them: tuples of strings in a list.
class LiteralReader {
 public:
  explicit LiteralReader(std::string_view text) : rest_(text) {}

  bool take(char wanted) {
    skip_blanks();
    if (rest_.empty() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::optional<std::string> string() {
    skip_blanks();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) return std::nullopt;
    const char quote = rest_.front();
    rest_.remove_prefix(1);
    std::string text;
    while (!rest_.empty() && rest_.front() != quote && rest_.front() != '\n') {
      if (rest_.front() != '\\') {
        text += rest_.front();
        rest_.remove_prefix(1);
      } else if (!escape(text)) {
        return std::nullopt;
      }
    }
    if (rest_.empty() || rest_.front() != quote) return std::nullopt;
    rest_.remove_prefix(1);
    return text;
  }

 private:
  void skip_blanks() {
    while (!rest_.empty() && std::strchr(" \t\r\n", rest_.front()) != nullptr) rest_.remove_prefix(1);
  }

  bool escape(std::string& text) {
    rest_.remove_prefix(1);
    if (rest_.empty()) return false;
    const char kind = rest_.front();
    rest_.remove_prefix(1);
    const std::size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (digits == 0) {
      if (kind == 'n')
        text += '\n';
      else if (kind == 't')
        text += '\t';
      else if (kind == '\\' || kind == '\'' || kind == '"')
        text += kind;
      else
        return false;
      return true;
    }
    if (rest_.size() < digits) return false;
    std::uint32_t code = 0;
    for (const char c : rest_.substr(0, digits)) {
      const char* found = std::strchr("0123456789abcdef", c);
      if (found == nullptr || c == '\0') return false;
      code = code * 16 + static_cast<std::uint32_t>(found - "0123456789abcdef");
    }
    rest_.remove_prefix(digits);
    append_utf8(text, code);
    return true;
  }

  std::string_view rest_;
};

std::optional<PrefixRecord> read_record(LiteralReader& reader) {
  PrefixRecord record;
  auto path = reader.string();
  if (!path || !reader.take(',')) return std::nullopt;
  auto placeholder = reader.string();
  if (!placeholder || placeholder->empty() || !reader.take(',')) return std::nullopt;
  auto mode = reader.string();
  if (!mode || (*mode != "text" && *mode != "binary") || !reader.take(')')) return std::nullopt;
  return PrefixRecord{std::move(*path), std::move(*placeholder), *mode == "binary"};
}

/// A read-only view of a whole file.
class Mapping {
 public:
  Mapping(int fd, std::size_t size) : size_(size) {
    if (size > 0) data_ = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (valid() && size_ > 0) ::munmap(data_, size_);
  }
  [[nodiscard]] bool valid() const { return data_ != MAP_FAILED; }
  [[nodiscard]] std::string_view text() const {
    return size_ > 0 ? std::string_view(static_cast<const char*>(data_), size_) : "";
  }

 private:
  void* data_ = nullptr;
  std::size_t size_;
};

std::string_view::size_type find(std::string_view data, std::string_view what, std::size_t from) {
  const void* found = ::memmem(data.data() + from, data.size() - from, what.data(), what.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - data.data());
}

/// Same inode, mode and times, other contents: hard links of the file see the change too.
Status rewrite(int fd, const struct stat& info, const std::string& path, std::string_view data) {
  if (::fchmod(fd, info.st_mode | 0200U) != 0) return system_error("cannot change", path, errno);
  const std::string through = "/proc/self/fd/" + std::to_string(fd);
  const os::UniqueFd out(::open(through.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
  if (!out) return system_error("cannot rewrite", path, errno);
  if (!write_fully(out.get(), data)) return write_error(path, errno, out.get(), 0);
  const std::array<timespec, 2> times{info.st_mtim, info.st_mtim};
  ::futimens(out.get(), times.data());
  ::fchmod(fd, info.st_mode & 07777U);
  return {};
}

Status apply(int directory, const PrefixRecord& record, const std::string& new_prefix) {
  if (!is_safe_relative_path(record.path)) return make_error("conda-unpack names a file outside: " + record.path);
  auto fd = open_file_beneath(directory, record.path);
  if (!fd) return fd.error();
  if (!*fd) return {};  // conda-pack may list files that a filter left out
  struct stat info {};
  if (::fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  std::string changed;
  {
    const Mapping mapping(fd->get(), static_cast<std::size_t>(info.st_size));
    if (!mapping.valid()) return system_error("cannot read", record.path, errno);
    if (find(mapping.text(), record.placeholder, 0) == std::string_view::npos) return {};
    if (record.binary) {
      auto result = replace_binary_prefix(mapping.text(), record.placeholder, new_prefix);
      if (!result) return make_error(record.path + ": " + result.error().text);
      changed = std::move(*result);
    } else {
      changed = replace_text_prefix(mapping.text(), record.placeholder, new_prefix);
    }
  }
  return rewrite(fd->get(), info, record.path, changed);
}

}  // namespace

std::optional<std::vector<PrefixRecord>> parse_prefix_records(std::string_view script) {
  constexpr std::string_view start = "\n_prefix_records = ";
  const std::size_t at = script.find(start);
  if (at == std::string_view::npos) return std::nullopt;
  LiteralReader reader(script.substr(at + start.size()));
  if (!reader.take('[')) return std::nullopt;
  std::vector<PrefixRecord> records;
  while (!reader.take(']')) {
    if (!reader.take('(')) return std::nullopt;
    auto record = read_record(reader);
    if (!record) return std::nullopt;
    records.push_back(std::move(*record));
    if (!reader.take(',')) {
      if (!reader.take(']')) return std::nullopt;
      break;
    }
  }
  return records;
}

std::string replace_text_prefix(std::string_view data, std::string_view old_prefix, std::string_view new_prefix) {
  std::string result;
  std::size_t at = 0;
  for (;;) {
    const std::size_t found = find(data, old_prefix, at);
    if (found == std::string_view::npos) break;
    result.append(data.substr(at, found - at)).append(new_prefix);
    at = found + old_prefix.size();
  }
  return result.append(data.substr(at));
}

Expected<std::string> replace_binary_prefix(std::string_view data, std::string_view old_prefix,
                                            std::string_view new_prefix) {
  if (new_prefix.size() > old_prefix.size()) {
    return make_error("the environment's path is too long: " + std::to_string(new_prefix.size()) +
                      " characters, this archive has room for " + std::to_string(old_prefix.size()));
  }
  std::string result;
  result.reserve(data.size());
  std::size_t at = 0;
  for (;;) {
    const std::size_t found = find(data, old_prefix, at);
    const std::size_t end = found == std::string_view::npos ? found : data.find('\0', found);
    if (end == std::string_view::npos) break;  // no string here, or one without an end: left as it is
    result.append(data.substr(at, found - at));
    const std::string inside = replace_text_prefix(data.substr(found, end - found), old_prefix, new_prefix);
    result.append(inside).append(end - found - inside.size(), '\0');
    at = end;
  }
  result.append(data.substr(at));
  return {boost::system::in_place_value, std::move(result)};
}

Expected<Relocation> relocate(int directory, const std::string& new_prefix) {
  auto script = open_file_beneath(directory, "bin/conda-unpack");
  if (!script) return script.error();
  if (!*script) return Relocation::not_needed;
  FileSource source(std::move(*script), "bin/conda-unpack");
  StringSink text;
  if (auto copied = copy(source, text); !copied) return copied.error();
  const auto records = parse_prefix_records(text.text);
  if (!records) return Relocation::needs_script;
  for (const PrefixRecord& record : *records) {
    if (auto done = apply(directory, record, new_prefix); !done) return make_error("relocation: " + done.error().text);
  }
  return Relocation::done;
}

Status run_conda_unpack(const std::string& prefix) {
  HelperPlan plan;
  plan.argv = {"/bin/sh", "-c", R"(PATH="$1/bin:$PATH"; export PATH; exec "$1/bin/conda-unpack")", "sh", prefix};
  plan.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + prefix, "LC_ALL=C.UTF-8"};
  plan.directory = prefix;
  plan.timeout_seconds = 3600;
  auto result = run_helper(plan);
  if (!result) return result.error();
  if (result->exit_status == 0) return {};
  return make_error("bin/conda-unpack failed with status " + std::to_string(result->exit_status) + ": " +
                    last_line(result->messages));
}

}  // namespace taskmill::archive
