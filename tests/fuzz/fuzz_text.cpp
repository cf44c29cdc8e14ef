// The small decoders: escapes, base64, numbers, names and capability lists.
#include "common/base/text.hpp"
#include "protocol/capabilities.hpp"
#include "protocol/line.hpp"
#include "tests/fuzz/session_checks.hpp"

using namespace taskmill;
using fuzzing::require;

namespace {

void check_escapes(std::string_view text) {
  require(percent_decode(percent_encode(text)) == text, "decoding undoes encoding");
  std::string appended = "before";
  const auto decoded = percent_decode(text);
  require(append_percent_decoded(appended, text) == decoded.has_value(), "both decoders judge alike");
  require(appended == "before" + decoded.value_or(""), "both decoders give the same");
  std::string name;
  require(!decoded || (protocol::decode_name(text, name) && name == *decoded) || text.find("% ") != std::string::npos,
          "names decode like other text");
}

void check_base64(std::string_view text) {
  require(base64_decode(base64_encode(text)) == text, "decoding undoes encoding");
  if (const auto decoded = base64_decode(text)) {
    require(base64_decode(base64_encode(*decoded)) == *decoded, "what decodes encodes");
  }
}

void check_numbers(std::string_view text) {
  if (const auto number = parse_int(text)) {
    require(parse_int(std::to_string(*number)) == *number, "integers survive being printed");
  }
  if (const auto number = parse_number(text)) require(*number - *number == 0.0, "numbers are finite");
  (void)parse_metric(text);
  (void)parse_duration_seconds(text);
  auto rest = text;
  const auto mode = protocol::next_mode(rest);
  require(!mode || *mode <= 0777, "modes are bounded");
  require(rest.size() <= text.size(), "a token is part of its text");
}

void check_paths(std::string_view text) {
  if (!is_safe_relative_path(text)) return;
  for (const auto component : split(text, '/')) require(is_safe_name(component), "a safe path has safe components");
}

void check_capabilities(std::string_view text) {
  const auto set = protocol::parse_capabilities(text);
  require(!set || protocol::parse_capabilities(protocol::format_capabilities(*set)) == set,
          "capabilities survive being printed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_escapes(text);
  check_base64(text);
  check_numbers(text);
  check_paths(text);
  check_capabilities(text);
  return 0;
}
