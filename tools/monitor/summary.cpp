#include "tools/monitor/summary.hpp"

#include <cmath>
#include <cstdio>

#include "common/base/json_writer.hpp"

namespace taskmill::monitor {

namespace {

/// Cut for whole numbers, rounded for the others, without trailing zeros: 2, 0.991, 1795412065.189118.
std::string number(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, decimals == 0 ? std::trunc(value) : value);
  std::string out = text;
  if (decimals > 0) {
    out.resize(out.find_last_not_of('0') + 1);
    if (out.back() == '.') out.pop_back();
  }
  return out;
}

void write_value(JsonWriter& json, Resource r, double value, int decimals, std::string_view unit) {
  json.key(info(r).name).begin_array().raw(number(value, decimals)).text(unit).end_array();
}

void write_values(JsonWriter& json, const Values& values) {
  for_each_resource([&](Resource r) {
    if (values[r] && *values[r] >= 0) write_value(json, r, *values[r], info(r).decimals, info(r).unit);
  });
}

void write_limits(JsonWriter& json, const char* key, const Values& values) {
  bool any = false;
  for_each_resource([&](Resource r) { any |= values[r].has_value(); });
  if (!any) return;
  json.key(key).begin_object();
  for_each_resource([&](Resource r) {
    if (values[r]) write_value(json, r, *values[r], 6, info(r).unit);
  });
  json.end_object();
}

void write_peaks(JsonWriter& json, const Values& peaks) {
  json.key("peak_times").begin_object();
  for (std::size_t i = resource_count; i-- > 0;) {
    const auto r = static_cast<Resource>(i);
    if (peaks[r]) write_value(json, r, *peaks[r], 3, "s");
  }
  json.end_object();
}

void write_snapshot(JsonWriter& json, const Snapshot& snapshot) {
  json.begin_object().field("snapshot_name", snapshot.name);
  write_values(json, snapshot.values);
  json.end_object();
}

}  // namespace

std::string to_json(const Summary& s, bool pretty) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  for (const auto& [key, value] : s.verbatim) json.field(key, value);
  json.field("command", s.command).field("exit_status", s.exit_status).field("exit_type", s.exit_type);
  if (s.signal) json.field("signal", *s.signal);
  write_limits(json, "limits_exceeded", s.limits_exceeded);
  // A string, because readers of the old summaries end at objects they do not know.
  if (!s.limits_used.empty()) json.field("limits_used", s.limits_used);
  write_values(json, s.values);
  write_peaks(json, s.peak_times);
  if (!s.snapshots.empty()) {
    json.key("snapshots").begin_array();
    for (const auto& snapshot : s.snapshots) write_snapshot(json, snapshot);
    json.end_array();
  }
  json.end_object();
  return pretty ? "\n" + indent_json(out) + "\n" : out;
}

std::string to_json(const Snapshot& snapshot, bool pretty) {
  std::string out;
  JsonWriter json(out);
  write_snapshot(json, snapshot);
  return pretty ? "\n" + indent_json(out) + "\n" : out;
}

std::string indent_json(const std::string& compact) {
  std::string out;
  std::vector<std::size_t> outer;  // indents of the items around us
  std::size_t items = 0;           // indent of the items of the present container
  bool in_string = false;
  const auto new_line = [&](std::size_t indent) { out.append("\n").append(indent, ' '); };
  for (std::size_t i = 0; i < compact.size(); ++i) {
    const char c = compact[i];
    if (in_string) {
      out += c;
      if (c == '\\') out += compact[++i];
      in_string = c != '"';
    } else if (c == '{' || c == '[') {
      std::size_t own = items;
      if (!out.empty() && out.back() == ':') new_line(own += 2);
      outer.push_back(items);
      items = own + 2;
      out += c;
      const char next = i + 1 < compact.size() ? compact[i + 1] : '\0';
      if (next != '}' && next != ']') new_line(items);
    } else if (c == '}' || c == ']') {
      if (out.back() != '{' && out.back() != '[') new_line(items - 2);
      items = outer.back();
      outer.pop_back();
      out += c;
    } else {
      out += c;
      if (c == ',') new_line(items);
      in_string = c == '"';
    }
  }
  return out;
}

}  // namespace taskmill::monitor
