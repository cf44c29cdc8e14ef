#include "tools/analysis/event_count.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/text.hpp"
#include "common/os/fd.hpp"

namespace taskmill::analysis_tool {

const char* format_name(Format format) {
  switch (format) {
    case Format::csv:
      return "csv";
    case Format::jsonl:
      return "jsonl";
    case Format::parquet:
      return "parquet";
    case Format::root:
      return "root";
  }
  return "unknown";
}

namespace {

Expected<os::UniqueFd> open_file(const std::string& path) {
  os::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return make_error(path + ": " + errno_code().message());
  return file;
}

}  // namespace

Expected<std::uint64_t> size_of(int file, const std::string& path) {
  struct stat info {};
  if (::fstat(file, &info) != 0) return make_error(path + ": " + errno_code().message());
  if (!S_ISREG(info.st_mode)) return make_error(path + ": not a regular file");
  return static_cast<std::uint64_t>(info.st_size);
}

Expected<std::string> read_at(int file, const std::string& path, std::uint64_t offset, std::uint64_t length) {
  const auto size = size_of(file, path);
  if (!size) return size.error();
  if (offset > *size || length > *size - offset) return make_error(path + ": the file ends too early");
  std::string bytes(static_cast<std::size_t>(length), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pread(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return make_error(path + ": " + errno_code().message());
    if (n == 0) return make_error(path + ": the file ends too early");
    done += static_cast<std::size_t>(n);
  }
  return {boost::system::in_place_value, std::move(bytes)};
}

Expected<Format> find_format(const std::string& name, const std::string& path) {
  for (const auto format : {Format::csv, Format::jsonl, Format::parquet, Format::root}) {
    if (name == format_name(format)) return format;
  }
  if (name != "auto") return make_error("unknown format \"" + name + "\"; use csv, jsonl, parquet, root or auto");
  const auto file = open_file(path);
  if (!file) return file.error();
  char magic[5] = {};
  if (::pread(file->get(), magic, sizeof magic, 0) == sizeof magic) {
    if (std::string_view(magic, 4) == "PAR1") return Format::parquet;
    if (std::string_view(magic, 5) == std::string_view("root\0", 5)) return Format::root;  // then a version below 2^24
  }
  const auto ends_with = [&](std::string_view ending) { return std::string_view(path).ends_with(ending); };
  if (ends_with(".csv")) return Format::csv;
  if (ends_with(".jsonl") || ends_with(".ndjson")) return Format::jsonl;
  if (magic[0] == '{') return Format::jsonl;
  return make_error(path + ": cannot tell its format; say --format csv, jsonl, parquet or root");
}

Expected<EventCount> count_events(const std::string& path, Format format, const std::string& tree, std::uint64_t step) {
  const auto file = open_file(path);
  if (!file) return file.error();
  switch (format) {
    case Format::parquet:
      return count_parquet(file->get(), path);
    case Format::root:
      return count_root(file->get(), path, tree);
    default:
      return count_lines(file->get(), path, format, step);
  }
}

std::string root_identity(const std::string& path) {
  const auto file = open_file(path);
  return file ? root_identity(file->get(), path) : std::string();
}

std::string LineIndex::to_text() const {
  std::string text = "taskmill-line-index 1\n";
  text += std::string("format ") + format_name(format) + "\n";
  text += "events " + std::to_string(events) + "\n";
  text += "header " + std::to_string(header_bytes) + "\n";
  text += "size " + std::to_string(size) + "\n";
  text += "step " + std::to_string(step) + "\n";
  for (const auto offset : offsets) text += std::to_string(offset) + "\n";
  return text;
}

Expected<LineIndex> LineIndex::from_text(std::string_view text) {
  const auto bad = [] { return make_error("not a line index of version 1; make it again with 'count --index'"); };
  auto lines = split(text, '\n');
  if (lines.size() < 7 || lines[0] != "taskmill-line-index 1" || !lines.back().empty()) return bad();
  LineIndex index;
  index.format = lines[1] == "format jsonl" ? Format::jsonl : Format::csv;
  const std::pair<std::string_view, std::uint64_t*> fields[] = {
      {"events ", &index.events}, {"header ", &index.header_bytes}, {"size ", &index.size}, {"step ", &index.step}};
  for (std::size_t i = 0; i < 4; ++i) {
    const auto line = lines[i + 2];
    const auto value =
        line.starts_with(fields[i].first) ? parse_int(line.substr(fields[i].first.size())) : std::nullopt;
    if (!value || *value < 0) return bad();
    *fields[i].second = static_cast<std::uint64_t>(*value);
  }
  if (index.step == 0 || lines.size() - 7 != (index.events + index.step - 1) / index.step) return bad();
  for (std::size_t i = 6; i + 1 < lines.size(); ++i) {
    const auto value = parse_int(lines[i]);
    if (!value || *value < 0 || static_cast<std::uint64_t>(*value) > index.size) return bad();
    index.offsets.push_back(static_cast<std::uint64_t>(*value));
  }
  return index;
}

}  // namespace taskmill::analysis_tool
