// Lines of CSV and JSON-lines files: counting with an index, and copying a slice.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "common/os/fd.hpp"
#include "tools/analysis/event_count.hpp"

namespace taskmill::analysis_tool {
namespace {

constexpr std::size_t chunk_size = 1U << 20;

// Calls `line(begin, end)` for each record that is not empty: file offsets, end behind the line's LF. A record of a CSV
// may contain line ends inside double quotes. Stops early when `line` returns false.
class RecordScanner {
 public:
  RecordScanner(Format format, std::uint64_t offset)
      : quotes_(format == Format::csv), begin_(offset), position_(offset) {}

  bool feed(std::string_view bytes, const std::function<bool(std::uint64_t, std::uint64_t)>& line) {
    std::size_t at = 0;
    while (at < bytes.size()) {
      const std::size_t stop = next_special(bytes, at);
      if (stop > at) blank_ = blank_ && is_blank(bytes.substr(at, stop - at));
      if (stop == bytes.size()) {
        position_ += stop - at;
        return true;
      }
      position_ += stop + 1 - at;
      at = stop + 1;
      if (bytes[stop] == '"') {
        in_quotes_ = !in_quotes_;
        blank_ = false;
        continue;
      }
      if (in_quotes_) continue;
      if (!end_record(line)) return false;
    }
    return true;
  }
  bool finish(const std::function<bool(std::uint64_t, std::uint64_t)>& line) {
    return position_ == begin_ || end_record(line);
  }

 private:
  std::size_t next_special(std::string_view bytes, std::size_t at) const {
    const auto find = [&](char c) {
      const void* found = std::memchr(bytes.data() + at, c, bytes.size() - at);
      return found == nullptr ? bytes.size() : static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
    };
    const std::size_t line_end = find('\n');
    if (!quotes_) return line_end;
    const std::string_view until = bytes.substr(0, line_end);
    const auto quote = until.find('"', at);
    return quote == std::string_view::npos ? line_end : quote;
  }
  static bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r") == std::string_view::npos; }
  bool end_record(const std::function<bool(std::uint64_t, std::uint64_t)>& line) {
    const bool go_on = blank_ || line(begin_, position_);
    begin_ = position_;
    blank_ = true;
    return go_on;
  }

  bool quotes_;
  bool in_quotes_ = false;
  bool blank_ = true;
  std::uint64_t begin_;
  std::uint64_t position_;
};

Expected<bool> scan(int file, const std::string& path, Format format, std::uint64_t offset,
                    const std::function<bool(std::uint64_t, std::uint64_t)>& line) {
  RecordScanner scanner(format, offset);
  std::string buffer(chunk_size, '\0');
  while (true) {
    const ssize_t n = ::pread(file, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return make_error(path + ": " + errno_code().message());
    if (n == 0) return scanner.finish(line);
    if (!scanner.feed({buffer.data(), static_cast<std::size_t>(n)}, line)) return false;
    offset += static_cast<std::uint64_t>(n);
  }
}

Expected<bool> copy_range(int file, const std::string& path, std::uint64_t begin, std::uint64_t end, int out) {
  while (begin < end) {
    const auto bytes = read_at(file, path, begin, std::min<std::uint64_t>(chunk_size, end - begin));
    if (!bytes) return bytes.error();
    std::size_t done = 0;
    while (done < bytes->size()) {
      const ssize_t n = ::write(out, bytes->data() + done, bytes->size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return make_error("cannot write the slice: " + errno_code().message());
      done += static_cast<std::size_t>(n);
    }
    begin += bytes->size();
  }
  return true;
}

}  // namespace

Expected<EventCount> count_lines(int file, const std::string& path, Format format, std::uint64_t step) {
  const auto size = size_of(file, path);
  if (!size) return size.error();
  EventCount count;
  count.format = format;
  LineIndex& index = count.index;
  index.format = format;
  index.step = std::max<std::uint64_t>(step, 1);
  index.size = *size;
  bool header_seen = format != Format::csv;
  const auto scanned = scan(file, path, format, 0, [&](std::uint64_t begin, std::uint64_t end) {
    if (!header_seen) {
      header_seen = true;
      index.header_bytes = end;
      return true;
    }
    if (count.events % index.step == 0) index.offsets.push_back(begin);
    ++count.events;
    return true;
  });
  if (!scanned) return scanned.error();
  if (!header_seen) return make_error(path + ": an empty file has no CSV header");
  index.events = count.events;
  return count;
}

Expected<std::uint64_t> slice_lines(const std::string& path, const LineIndex& given, std::uint64_t first,
                                    std::uint64_t last, int out) {
  const os::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return make_error(path + ": " + errno_code().message());
  LineIndex index = given;
  const auto size = size_of(file.get(), path);
  if (!size) return size.error();
  if (index.offsets.empty()) {
    auto counted = count_lines(file.get(), path, index.format, index.step);
    if (!counted) return counted.error();
    index = std::move(counted->index);
  }
  if (*size != index.size) return make_error(path + ": has changed since its index was made; count it again");
  if (first > last || last > index.events) {
    return make_error(path + ": holds " + std::to_string(index.events) + " events, asked for [" +
                      std::to_string(first) + ", " + std::to_string(last) + ")");
  }
  if (auto copied = copy_range(file.get(), path, 0, index.header_bytes, out); !copied) return copied.error();
  if (first == last) return 0;
  // From the nearest indexed event on: at most step-1 lines are skipped.
  std::uint64_t event = first / index.step * index.step;
  std::uint64_t begin_of_slice = 0;
  std::uint64_t end_of_slice = 0;
  const auto scanned = scan(file.get(), path, index.format, index.offsets[static_cast<std::size_t>(first / index.step)],
                            [&](std::uint64_t begin, std::uint64_t end) {
                              if (event == first) begin_of_slice = begin;
                              end_of_slice = end;
                              return ++event < last;
                            });
  if (!scanned) return scanned.error();
  if (event != last) return make_error(path + ": has fewer events than its index says; count it again");
  if (auto copied = copy_range(file.get(), path, begin_of_slice, end_of_slice, out); !copied) return copied.error();
  return last - first;
}

}  // namespace taskmill::analysis_tool
