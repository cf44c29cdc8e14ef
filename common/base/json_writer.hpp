// JSON text without a document in memory: values are appended to a string as they are known.
//
//   JsonWriter json(out);
//   json.begin_object().key("id").number(7).key("name").text("a").end_object();      // {"id":7,"name":"a"}
//
// Commas are placed by the writer. Text is always valid UTF-8 on output: broken bytes become U+FFFD. The caller
// keeps begin and end balanced; nesting is limited to 64 levels (one bit each).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace taskmill {

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);
  JsonWriter& text(std::string_view value);
  JsonWriter& number(std::int64_t value);
  /// Shortest text that reads back as the same double; not a number and infinities become null.
  JsonWriter& real(double value);
  JsonWriter& boolean(bool value);
  JsonWriter& null();
  /// A value that is JSON already.
  JsonWriter& raw(std::string_view json);

  JsonWriter& field(std::string_view name, std::string_view value) { return key(name).text(value); }
  JsonWriter& field(std::string_view name, std::int64_t value) { return key(name).number(value); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();

  std::string& out_;
  std::uint64_t filled_ = 0;  ///< one bit per level: something was written, a comma is due
  int depth_ = 0;
  bool after_key_ = false;
};

/// Appends `value` as a JSON string, quotes included.
void append_json_string(std::string& out, std::string_view value);
/// One character below 0x80 as an escape sequence, the short one where there is one.
void append_json_escape(std::string& out, unsigned char c);

}  // namespace taskmill
