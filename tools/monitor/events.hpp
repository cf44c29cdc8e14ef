// Snapshot events: files that are watched while a command runs, and what in them closes a segment
// (resource-monitor.md section 6). Polled by the monitor; no process, no thread of its own.
#pragma once

#include <regex.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::monitor {

struct Event {
  enum class Trigger { create, remove, truncate, pattern } trigger = Trigger::create;
  std::string label;
  std::shared_ptr<regex_t> pattern;
  std::int64_t wanted = -1;  ///< `count`: how often it counts, negative for always
  std::int64_t seen = 0;
};

class EventFile {
 public:
  EventFile(std::string path, std::vector<Event> events) : path_(std::move(path)), events_(std::move(events)) {}

  /// Looks at the file; "label(count)" of each event that happened, comma separated, or "".
  std::string poll();

  bool from_start = false, from_start_if_truncated = true, delete_if_found = false;

 private:
  void happened(Event& event, std::string& labels);
  void read_lines(std::string& labels);

  std::string path_, partial_;
  std::vector<Event> events_;
  std::int64_t offset_ = 0;
  std::uint64_t inode_ = 0;
  bool existed_ = false, looked_ = false;
};

Expected<std::vector<EventFile>> parse_event_file(const std::string& json, const std::string& name);

}  // namespace taskmill::monitor
