#include "protocol/parse_from_worker.hpp"

#include <algorithm>
#include <array>

#include "common/base/text.hpp"
#include "protocol/keyword_table.hpp"
#include "protocol/limits.hpp"

namespace taskmill::protocol {
namespace {

using Outcome = Parsed<FromWorker>;
using Exchange = FromWorkerContext::Exchange;

Outcome bad(std::string_view why) { return {Problem::malformed, why, 0, std::nullopt}; }
Outcome unknown(std::string_view why = "unknown message") { return {Problem::unknown_message, why, 0, std::nullopt}; }
Outcome ignored() { return {}; }

template <class Message>
Outcome said(Message message, std::uint64_t body = 0) {
  Outcome outcome;
  outcome.body = body;
  outcome.message = message;
  return outcome;
}

// --- lines that may come at any time ---

Outcome on_alive(std::string_view, const FromWorkerContext&) { return said(Alive{}); }
Outcome on_available(std::string_view, const FromWorkerContext&) { return said(AvailableResults{}); }
Outcome on_name(std::string_view, const FromWorkerContext&) { return said(NameQuery{}); }
Outcome on_tlq(std::string_view rest, const FromWorkerContext&) { return said(TlqToken{next_token(rest)}); }

Outcome on_auth(std::string_view, const FromWorkerContext&) {
  return {Problem::auth_unexpected, "the peer wants to use a password and this side has none", 0, std::nullopt};
}

Outcome on_ready(std::string_view, const FromWorkerContext&) { return unknown("incompatible, very old worker"); }

Outcome on_greeting(std::string_view rest, const FromWorkerContext&) {
  // A version may be decorated ("11+x", extension point 2): its leading number counts.
  const auto word = next_token(rest);
  auto digits = std::min(word.find_first_not_of("0123456789", word.starts_with('+') ? 1 : 0), word.size());
  const auto version = parse_int(word.substr(0, digits));
  if (!version || *version > 1'000'000) return bad("greeting without a version");
  Greeting greeting;
  greeting.version = static_cast<int>(*version);
  greeting.hostname = next_token(rest);
  greeting.os = next_token(rest);
  greeting.arch = next_token(rest);
  greeting.software = next_token(rest);
  greeting.extra = skip_blanks(rest);
  if (greeting.software.empty()) return bad("greeting with too few words");
  return said(greeting);
}

// Status queries are exact (13): a longer word or an argument closes the connection.
template <StatusKind kind>
Outcome on_status(std::string_view rest, const FromWorkerContext&) {
  return rest.empty() ? said(StatusQuery{kind}) : bad("status query with something behind it");
}

Outcome on_resource(std::string_view rest, const FromWorkerContext&) {
  ResourceReport report;
  report.name = next_token(rest);
  if (report.name == "tag") {
    const auto tag = next_int<std::int64_t>(rest);
    return tag ? said(ResourceTag{*tag}) : bad("resource tag without a number");
  }
  const auto total = next_number(rest);
  const auto smallest = next_number(rest);
  const auto largest = next_number(rest);
  if (!total || !smallest || !largest) return bad("resource without three numbers");
  report.total = *total;
  report.smallest = *smallest;
  report.largest = *largest;
  return said(report);
}

Outcome on_feature(std::string_view rest, const FromWorkerContext& context) {
  const auto encoded = next_name(rest);
  if (encoded.empty()) return bad("feature without a name");
  if (!decode_name(encoded, *context.scratch)) return bad("feature with a malformed escape");
  return said(Feature{*context.scratch});
}

Outcome on_info(std::string_view rest, const FromWorkerContext&) {
  Info message;
  message.field = next_token(rest);
  message.value = skip_blanks(rest);
  return message.value.empty() ? bad("info without a value") : said(message);
}

// Version 11 managers ignore malformed variants of these two, and so do we as far as framing permits.
Outcome on_cache_update(std::string_view rest, const FromWorkerContext& context) {
  if (context.version != 0 && context.version < 11) return unknown("cache-update is not of this version");
  CacheUpdate update;
  update.name = next_token(rest);
  const auto size = next_int<std::uint64_t>(rest);
  const auto transfer = next_int<std::int64_t>(rest);
  if (!size || !transfer) return ignored();
  update.size = *size;
  update.transfer_us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, *transfer));
  return said(update);
}

Outcome on_cache_invalid(std::string_view rest, const FromWorkerContext& context) {
  if (context.version != 0 && context.version < 11) return unknown("cache-invalid is not of this version");
  CacheInvalid invalid;
  invalid.name = next_token(rest);
  if (skip_blanks(rest).empty()) return ignored();
  const auto length = next_int<std::uint64_t>(rest);
  if (!length) return bad("cache-invalid with a bad length");
  invalid.length = *length;
  return said(invalid, *length);
}

Outcome on_frame(std::string_view rest, const FromWorkerContext& context) {
  if (!context.frames) return unknown("extension frame without an agreement");
  const auto kind = next_int<std::uint32_t>(rest);
  const auto length = next_int<std::uint64_t>(rest);
  if (!kind || !length || !skip_blanks(rest).empty()) return bad("extension frame needs a kind and a length");
  if (*length > max_frame) return {Problem::too_large, "extension frame", 0, std::nullopt};
  return said(Frame{*kind, *length}, *length);
}

// --- items of replies ---

