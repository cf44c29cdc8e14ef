// The directory itself: records by key, each with its last sign of life and its printed form.
//
// put() applies the rules of catalog.md 3.3: `address` and `lastheardfrom` are ours, never the sender's; the name is
// the reverse name of the source, else what the sender says, else its address. A record lives min(its `lifetime`,
// limits.lifetime) seconds, exactly; {"state":"done"} removes it at once. Records are kept in the order in which they
// are served (by name). When the store is full, the address with the most records loses its oldest one.
// generation() changes whenever the set of live records or their text does, so replies can be cached.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/catalog/core/value.hpp"

namespace taskmill::catalog {

struct StoreLimits {
  std::int64_t lifetime_seconds = 1800;
  std::size_t records = 50'000;
  std::size_t bytes = 512U << 20;    ///< estimate: printed text plus the tree
  std::int64_t believable_size = 0;  ///< -M: cap for `total` and `avail`; 0 = none
};

struct StoredRecord {
  std::string key;   ///< "address:port:name[:uuid]"
  Value value;       ///< with name, lastheardfrom, address in front
  std::string line;  ///< value as JSON, without a line end
  std::int64_t last_heard = 0;
  std::int64_t expires = 0;  ///< alive while now <= expires
  std::string address;
  std::size_t weight = 0;
  std::list<std::string>::iterator by_age;
};

/// Why old clients could not read a reply that holds this record (one such record would hide all others from them);
/// empty when they can.
std::string unservable(const Value& record);

enum class Change : std::uint8_t { created, refreshed, removed, ignored };

class RecordStore {
 public:
  explicit RecordStore(StoreLimits limits) : limits_(limits) {}

  /// `record` from `address`; `reverse_name` is empty when the address has no name. `now` in Unix seconds.
  Change put(Value record, const std::string& address, const std::string& reverse_name, std::int64_t now);
  /// Takes over a record of another catalog as it is (with its address and lastheardfrom), if we have none newer.
  Change adopt(Value record, std::int64_t now);
  /// Drops what has expired; returns how many.
  std::size_t expire(std::int64_t now);

  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] std::size_t size() const { return records_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] const StoredRecord* find(std::string_view key) const;
  /// Every record, in serving order.
  void for_each(const std::function<void(const StoredRecord&)>& visit) const;

  /// Told about each change, for the history files and the -L log. The record is valid during the call; `before` is
  /// null for a new one.
  std::function<void(Change, const StoredRecord& record, const Value* before)> on_change;

 private:
  using Records = std::map<std::string, StoredRecord>;  ///< by lower-case name, then key

  Change store(Value record, const std::string& address, std::int64_t last_heard, std::int64_t now);
  void drop(Records::iterator it);
  void make_room();

  StoreLimits limits_;
  Records records_;
  std::unordered_map<std::string, std::string> order_of_key_;
  std::unordered_map<std::string, std::list<std::string>> keys_of_address_;  ///< oldest first
  std::size_t bytes_ = 0;
  std::uint64_t generation_ = 1;
};

}  // namespace taskmill::catalog
