// Finds keys that occur twice in one JSON object. The parser would keep one of the two values without a word.
//
//   UniqueKeys<nlohmann::json> keys;
//   auto json = nlohmann::json::parse(text, std::ref(keys), false);
//   if (!keys.twice.empty()) …
#pragma once

#include <set>
#include <string>
#include <vector>

namespace taskmill {

template <class Json>
struct UniqueKeys {
  std::string twice;  ///< the first one found

  bool operator()(int /*depth*/, typename Json::parse_event_t event, Json& parsed) {
    using Event = typename Json::parse_event_t;
    if (event == Event::object_start) open_.emplace_back();
    if (event == Event::object_end) open_.pop_back();
    if (event == Event::key && twice.empty()) {
      const auto key = parsed.template get<std::string>();
      if (!open_.back().insert(key).second) twice = key;
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> open_;
};

}  // namespace taskmill
