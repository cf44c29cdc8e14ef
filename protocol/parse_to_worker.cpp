#include "protocol/parse_to_worker.hpp"

#include <array>
#include <utility>

#include "common/base/text.hpp"
#include "protocol/keyword_table.hpp"
#include "protocol/limits.hpp"

namespace taskmill::protocol {
namespace {

using Outcome = Parsed<ToWorker>;
using Context = ToWorkerContext;

Outcome bad(std::string_view why) { return {Problem::malformed, why, 0, std::nullopt}; }
Outcome unsafe(std::string_view why) { return {Problem::unsafe_name, why, 0, std::nullopt}; }
Outcome too_large(std::string_view why) { return {Problem::too_large, why, 0, std::nullopt}; }
Outcome unknown(std::string_view why = "unknown message") { return {Problem::unknown_message, why, 0, std::nullopt}; }

template <class Message>
Outcome said(const Message& message, std::uint64_t body = 0) {
  Outcome outcome;
  outcome.body = body;
  outcome.message = message;
  return outcome;
}

// An encoded name of one component, decoded into context.first, and joined to the open directory in
// context.second.
Outcome read_name(std::string_view& rest, Context& context) {
  if (!decode_name(next_name(rest), context.first)) return bad("malformed escape in a name");
  if (!is_safe_name(context.first)) return unsafe("name leaves the cache");
  context.second = context.path;
  if (!context.path.empty()) context.second += '/';
  context.second += context.first;
  if (context.second.size() > max_path) return too_large("path below the cache");
  return {};
}

bool failed(const Outcome& outcome) { return outcome.problem != Problem::none; }

// --- staging ---

Outcome on_put(std::string_view rest, Context& context) {
  auto name = read_name(rest, context);
  if (failed(name)) return name;
  const auto length = next_int<std::uint64_t>(rest);
  const auto mode = next_mode(rest);
  if (!length || *length > std::uint64_t{INT64_MAX} || !mode) return bad("put needs name, length and mode");
  return said(PutFile{context.second, *length, *mode}, *length);
}

Outcome on_dir(std::string_view rest, Context& context) {
  auto name = read_name(rest, context);
  if (failed(name)) return name;
  if (context.depths.size() >= max_directory_depth) return too_large("nesting of directories");
  context.depths.push_back(context.path.size());
  context.path = context.second;
  return said(BeginDirectory{context.path});
}

Outcome on_symlink(std::string_view rest, Context& context) {
  if (context.depths.empty()) return unknown("symlink outside a directory");
  auto name = read_name(rest, context);
  if (failed(name)) return name;
  const auto length = next_int<std::uint64_t>(rest);
  if (!length || *length == 0) return bad("symlink needs name and length");
  if (*length > max_symlink_target) return too_large("symlink target");
  context.wanted = Context::Wanted::symlink_target;
  context.wanted_length = *length;
  return {};
}

Outcome on_dir_end(std::string_view rest, Context& context) {
  if (!rest.empty() || context.depths.empty()) return unknown("end without a directory");
  context.second = context.path;
  context.path.resize(context.depths.back());
  context.depths.pop_back();
  return said(EndDirectory{context.second});
}

// puturl and putcmd: text and name, both encoded.
template <class Message>
Outcome put_recipe(std::string_view rest, Context& context) {
  if (!decode_name(next_name(rest), context.first) || context.first.empty()) return bad("bad url or command");
  if (!decode_name(next_name(rest), context.second)) return bad("malformed escape in a name");
  if (!is_safe_name(context.second)) return unsafe("name leaves the cache");
  const auto size = next_int<std::int64_t>(rest);
  const auto mode = next_mode(rest);
  if (!size || *size < 0 || !mode) return bad("needs url or command, name, size and mode");
  return said(Message{context.first, context.second, static_cast<std::uint64_t>(*size), *mode});
}

Outcome on_put_url(std::string_view rest, Context& context) {
  if (context.version < 11) return unknown("puturl is not of this version");
  return put_recipe<PutUrl>(rest, context);
}

Outcome on_put_command(std::string_view rest, Context& context) {
  if (context.version < 11) return unknown("putcmd is not of this version");
  return put_recipe<PutCommand>(rest, context);
}

Outcome on_legacy_url(std::string_view rest, Context& context) {
  if (context.version >= 11) return unknown("url is not of this version");
  context.second = next_token(rest);
  if (!is_safe_name(context.second)) return unsafe("name leaves the cache");
  const auto length = next_int<std::uint64_t>(rest);
  const auto mode = next_mode(rest);
  if (!length || *length == 0 || !mode) return bad("url needs name, length, mode and flags");
  if (*length > max_url) return too_large("url");
  context.url_mode = *mode;
  context.url_flags = next_int<int>(rest).value_or(0);
  context.wanted = Context::Wanted::url;
  context.wanted_length = *length;
  return {};
}

// thirdget and thirdput: the last argument runs to the end of the line, not encoded.
template <class Message>
Outcome third(std::string_view rest, Context& context) {
  if (context.version >= 11) return unknown("third-party transfers are not of this version");
  const auto kind = next_int<int>(rest);
  const auto name = next_token(rest);
  const auto text = skip_blanks(rest);
  if (!kind || *kind < 1 || *kind > 3 || text.empty()) return bad("third-party transfer needs kind, name and text");
  if (!is_safe_name(name)) return unsafe("name leaves the cache");
  return said(Message{static_cast<ThirdKind>(*kind), name, text});
}

Outcome on_unlink(std::string_view rest, Context& context) {
  if (!decode_name(next_name(rest), context.first)) return bad("malformed escape in a name");
  if (!is_safe_name(context.first)) return unsafe("name leaves the cache");
  return said(Unlink{context.first});
}

Outcome on_invalidate(std::string_view rest, Context& context) {
  // Only a hint, and only for foremen: a name we cannot read is no reason to hang up.
  if (!decode_name(next_name(rest), context.first)) context.first.clear();
  return said(InvalidateFile{context.first});
}

// --- tasks ---

Outcome on_task(std::string_view rest, Context& context) {
  const auto id = next_int<int>(rest);
  if (!id || *id <= 0) return bad("task needs a positive id");
  context.task_opened = true;
  context.task_id = *id;
  return {};
}

Outcome on_send_results(std::string_view rest, Context&) {
  const auto count = next_int<std::int64_t>(rest);
  return count ? said(SendResults{*count}) : bad("send_results needs a number");
}

Outcome on_get(std::string_view rest, Context& context) {
  if (!decode_name(next_name(rest), context.first)) return bad("malformed escape in a name");
  if (!is_safe_name(context.first)) return unsafe("get of a name outside the cache");
  const auto recursive = next_int<std::int64_t>(rest);
  return recursive ? said(Get{context.first, *recursive != 0}) : bad("get needs a name and a number");
}

Outcome on_kill(std::string_view rest, Context&) {
  const auto id = next_int<std::int64_t>(rest);
  return id ? said(Kill{*id}) : bad("kill needs a task id");
}

// --- the connection ---

Outcome on_tlq(std::string_view rest, Context&) { return said(Tlq{next_token(rest)}); }
Outcome on_auth(std::string_view, Context&) { return said(PasswordRequired{}); }

template <class Message>
Outcome exact(std::string_view rest, Context&) {
  return rest.empty() ? said(Message{}) : unknown();
}

Outcome on_frame(std::string_view rest, Context& context) {
  if (!context.frames) return unknown("extension frame without an agreement");
  const auto kind = next_int<std::uint32_t>(rest);
  const auto length = next_int<std::uint64_t>(rest);
  if (!kind || !length || !skip_blanks(rest).empty()) return bad("extension frame needs a kind and a length");
  if (*length > max_frame) return too_large("extension frame");
  return said(ManagerFrame{*kind, *length}, *length);
}

using Handler = Outcome (*)(std::string_view, Context&);
using Table = KeywordTable<Handler, 19>;
constexpr Table table(std::array<Table::Entry, 19>{{
    {"task", on_task},
    {"tlq", on_tlq},
    {"thirdget", third<ThirdGet>},
    {"thirdput", third<ThirdPut>},
    {"puturl ", on_put_url},      // `put` with a name "url…" and a number second is still `put` to old workers;
    {"putcmd ", on_put_command},  // nobody sends that, while everybody sends these
    {"put", on_put},
    {"dir", on_dir},
    {"unlink", on_unlink},
    {"url", on_legacy_url},
    {"get", on_get},
    {"kill", on_kill},
    {"invalidate-file", on_invalidate},
    {"release", exact<Release>},
    {"exit", exact<Exit>},
    {"check", exact<Check>},
    {"auth", on_auth},
    {"send_results", on_send_results},
    {"wqx", on_frame},
}});

using FrameTable = KeywordTable<Handler, 4>;
constexpr FrameTable directory_table(std::array<FrameTable::Entry, 4>{{
    {"put", on_put},
    {"symlink", on_symlink},
    {"dir", on_dir},
    {"end", on_dir_end},
}});

template <class Keywords>
Outcome look_up(const Keywords& keywords, std::string_view line, Context& context) {
  const auto* entry = keywords.find(line);
  return entry == nullptr ? unknown() : entry->handler(line.substr(entry->word.size()), context);
}

}  // namespace

Parsed<ToWorker> parse_to_worker(std::string_view line, ToWorkerContext& context) {
  return context.depths.empty() ? look_up(table, line, context) : look_up(directory_table, line, context);
}

Parsed<ToWorker> complete_to_worker(std::string& body, ToWorkerContext& context) {
  const auto wanted = std::exchange(context.wanted, Context::Wanted::nothing);
  // Old workers need a NUL behind the target and some managers send one (7.3).
  const auto text = std::string_view(body).substr(0, body.find('\0'));
  if (text.empty()) return bad(wanted == Context::Wanted::url ? "empty url" : "empty symlink target");
  if (wanted == Context::Wanted::url) {
    return said(LegacyUrl{context.second, text, context.url_mode, context.url_flags});
  }
  return said(PutSymlink{context.second, text});
}

}  // namespace taskmill::protocol
