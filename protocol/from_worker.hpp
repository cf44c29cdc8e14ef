// What a connecting peer says to a manager (W>M), one struct per message. Views point into the session's
// line and are valid until the next call of next().
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "common/base/ids.hpp"

namespace taskmill::protocol {

/// The password exchange (if any) is over; the peer may now say what it is.
struct Authenticated {};
/// `workqueue V host os arch version extra…` (5.1). Any version is reported; the caller decides.
struct Greeting {
  int version = 0;
  std::string_view hostname, os, arch, software, extra;
};
struct Info {
  std::string_view field, value;
};  // 5.3
struct Feature {
  std::string_view name;
};  // 5.5, decoded
struct ResourceReport {
  std::string_view name;
  double total = 0, smallest = 0, largest = 0;
};  // 5.2
struct ResourceTag {
  std::int64_t tag = 0;
};
struct Alive {};
struct TlqToken {
  std::string_view token;
};
struct NameQuery {};
struct AvailableResults {};
/// 10.2; `output_length` body bytes follow.
struct TaskResult {
  int status = 0;
  int exit_code = 0;
  std::uint64_t output_length = 0;
  std::uint64_t execution_us = 0;
  std::int64_t task_id = 0;
  std::string_view extra;  ///< tokens behind the id (extension point 6)
};
/// 10.5; `length` body bytes follow.
struct WatchUpdate {
  std::int64_t task_id = 0;
  std::string_view path;
  std::uint64_t offset = 0, length = 0;
};
struct ResultsEnd {};  ///< `end` of a send_results exchange
/// Items of a `get` reply (11). `path` is relative to the requested name, "" for the root itself; it has been
/// checked: exact prefix, no "..", no empty or absolute component. `length` body bytes follow a FileItem.
struct FileItem {
  std::string_view path;
  std::uint64_t length = 0;
};
struct DirItem {
  std::string_view path;
};
struct MissingItem {
  std::string_view path;
  int error = 0;
};
struct GetEnd {};  ///< `end` of the oldest outstanding get
struct CacheUpdate {
  std::string_view name;
  std::uint64_t size = 0, transfer_us = 0;
};  // 7.3
struct CacheInvalid {
  std::string_view name;
  std::uint64_t length = 0;
};  ///< body follows
struct ThirdPutComplete {
  bool ok = false;
};
enum class StatusKind : std::uint8_t { queue, task, worker, wable, resources };
struct StatusQuery {
  StatusKind kind = StatusKind::queue;
};  // 13
struct HttpRequest {
  std::string_view path;
};  // 13, headers already read
/// `wqx KIND LENGTH` and LENGTH body bytes: an extension frame (only after both sides announced; docs/protocol.md).
struct Frame {
  std::uint32_t kind = 0;
  std::uint64_t length = 0;
};

using FromWorker =
    std::variant<Authenticated, Greeting, Info, Feature, ResourceReport, ResourceTag, Alive, TlqToken, NameQuery,
                 AvailableResults, TaskResult, WatchUpdate, ResultsEnd, FileItem, DirItem, MissingItem, GetEnd,
                 CacheUpdate, CacheInvalid, ThirdPutComplete, StatusQuery, HttpRequest, Frame>;

}  // namespace taskmill::protocol
