// Bytes of every message, both directions. Each function appends to `out` exactly what goes on the wire (one LF
// per line). Functions that take text from a user return false, and append nothing, when the line would exceed
// 4095 bytes, hold a control character, or have a blank in a field that cannot carry one (wire-protocol.md 2, B.6,
// B.18). Nothing is allocated beyond the growth of `out`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/from_worker.hpp"
#include "protocol/to_worker.hpp"

namespace taskmill::protocol {

// --- manager to worker ---
/// Header only; exactly `length` body bytes must follow. `name` is a cache name, or an entry name in a directory.
bool put_header(std::string& out, std::string_view name, std::uint64_t length, unsigned mode);
bool dir_begin(std::string& out, std::string_view name);
void dir_end(std::string& out);
/// With the trailing NUL that both old workers need (7.3).
bool symlink(std::string& out, std::string_view name, std::string_view target);
bool put_url(std::string& out, std::string_view url, std::string_view name, std::uint64_t size, unsigned mode);
bool put_command(std::string& out, std::string_view command, std::string_view name, std::uint64_t size, unsigned mode);
/// v9 `url`: header and body together.
bool legacy_url(std::string& out, std::string_view name, std::string_view url, unsigned mode, int flags);
/// v9 `thirdget 1`: the worker runs the command at once.
bool legacy_command(std::string& out, std::string_view name, std::string_view command);
bool unlink(std::string& out, std::string_view name);
bool invalidate_file(std::string& out, std::string_view name);
/// The whole block; false also for a coprocess below version 10. Of the category, the first word. `version` of the
/// worker decides what may be said (17). wall_time as it must appear on the wire.
bool task(std::string& out, const TaskDescription& task, int version);
void send_results(std::string& out, std::int64_t count = -1);
bool get(std::string& out, std::string_view name, bool recursive = true);
void kill(std::string& out, std::int64_t task_id);
void check(std::string& out);
bool tlq(std::string& out, std::string_view token);
void release(std::string& out);
void exit(std::string& out);

// --- worker to manager ---
bool greeting(std::string& out, int version, std::string_view hostname, std::string_view os, std::string_view arch,
              std::string_view software);
bool info(std::string& out, std::string_view field, std::string_view value);
void info(std::string& out, std::string_view field, std::int64_t value);
bool feature(std::string& out, std::string_view name);
/// Plain integers, accepted by every version (5.2).
void resource(std::string& out, std::string_view name, std::int64_t total, std::int64_t smallest, std::int64_t largest);
void resource_tag(std::string& out, std::int64_t tag);
void alive(std::string& out);
void available_results(std::string& out);
/// `extra`: further tokens, without leading blank; may be empty; left out if it is not fit for a line. Body follows.
void result(std::string& out, int status, int exit_code, std::uint64_t output_length, std::uint64_t execution_us,
            std::int64_t task_id, std::string_view extra = {});
/// The path goes raw and must not hold blanks: the watcher skips such files, they arrive with the outputs anyway.
bool update(std::string& out, std::int64_t task_id, std::string_view path, std::uint64_t offset, std::uint64_t length);
bool file_item(std::string& out, std::string_view path, std::uint64_t length);
/// Old managers hang up at a `dir` name with a blank: towards them pass false, and send a missing_item if refused.
bool dir_item(std::string& out, std::string_view path, bool allow_blanks = true);
bool missing_item(std::string& out, std::string_view path, int error);
void end(std::string& out);
bool cache_update(std::string& out, std::string_view name, std::uint64_t size, std::uint64_t transfer_us);
/// Header and text together.
bool cache_invalid(std::string& out, std::string_view name, std::string_view text);

// --- both ---
/// Extension frame header; body follows.
void frame(std::string& out, std::uint32_t kind, std::uint64_t length);

}  // namespace taskmill::protocol
