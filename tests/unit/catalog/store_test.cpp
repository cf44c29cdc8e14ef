#include <gtest/gtest.h>

#include "common/base/text.hpp"
#include "common/catalog/core/pages.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/core/record_store.hpp"

namespace taskmill::catalog {
namespace {

Value parse(const std::string& text) { return *read_value(text); }

struct Fixture : ::testing::Test {
  RecordStore store{StoreLimits{}};
  std::int64_t now = 1'000'000;
  Change put(const std::string& text, const std::string& address = "10.0.0.1", const std::string& name = "") {
    return store.put(parse(text), address, name, now);
  }
  std::string all() { return render_page(store, "/query.json").body; }
};
using RecordStoreTest = Fixture;
using Pages = Fixture;

TEST_F(RecordStoreTest, AddressAndTimeAreOurs) {
  put(R"({"type":"x","address":"9.9.9.9","lastheardfrom":1,"address":"8.8.8.8"})");
  EXPECT_EQ(all(), "[\n{\"name\":\"10.0.0.1\",\"lastheardfrom\":1000000,\"address\":\"10.0.0.1\",\"type\":\"x\"}\n]\n");
}

TEST_F(RecordStoreTest, ReverseNameWinsOverAReportedOne) {
  put(R"({"name":"liar","port":1})", "10.0.0.1", "real.example");
  put(R"({"name":"said","port":2})", "10.0.0.2", "");
  EXPECT_NE(store.find("10.0.0.1:1:real.example"), nullptr);
  EXPECT_NE(store.find("10.0.0.2:2:said"), nullptr);
}

TEST_F(RecordStoreTest, TheSameKeyReplacesAndUuidSeparates) {
  EXPECT_EQ(put(R"({"port":1,"n":1})"), Change::created);
  EXPECT_EQ(put(R"({"port":1,"n":2})"), Change::refreshed);
  EXPECT_EQ(put(R"({"port":1,"uuid":"a"})"), Change::created);
  EXPECT_EQ(put(R"({"port":1,"uuid":"b"})"), Change::created);
  EXPECT_EQ(store.size(), 3U);
}

TEST_F(RecordStoreTest, RecordsLiveExactlyAsLongAsTheySay) {
  put(R"({"port":1,"lifetime":5})");
  put(R"({"port":2,"lifetime":99999})");
  put(R"({"port":3})");
  now += 5;
  EXPECT_EQ(store.expire(now), 0U);
  EXPECT_EQ(store.expire(now + 1), 1U);
  EXPECT_EQ(store.expire(1'000'000 + 1800), 0U);
  EXPECT_EQ(store.expire(1'000'000 + 1801), 2U);
  EXPECT_EQ(store.size(), 0U);
  EXPECT_EQ(store.bytes(), 0U);
}

TEST_F(RecordStoreTest, GoodbyeRemovesAtOnce) {
  put(R"({"port":1,"uuid":"u"})");
  EXPECT_EQ(put(R"({"port":1,"uuid":"u","state":"done"})"), Change::removed);
  EXPECT_EQ(put(R"({"port":1,"uuid":"u","state":"done"})"), Change::ignored);
  EXPECT_EQ(all(), "[\n\n]\n");
}

TEST_F(RecordStoreTest, AFloodFromOneAddressPushesOutItsOwnRecords) {
  RecordStore small(StoreLimits{.records = 10});
  small.put(parse(R"({"port":1})"), "10.0.0.2", "", now);
  for (int i = 0; i < 1000; ++i) small.put(parse("{\"port\":" + std::to_string(i) + "}"), "10.0.0.1", "", now);
  EXPECT_EQ(small.size(), 10U);
  EXPECT_NE(small.find("10.0.0.2:1:10.0.0.2"), nullptr);
  EXPECT_NE(small.find("10.0.0.1:999:10.0.0.1"), nullptr);
  EXPECT_EQ(small.find("10.0.0.1:0:10.0.0.1"), nullptr);
}

TEST_F(RecordStoreTest, ByteLimitHolds) {
  RecordStore small(StoreLimits{.bytes = 100'000});
  for (int i = 0; i < 100; ++i) {
    small.put(parse("{\"port\":" + std::to_string(i) + ",\"x\":\"" + std::string(5000, 'a') + "\"}"), "10.0.0.1", "",
              now);
    EXPECT_LE(small.bytes(), 100'000U);
  }
  EXPECT_GT(small.size(), 5U);
}

TEST_F(RecordStoreTest, AdoptKeepsTheNewerRecordAndItsAddress) {
  put(R"({"port":1,"n":"ours"})");
  EXPECT_EQ(
      store.adopt(parse(R"({"name":"10.0.0.1","lastheardfrom":999999,"address":"10.0.0.1","port":1,"n":"old"})"), now),
      Change::ignored);
  EXPECT_EQ(store.adopt(parse(R"({"name":"h","lastheardfrom":999000,"address":"10.0.0.7","port":2})"), now),
            Change::created);
  EXPECT_EQ(store.find("10.0.0.7:2:h")->last_heard, 999000);
  EXPECT_EQ(store.adopt(parse(R"({"name":"h","lastheardfrom":5,"address":"10.0.0.8","port":2})"), now),
            Change::ignored);
}

TEST_F(RecordStoreTest, StringsThatOldClientsRefuseAreNotServed) {
  EXPECT_EQ(put("{\"x\":\"" + std::string(65'000, 'a') + "\"}"), Change::created);
  EXPECT_EQ(put("{\"x\":[{\"y\":\"" + std::string(65'001, 'a') + "\"}]}"), Change::ignored);
  EXPECT_EQ(put("{\"" + std::string(65'001, 'a') + "\":1}"), Change::ignored);
  EXPECT_EQ(put("{\"x\":\"" + std::string(30'000, '\xFF') + "\"}"),
            Change::ignored);  // grows while it is made readable
}

TEST_F(RecordStoreTest, BelievableSizeCapsTotals) {
  RecordStore capped(StoreLimits{.believable_size = 100});
  capped.put(parse(R"({"total":500,"avail":50})"), "a", "", now);
  EXPECT_EQ(capped.find("a:0:a")->value.integer("total"), 100);
  EXPECT_EQ(capped.find("a:0:a")->value.integer("avail"), 50);
}

TEST_F(Pages, RecordsAreSortedByNameIgnoringCase) {
  put(R"({"port":1})", "1", "beta");
  put(R"({"port":2})", "2", "Alpha");
  put(R"({"port":3})", "3", "Gamma");
  const auto body = all();
  EXPECT_LT(body.find("Alpha"), body.find("beta"));
  EXPECT_LT(body.find("beta"), body.find("Gamma"));
}

TEST_F(Pages, FilterInEitherAlphabetWithOrWithoutPadding) {
  put(R"({"port":1,"project":"spec?demo"})");
  put(R"({"port":2,"project":"other"})");
  const std::string filter = R"(like("spec.?demo",project))";
  std::string encoded = base64_encode(filter);
  ASSERT_NE(encoded.find('/'), std::string::npos);  // the one that could never be sent
  std::string url_safe = encoded;
  for (char& c : url_safe) c = c == '/' ? '_' : c == '+' ? '-' : c;
  while (encoded.back() == '=') encoded.pop_back();
  for (const auto& text : {encoded, url_safe}) {
    const auto page = render_page(store, "/query/" + text);
    EXPECT_EQ(page.status, 200);
    EXPECT_NE(page.body.find("\"port\":1"), std::string::npos);
    EXPECT_EQ(page.body.find("\"port\":2"), std::string::npos);
  }
}

TEST_F(Pages, WrongQueriesGet400) {
  EXPECT_EQ(render_page(store, "/query/*").body, "Invalid base-64 encoding.\n");
  EXPECT_EQ(render_page(store, "/query/" + base64_encode("a ==")).body, "Invalid query text.\n");
  EXPECT_EQ(render_page(store, "/query/" + base64_encode("a ==")).status, 400);
}

TEST_F(Pages, HtmlIsEscapedEverywhere) {
  put(R"({"port":1,"owner":"<script>","x\"><b>":"&'"})", "10.0.0.1", "");
  for (const auto* path : {"/", "/detail/10.0.0.1:1:10.0.0.1", "/<script>", "http://h/<script>"}) {
    const auto page = render_page(store, path);
    EXPECT_EQ(page.body.find("<script>"), std::string::npos) << path;
    EXPECT_EQ(page.body.find("<b>"), std::string::npos) << path;
  }
  EXPECT_EQ(render_page(store, "/nothing").status, 404);
  EXPECT_NE(render_page(store, "/detail/nobody").body.find("Unknown Item!"), std::string::npos);
}

TEST_F(Pages, TextAndClassads) {
  put(R"({"port":1,"s":"a\nb","o":{"k":[1]}})");
  EXPECT_EQ(render_page(store, "/query.text").body,
            "name 10.0.0.1\nlastheardfrom 1000000\naddress 10.0.0.1\nport 1\ns a b\no {\"k\":[1]}\n\n");
  EXPECT_EQ(render_page(store, "/query.newclassads").body,
            "[\nname=\"10.0.0.1\";\nlastheardfrom=1000000;\naddress=\"10.0.0.1\";\nport=1;\ns=\"a\\nb\";\no={\"k\":[1]}"
            ";\n]\n");
}

TEST_F(Pages, HeadIsWhatOldClientsExpect) {
  EXPECT_EQ(page_head(200, "text/plain", 5, 0),
            "HTTP/1.1 200 OK\nDate: Thu, 01 Jan 1970 00:00:00 GMT\nServer: catalog_server\nConnection: close\n"
            "Access-Control-Allow-Origin: *\nContent-Length: 5\nContent-type: text/plain\n\n");
}

}  // namespace
}  // namespace taskmill::catalog