Outcome on_result(std::string_view rest, const FromWorkerContext& context) {
  if (context.exchange != Exchange::results) return unknown("result without send_results");
  const auto status = next_int<int>(rest);
  const auto exit_code = next_int<int>(rest);
  const auto length = next_int<std::uint64_t>(rest);
  const auto time = next_int<std::int64_t>(rest);
  const auto id = next_int<std::int64_t>(rest);
  if (!status || !exit_code || !length || !time || !id) return bad("result needs five numbers");
  const auto time_us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, *time));
  return said(TaskResult{*status, *exit_code, *length, time_us, *id, skip_blanks(rest)}, *length);
}

// Cuts the last word off. The name before it may hold blanks; the one blank between them is not part of it.
std::string_view cut_last_word(std::string_view& text) {
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  const auto at = text.rfind(' ');
  if (at == std::string_view::npos) return {};
  const auto word = text.substr(at + 1);
  text = text.substr(0, at);
  return word;
}

// Lengths and error numbers of items are pure digits (11).
std::optional<std::uint64_t> pure_digits(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const auto value = parse_int(text);
  return value ? std::optional<std::uint64_t>(static_cast<std::uint64_t>(*value)) : std::nullopt;
}

Outcome on_update(std::string_view rest, const FromWorkerContext& context) {
  if (context.exchange != Exchange::results) return unknown("update without send_results");
  const auto id = next_int<std::int64_t>(rest);
  const auto length = pure_digits(cut_last_word(rest));
  const auto offset = pure_digits(cut_last_word(rest));
  const auto path = skip_blanks(rest);
  if (!id || !length || !offset || path.empty()) return bad("update needs id, path, offset and length");
  return said(WatchUpdate{*id, path, *offset, *length}, *length);
}

struct Item {
  std::string_view path;
  std::uint64_t number = 0;
};

// `<cache name>[/<path>] <number>`. The prefix must be exact and the path must stay below it (11).
Outcome parse_item(std::string_view rest, const FromWorkerContext& context, Item& item) {
  if (context.exchange != Exchange::get) return unknown("file item without a get");
  rest = skip_blanks(rest);
  const auto number = pure_digits(cut_last_word(rest));
  if (!number) return bad("file item needs a name and a number");
  item.number = *number;
  Outcome unsafe{Problem::unsafe_name, "file item outside what was asked for", 0, std::nullopt};
  if (!rest.starts_with(context.get_name)) return unsafe;
  rest.remove_prefix(context.get_name.size());
  if (!rest.empty()) {
    if (rest.front() != '/' || !is_safe_relative_path(rest.substr(1))) return unsafe;
    rest.remove_prefix(1);
  }
  item.path = rest;
  return {};
}

Outcome on_file(std::string_view rest, const FromWorkerContext& context) {
  Item item;
  auto outcome = parse_item(rest, context, item);
  if (outcome.problem != Problem::none) return outcome;
  return said(FileItem{item.path, item.number}, item.number);
}

Outcome on_dir(std::string_view rest, const FromWorkerContext& context) {
  Item item;
  auto outcome = parse_item(rest, context, item);
  return outcome.problem != Problem::none ? outcome : said(DirItem{item.path});
}

Outcome on_missing(std::string_view rest, const FromWorkerContext& context) {
  Item item;
  auto outcome = parse_item(rest, context, item);
  if (outcome.problem != Problem::none) return outcome;
  return said(MissingItem{item.path, static_cast<int>(std::min<std::uint64_t>(item.number, 1U << 30))});
}

Outcome on_end(std::string_view rest, const FromWorkerContext& context) {
  if (!rest.empty() || context.exchange == Exchange::none) return unknown("end without a request");
  return context.exchange == Exchange::results ? said(ResultsEnd{}) : said(GetEnd{});
}

Outcome on_third_put(std::string_view rest, const FromWorkerContext& context) {
  if (context.version >= 11) return unknown("thirdput-complete is not of this version");
  const auto ok = next_int<int>(rest);
  return ok ? said(ThirdPutComplete{*ok != 0}) : bad("thirdput-complete without a number");
}

using Handler = Outcome (*)(std::string_view, const FromWorkerContext&);
using Table = KeywordTable<Handler, 25>;
constexpr Table table(std::array<Table::Entry, 25>{{
    {"alive", on_alive},
    {"available_results", on_available},
    {"auth", on_auth},
    {"workqueue", on_greeting},
    {"worker_status", on_status<StatusKind::worker>},
    {"wable_status", on_status<StatusKind::wable>},
    {"wqx", on_frame},
    {"queue_status", on_status<StatusKind::queue>},
    {"task_status", on_status<StatusKind::task>},
    {"tlq", on_tlq},
    {"thirdput-complete", on_third_put},
    {"resources_status", on_status<StatusKind::resources>},
    {"resource", on_resource},
    {"ready", on_ready},
    {"result", on_result},
    {"feature", on_feature},
    {"file", on_file},
    {"name", on_name},
    {"info", on_info},
    {"cache-update", on_cache_update},
    {"cache-invalid", on_cache_invalid},
    {"update", on_update},
    {"dir", on_dir},
    {"missing", on_missing},
    {"end", on_end},
}});

}  // namespace

Parsed<FromWorker> parse_from_worker(std::string_view line, const FromWorkerContext& context) {
  const auto* entry = table.find(line);
  if (entry == nullptr) return unknown();
  return entry->handler(line.substr(entry->word.size()), context);
}

}  // namespace taskmill::protocol
