// The answers to status queries and the catalog record, produced in slices (manager.md 17, catalog.md 6.2).
//
//   StatusReport report(source, StatusKind::task);
//   while (report.next(text, 64 << 10)) { send text; wait until there is room; }
//
// One call visits a bounded number of tasks or workers, so a million tasks neither fill memory nor hold up the
// control thread. What changes between two calls shows up or not; every object by itself is consistent.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/ids.hpp"
#include "manager/core/machine.hpp"

namespace taskmill::manager {

/// What the shell knows and the machine does not.
struct StatusIdentity {
  std::string project, owner, working_dir, version, preferred_connection = "by_ip";
  std::uint16_t port = 0;
  bool ssl = false;
  std::int64_t starttime_s = 0, priority = 0, tasks_left = 0;
};
struct StatusSource {
  const Machine& machine;
  const StatusIdentity& identity;
  Stats stats;                  ///< with the shell's own figures filled in
  std::vector<ConnId> workers;  ///< connections, in order
  std::uint32_t last_task_id = 0;
  std::int64_t now_us = 0;  ///< wall clock
};

/// The object of `queue_status`.
void append_queue_object(std::string& out, const StatusSource& source);

class StatusReport {
 public:
  StatusReport(StatusSource source, protocol::StatusKind kind);
  /// Appends roughly `budget` bytes to `out`; false once the array is closed.
  bool next(std::string& out, std::size_t budget);

 private:
  void next_tasks(std::string& out, std::size_t limit);
  void next_workers(std::string& out, std::size_t limit);
  void separate(std::string& out);

  StatusSource source_;
  protocol::StatusKind kind_;
  bool begun_ = false, done_ = false, first_ = true;
  std::uint32_t next_task_ = 1;
  std::size_t next_worker_ = 0;
};

/// Which answer an HTTP path asks for; nullopt for "/" and for unknown ones.
std::optional<protocol::StatusKind> status_kind_of_path(std::string_view path);

}  // namespace taskmill::manager
