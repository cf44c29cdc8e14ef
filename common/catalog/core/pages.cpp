#include "common/catalog/core/pages.hpp"

#include <array>
#include <ctime>

#include "common/base/text.hpp"
#include "common/catalog/core/expression.hpp"

namespace taskmill::catalog {
namespace {

constexpr std::string_view plain = "text/plain; charset=utf-8";
constexpr std::string_view html = "text/html; charset=utf-8";

Page error_page(int status, std::string text) { return {status, std::string(plain), std::move(text) + "\n"}; }

Page json_list(const RecordStore& store, const Expression* filter) {
  Page page{200, std::string(plain), "[\n"};
  bool first = true;
  store.for_each([&](const StoredRecord& record) {
    if (filter != nullptr && !filter->keeps(record.value)) return;
    if (!first) page.body += ",\n";
    first = false;
    page.body += record.line;
  });
  page.body += "\n]\n";
  return page;
}

Page filtered_list(const RecordStore& store, std::string_view encoded) {
  const auto text = base64_decode(encoded);
  if (!text) return error_page(400, "Invalid base-64 encoding.");
  auto filter = Expression::parse(*text);
  if (!filter) return error_page(400, "Invalid query text.");
  return json_list(store, filter->is_always() ? nullptr : &*filter);
}

Page text_list(const RecordStore& store) {
  Page page{200, std::string(plain), {}};
  store.for_each([&](const StoredRecord& record) {
    for (const auto& [key, value] : *record.value.as_object()) {
      std::string shown = display(value);
      for (char& c : shown) {
        if (static_cast<unsigned char>(c) < 0x20) c = ' ';  // one line stays one line
      }
      page.body += key + " " + clean_utf8(shown) + "\n";
    }
    page.body += "\n";
  });
  return page;
}

Page classads_list(const RecordStore& store) {
  Page page{200, std::string(plain), {}};
  store.for_each([&](const StoredRecord& record) {
    page.body += "[\n";
    for (const auto& [key, value] : *record.value.as_object()) page.body += key + "=" + print(value) + ";\n";
    page.body += "]\n";
  });
  return page;
}

std::string html_start(std::string_view title) {
  return "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>" + html_escape(title) +
         "</title><style>body{font-family:sans-serif}td,th{padding:2px 12px;text-align:left}"
         "tr:nth-child(even){background:#eee}</style></head>\n<body><h1>" +
         html_escape(title) + "</h1>\n";
}

Page overview(const RecordStore& store) {
  Page page{200, std::string(html), html_start("Catalog")};
  page.body += "<p>" + std::to_string(store.size()) +
               " records &middot; <a href=\"/query.json\">JSON</a> &middot; <a href=\"/query.text\">text</a> &middot; "
               "<a href=\"/query.newclassads\">classads</a></p>\n"
               "<table>\n<tr><th>TYPE<th>NAME<th>PORT<th>OWNER<th>VERSION<th>PROJECT</tr>\n";
  store.for_each([&](const StoredRecord& record) {
    const auto cell = [&](const char* key) {
      const Value* value = record.value.find(key);
      return "<td>" + (value != nullptr ? html_escape(display(*value)) : std::string("???"));
    };
    page.body += "<tr>" + cell("type") + "<td><a href=\"/detail/" + html_escape(percent_encode(record.key)) + "\">" +
                 html_escape(record.value.text("name")) + "</a>" + cell("port") + cell("owner") + cell("version") +
                 (record.value.find("project") != nullptr ? cell("project") : "<td>") + "</tr>\n";
  });
  page.body += "</table></body></html>\n";
  return page;
}

Page detail(const RecordStore& store, std::string_view key) {
  const auto decoded = percent_decode(key);
  const auto* record = store.find(key);
  if (record == nullptr && decoded) record = store.find(*decoded);
  Page page{200, std::string(html), {}};
  if (record == nullptr) {
    page.body = html_start("Unknown Item!") + "</body></html>\n";
    return page;
  }
  page.body = html_start(record->value.text("name")) + "<table>\n";
  for (const auto& [name, value] : *record->value.as_object()) {
    page.body += "<tr><th>" + html_escape(name) + "<td>" + html_escape(display(value)) + "</tr>\n";
  }
  page.body += "</table></body></html>\n";
  return page;
}

std::string_view path_of(std::string_view target) {
  constexpr std::string_view scheme = "http://";
  if (target.substr(0, scheme.size()) != scheme) return target;
  target.remove_prefix(scheme.size());
  const auto slash = target.find('/');
  return slash == std::string_view::npos ? "/" : target.substr(slash);
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

const char* reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 503:
      return "Service Unavailable";
    default:
      return "Server Error";
  }
}

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  for (const char c : clean_utf8(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Page render_page(const RecordStore& store, std::string_view target) {
  const auto path = path_of(target);
  if (path == "/" || path == "/query.html") return overview(store);
  if (path == "/query.json") return json_list(store, nullptr);
  if (path == "/query.text") return text_list(store);
  if (path == "/query.newclassads") return classads_list(store);
  if (starts_with(path, "/query/")) return filtered_list(store, path.substr(7));
  if (starts_with(path, "/detail/")) return detail(store, path.substr(8));
  return {404, std::string(html),
          html_start("Not Found") + "<p>There is no page " + html_escape(path) +
              ". Try <a href=\"/\">the overview</a>.</p></body></html>\n"};
}

std::string page_head(int status, std::string_view type, std::size_t length, std::int64_t unix_time) {
  const auto seconds = static_cast<std::time_t>(unix_time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> date{};
  std::strftime(date.data(), date.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  std::string head = "HTTP/1.1 " + std::to_string(status) + " " + reason_of(status) + "\n";
  head += std::string("Date: ") + date.data() + "\nServer: catalog_server\nConnection: close\n";
  head += "Access-Control-Allow-Origin: *\nContent-Length: " + std::to_string(length) + "\n";
  head += "Content-type: " + std::string(type) + "\n\n";
  return head;
}

}  // namespace taskmill::catalog
