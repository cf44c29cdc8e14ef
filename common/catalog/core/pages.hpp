// What the catalog answers to a path: status, type and body, from the store alone (catalog.md 4.3).
//
// Everything that came from outside is escaped. Filters may be sent in standard or URL-safe base64, with or without
// padding; the whole rest of the path is the filter, so a '/' in it is no problem.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/catalog/core/record_store.hpp"

namespace taskmill::catalog {

struct Page {
  int status = 200;
  std::string type;  ///< of Content-type
  std::string body;
};

/// `target` is the request target as received: "/query.json", "/query/dHJ1ZQ==", "http://host:9097/".
Page render_page(const RecordStore& store, std::string_view target);

/// The head of a reply. Lines end in LF, as old clients have always seen them.
std::string page_head(int status, std::string_view type, std::size_t length, std::int64_t unix_time);

/// `a<b` as `a&lt;b`.
std::string html_escape(std::string_view text);

}  // namespace taskmill::catalog
