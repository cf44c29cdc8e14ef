#include "tools/monitor/events.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "common/measure/core/json_scan.hpp"
#include "common/os/fd.hpp"

namespace taskmill::monitor {

namespace {

using measure::JsonValue;
constexpr std::size_t most_per_poll = 16 << 20;
constexpr std::size_t longest_line = 1 << 20;

bool flag(const JsonValue& json, const char* key, bool otherwise) {
  const auto* value = json.find(key);
  return value && value->kind == JsonValue::Kind::boolean ? value->boolean : otherwise;
}

bool good_label(const std::string& label) {
  return !label.empty() && label.find_first_not_of(
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == std::string::npos;
}

Expected<Event> parse_event(const JsonValue& json, const std::string& where) {
  Event event;
  if (const auto* label = json.find("label")) event.label = label->string;
  if (!good_label(event.label)) return make_error(where + ": an event needs a label of letters, digits, '-' and '_'");
  int triggers = 0;
  const auto on = [&](const char* key, Event::Trigger trigger) {
    if (!flag(json, key, false)) return;
    event.trigger = trigger;
    ++triggers;
  };
  on("on-create", Event::Trigger::create);
  on("on-delete", Event::Trigger::remove);
  on("on-truncate", Event::Trigger::truncate);
  if (const auto* pattern = json.find("on-pattern")) {
    event.trigger = Event::Trigger::pattern;
    ++triggers;
    event.pattern = std::shared_ptr<regex_t>(new regex_t{}, [](regex_t* r) {
      ::regfree(r);
      delete r;
    });
    if (::regcomp(event.pattern.get(), pattern->string.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
      return make_error(where + ": '" + pattern->string + "' is no extended regular expression");
  }
  if (triggers != 1) return make_error(where + ": event '" + event.label + "' needs exactly one trigger");
  if (const auto count = json.number_of("count")) event.wanted = static_cast<std::int64_t>(*count);
  return event;
}

}  // namespace

void EventFile::happened(Event& event, std::string& labels) {
  if (event.wanted >= 0 && event.seen >= event.wanted) return;
  ++event.seen;
  if (!labels.empty()) labels += ',';
  labels += event.label + '(' + std::to_string(event.seen) + ')';
}

void EventFile::read_lines(std::string& labels) {
  const os::UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return;
  std::string text(std::size_t{64} << 10, '\0');
  for (std::size_t total = 0; total < most_per_poll;) {
    const auto n = ::pread(fd.get(), text.data(), text.size(), offset_);
    if (n <= 0) break;
    offset_ += n;
    total += static_cast<std::size_t>(n);
    partial_.append(text, 0, static_cast<std::size_t>(n));
    for (auto end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n')) {
      const auto line = partial_.substr(0, end);
      partial_.erase(0, end + 1);
      for (auto& event : events_)
        if (event.trigger == Event::Trigger::pattern &&
            ::regexec(event.pattern.get(), line.c_str(), 0, nullptr, 0) == 0)
          happened(event, labels);
    }
    if (partial_.size() > longest_line) partial_.clear();
  }
}

std::string EventFile::poll() {
  std::string labels;
  struct stat info {};
  const bool exists = ::stat(path_.c_str(), &info) == 0;
  const auto fire = [&](Event::Trigger trigger) {
    for (auto& event : events_)
      if (event.trigger == trigger) happened(event, labels);
  };
  if (existed_ && (!exists || info.st_ino != inode_)) {
    fire(Event::Trigger::remove);
    existed_ = false;
  }
  if (exists && !existed_) {
    // A file that was there before the command is not created by it; its old text counts with from-start.
    if (looked_) fire(Event::Trigger::create);
    offset_ = looked_ || from_start ? 0 : info.st_size;
    partial_.clear();
  } else if (exists && info.st_size < offset_) {
    fire(Event::Trigger::truncate);
    offset_ = from_start_if_truncated ? 0 : info.st_size;
    partial_.clear();
  }
  looked_ = true;
  existed_ = exists;
  inode_ = exists ? info.st_ino : 0;
  if (exists && S_ISREG(info.st_mode)) read_lines(labels);
  if (exists && delete_if_found && ::unlink(path_.c_str()) == 0) existed_ = false;
  return labels;
}

Expected<std::vector<EventFile>> parse_event_file(const std::string& text, const std::string& name) {
  const auto json = measure::parse_json(text);
  if (!json || json->kind != JsonValue::Kind::object)
    return make_error("snapshot events: '" + name + "' is not a JSON object");
  std::vector<EventFile> files;
  for (const auto& [path, value] : json->members) {
    const auto where = "snapshot events: '" + name + "', file '" + path + "'";
    const auto* list = value.find("events");
    if (!list || list->items.empty()) return make_error(where + ": no events");
    std::vector<Event> events;
    for (const auto& item : list->items) {
      auto event = parse_event(item, where);
      if (!event) return event.error();
      events.push_back(std::move(*event));
    }
    EventFile file(path, std::move(events));
    file.from_start = flag(value, "from-start", false);
    file.from_start_if_truncated = flag(value, "from-start-if-truncated", true);
    file.delete_if_found = flag(value, "delete-if-found", false);
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace taskmill::monitor
