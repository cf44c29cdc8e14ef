// What strangers send to a catalog: updates (plain, compressed, legacy lines), filters, and replies to our queries.
#include "common/catalog/core/candidates.hpp"
#include "common/catalog/core/compression.hpp"
#include "common/catalog/core/expression.hpp"
#include "common/catalog/core/http_client.hpp"
#include "common/catalog/core/pages.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/core/record_store.hpp"
#include "tests/fuzz/session_checks.hpp"

using namespace taskmill;
using namespace taskmill::catalog;
using fuzzing::require;

namespace {

Value sample() {
  static const Value record = *read_value(R"({"type":"foo","project":"p","port":7,"arr":[1,2],"o":{"a":1},"f":1.5})");
  return record;
}

void check_update(std::string_view bytes) {
  const auto text = unpack_update(bytes);
  if (!text) return;
  require(text->size() <= update_limit, "updates are bounded");
  auto record = read_record(*text);
  if (!record) return;
  const auto printed = print(*record);
  const auto again = read_value(printed);
  require(again.has_value(), "what we print can be read");
  require(print(*again) == printed, "printing is stable");
  RecordStore store{StoreLimits{.records = 4}};
  store.put(*record, "10.0.0.1", "", 1000);
  store.for_each([](const StoredRecord& stored) {
    require(stored.value.text("address") == "10.0.0.1" && stored.value.integer("lastheardfrom") == 1000,
            "address and time are ours");
  });
  for (const auto* path : {"/", "/query.json", "/query.text", "/query.newclassads"}) (void)render_page(store, path);
  (void)pick_candidates({*record}, *Regex::whole(".*"), {}, 1000);
}

void check_filter(std::string_view text) {
  for (const bool trusted : {false, true}) {
    const auto expression = Expression::parse(text, trusted);
    if (!expression) continue;
    const auto truth = expression->test(sample());
    require(expression->keeps(sample()) == (truth == Truth::yes || truth == Truth::doubt), "yes and doubt are kept");
    (void)expression->evaluate(sample());
  }
}

void check_reply(std::string_view bytes) {
  HttpReader whole(1U << 16);
  const bool fine = whole.feed(bytes) && whole.finish();
  HttpReader parts(1U << 16);
  bool parts_fine = true;
  for (std::size_t i = 0; i < bytes.size() && parts_fine; ++i) parts_fine = parts.feed(bytes.substr(i, 1));
  parts_fine = parts_fine && parts.finish();
  require(fine == parts_fine, "pieces are read like the whole");
  if (fine) require(whole.status() == parts.status() && whole.take_body() == parts.take_body(), "pieces give the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_update(text);
  check_filter(text);
  if (size < 4096) check_reply(text);
  RecordStore empty{StoreLimits{}};
  (void)render_page(empty, text);
  (void)parse_host_list(text, 9097);
  (void)parse_url(text);
  return 0;
}
