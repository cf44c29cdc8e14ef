#include "common/catalog/history.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>

#include "common/base/text.hpp"
#include "common/catalog/core/reader.hpp"

namespace taskmill::catalog {
namespace {

constexpr std::int64_t seconds_per_day = 86400;

bool is_silent(const std::string& key) { return key == "lastheardfrom" || key == "uptime"; }

std::string read_file(const std::string& path) {
  const std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// One line of the log, applied to the state that is being rebuilt.
class Replay {
 public:
  std::map<std::string, Value> records;

  void apply(std::string_view line) {
    const auto kind = next_token(line);
    if (kind == "T" || kind == "t") {
      const auto number = parse_int(trim(line)).value_or(0);
      now_ = kind == "T" ? number : now_ + number;
      return;
    }
    const std::string key(next_token(line));
    line = trim(line);
    if (kind == "D") {
      records.erase(key);
    } else if (kind == "R") {
      if (const auto it = records.find(key); it != records.end()) it->second.erase(line);
    } else if (kind == "C" || kind == "M") {
      auto value = read_value(line);
      if (!value || value->as_object() == nullptr) return;
      if (kind == "C") {
        value->set("lastheardfrom", value->integer("lastheardfrom", now_));
        records[key] = std::move(*value);
      } else if (const auto it = records.find(key); it != records.end()) {
        for (auto& [name, item] : *value->as_object()) it->second.set(name, std::move(item));
      }
    }
  }

 private:
  std::int64_t now_ = 0;
};

}  // namespace

std::string History::base(std::int64_t now, bool create) const {
  const auto seconds = static_cast<std::time_t>(now);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  const auto year = directory_ + "/" + std::to_string(parts.tm_year + 1900);
  if (create) {
    ::mkdir(directory_.c_str(), 0777);
    ::mkdir(year.c_str(), 0777);
  }
  return year + "/" + std::to_string(parts.tm_yday);
}

Expected<std::size_t> History::load(RecordStore& store, std::int64_t now) {
  store_ = &store;
  const auto today = base(now, true);
  struct stat info {};
  if (::stat(directory_.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return make_error("cannot use the history directory '" + directory_ + "': " + std::strerror(errno));
  }
  Replay replay;
  // The evening of yesterday still counts when the service restarts just after midnight.
  for (const auto& day : {base(now - seconds_per_day, false), today}) {
    if (auto checkpoint = read_value(read_file(day + ".ckpt"), {.depth = 64, .values = 20'000'000}); checkpoint) {
      if (auto* object = checkpoint->as_object()) {
        replay.records.clear();
        for (auto& [key, value] : *object) replay.records[key] = std::move(value);
      }
    }
    std::ifstream in(day + ".log");
    for (std::string line; std::getline(in, line);) replay.apply(line);
  }
  std::size_t count = 0;
  for (auto& item : replay.records) {
    if (item.second.as_object() != nullptr && store.adopt(std::move(item.second), now) == Change::created) ++count;
  }
  return count;
}

void History::write_checkpoint(const std::string& path) const {
  std::FILE* file = std::fopen((path + ".tmp").c_str(), "we");
  if (file == nullptr) return;
  bool first = true;
  std::fputs("{", file);
  store_->for_each([&](const StoredRecord& record) {
    std::string entry = first ? "\n" : ",\n";
    first = false;
    print_string_to(entry, record.key);
    entry += ":" + record.line;
    std::fwrite(entry.data(), 1, entry.size(), file);
  });
  std::fputs("\n}\n", file);
  if (std::fclose(file) == 0) std::rename((path + ".tmp").c_str(), path.c_str());
}

std::string History::open_day(std::int64_t now) {
  const auto wanted = base(now, false);
  if (file_ && wanted == open_base_) return {};
  (void)base(now, true);
  struct stat info {};
  if (store_ != nullptr && ::stat((wanted + ".ckpt").c_str(), &info) != 0) write_checkpoint(wanted + ".ckpt");
  file_.reset(std::fopen((wanted + ".log").c_str(), "ae"));
  if (!file_) return "cannot write the history '" + wanted + ".log': " + std::strerror(errno);
  open_base_ = wanted;
  last_time_ = 0;
  return {};
}

std::string History::note(Change change, const StoredRecord& record, const Value* before, std::int64_t now) {
  if (directory_.empty() || change == Change::ignored) return {};
  std::string lines;
  // A key with blanks or line ends would break the format; such a record is served but not remembered.
  if (record.key.find_first_of(" \t\r\n") != std::string::npos) return {};
  if (change == Change::created) {
    lines = "C " + record.key + " " + record.line + "\n";
  } else if (change == Change::removed) {
    lines = "D " + record.key + "\n";
  } else if (before != nullptr) {
    Object changed;
    for (const auto& [key, value] : *record.value.as_object()) {
      const Value* old = before->find(key);
      if (!is_silent(key) && (old == nullptr || *old != value)) changed.emplace_back(key, value);
    }
    if (!changed.empty()) lines = "M " + record.key + " " + print(Value(std::move(changed))) + "\n";
    for (const auto& [key, value] : *before->as_object()) {
      const bool gone = record.value.find(key) == nullptr && key.find_first_of("\r\n") == std::string::npos;
      if (gone) lines += "R " + record.key + " " + key + "\n";
    }
  }
  if (lines.empty()) return {};
  if (auto problem = open_day(now); !problem.empty()) return std::exchange(complained_, true) ? std::string() : problem;
  if (last_time_ == 0)
    lines = "T " + std::to_string(now) + "\n" + lines;
  else if (now != last_time_)
    lines = "t " + std::to_string(now - last_time_) + "\n" + lines;
  last_time_ = now;
  std::fwrite(lines.data(), 1, lines.size(), file_.get());
  std::fflush(file_.get());
  return {};
}

}  // namespace taskmill::catalog
