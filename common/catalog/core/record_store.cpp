#include "common/catalog/core/record_store.hpp"

#include <algorithm>

namespace taskmill::catalog {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

std::string key_of(const Value& record) {
  const Value* port = record.find("port");
  const auto* number = port != nullptr ? port->as_int() : nullptr;
  std::string key(record.text("address"));
  key += ":" + std::to_string(number != nullptr ? *number : 0) + ":";
  key += record.text("name");
  if (const auto uuid = record.text("uuid"); !uuid.empty()) {
    key += ':';
    key += uuid.substr(0, 128);
  }
  return key;
}

std::size_t count_values(const Value& value) {
  std::size_t count = 1;
  if (const auto* array = value.as_array()) {
    for (const auto& item : *array) count += count_values(item);
  } else if (const auto* object = value.as_object()) {
    for (const auto& member : *object) count += 1 + count_values(member.second);
  }
  return count;
}

// The three keys of ours lead, as old servers print them.
Value with_front(Value record, std::string name, std::int64_t last_heard, const std::string& address) {
  for (const auto* key : {"name", "lastheardfrom", "address"}) record.erase(key);
  Object object;
  object.reserve(record.as_object()->size() + 3);
  object.emplace_back("name", Value(std::move(name)));
  object.emplace_back("lastheardfrom", Value(last_heard));
  object.emplace_back("address", Value(address));
  for (auto& member : *record.as_object()) object.push_back(std::move(member));
  return Value(std::move(object));
}

void cap(Value& record, const char* key, std::int64_t limit) {
  if (record.integer(key) > limit) record.set(key, Value(limit));
}

}  // namespace

namespace {

// Old parsers refuse longer strings, measured here as they are printed.
constexpr std::size_t longest_string = 65'000;

bool is_too_long(std::string_view text) {
  constexpr std::size_t worst_growth = 3;  // a wrong byte becomes the three of U+FFFD
  return text.size() * worst_growth > longest_string && clean_utf8(text).size() > longest_string;
}

}  // namespace

std::string unservable(const Value& record) {
  std::string reason;
  if (const auto* text = record.as_string(); text != nullptr && is_too_long(*text))
    return "a string of more than 65000 bytes";
  if (const auto* array = record.as_array()) {
    for (const auto& item : *array) {
      if (reason.empty()) reason = unservable(item);
    }
  } else if (const auto* object = record.as_object()) {
    for (const auto& [key, value] : *object) {
      if (is_too_long(key)) return "a key of more than 65000 bytes";
      if (reason.empty()) reason = unservable(value);
    }
  }
  return reason;
}

Change RecordStore::put(Value record, const std::string& address, const std::string& reverse_name, std::int64_t now) {
  if (record.as_object() == nullptr || !unservable(record).empty()) return Change::ignored;
  std::string name = reverse_name;
  constexpr std::size_t longest_name = 1024;
  if (name.empty()) name = record.text("name").substr(0, longest_name);
  if (name.empty()) name = address;
  if (limits_.believable_size > 0) {
    cap(record, "total", limits_.believable_size);
    cap(record, "avail", limits_.believable_size);
  }
  return store(with_front(std::move(record), std::move(name), now, address), address, now, now);
}

Change RecordStore::adopt(Value record, std::int64_t now) {
  const std::string address(record.text("address"));
  const auto last_heard = std::min(now, record.integer("lastheardfrom", 0));
  if (record.as_object() == nullptr || address.empty() || !unservable(record).empty()) return Change::ignored;
  std::string name(record.text("name", address));
  auto value = with_front(std::move(record), std::move(name), last_heard, address);
  if (const auto* known = find(key_of(value)); known != nullptr && known->last_heard >= last_heard)
    return Change::ignored;
  return store(std::move(value), address, last_heard, now);
}

Change RecordStore::store(Value record, const std::string& address, std::int64_t last_heard, std::int64_t now) {
  auto key = key_of(record);
  const auto known = order_of_key_.find(key);
  const auto old = known != order_of_key_.end() ? records_.find(known->second) : records_.end();
  if (record.text("state") == "done") {
    if (old == records_.end()) return Change::ignored;
    if (on_change) on_change(Change::removed, old->second, nullptr);
    drop(old);
    return Change::removed;
  }
  const auto asked = record.integer("lifetime");
  const auto lifetime = asked > 0 ? std::min(asked, limits_.lifetime_seconds) : limits_.lifetime_seconds;
  if (last_heard + lifetime < now) return Change::ignored;

  StoredRecord fresh;
  fresh.line = print(record);
  constexpr std::size_t value_weight = 64;
  fresh.weight = 2 * fresh.line.size() + count_values(record) * value_weight;
  fresh.value = std::move(record);
  fresh.last_heard = last_heard;
  fresh.expires = last_heard + lifetime;
  fresh.address = address;
  fresh.key = key;

  Value before;
  const bool replaces = old != records_.end();
  if (replaces) {
    before = std::move(old->second.value);
    drop(old);
  }
  auto& keys = keys_of_address_[address];
  fresh.by_age = keys.insert(keys.end(), key);
  bytes_ += fresh.weight;
  ++generation_;
  std::string order = lower(fresh.value.text("name")) + '\0' + key;
  const auto placed = records_.emplace(order, std::move(fresh)).first;
  order_of_key_[std::move(key)] = std::move(order);
  if (on_change)
    on_change(replaces ? Change::refreshed : Change::created, placed->second, replaces ? &before : nullptr);
  make_room();
  return replaces ? Change::refreshed : Change::created;
}

void RecordStore::drop(Records::iterator it) {
  auto& record = it->second;
  const auto keys = keys_of_address_.find(record.address);
  keys->second.erase(record.by_age);
  if (keys->second.empty()) keys_of_address_.erase(keys);
  bytes_ -= record.weight;
  order_of_key_.erase(record.key);
  records_.erase(it);
  ++generation_;
}

void RecordStore::make_room() {
  while (!records_.empty() && (records_.size() > limits_.records || bytes_ > limits_.bytes)) {
    const auto biggest =
        std::max_element(keys_of_address_.begin(), keys_of_address_.end(),
                         [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
    const auto it = records_.find(order_of_key_.at(biggest->second.front()));
    if (on_change) on_change(Change::removed, it->second, nullptr);
    drop(it);
  }
}

std::size_t RecordStore::expire(std::int64_t now) {
  std::size_t count = 0;
  for (auto it = records_.begin(); it != records_.end();) {
    const auto here = it++;
    if (here->second.expires >= now) continue;
    if (on_change) on_change(Change::removed, here->second, nullptr);
    drop(here);
    ++count;
  }
  return count;
}

const StoredRecord* RecordStore::find(std::string_view key) const {
  const auto it = order_of_key_.find(std::string(key));
  return it != order_of_key_.end() ? &records_.at(it->second) : nullptr;
}

void RecordStore::for_each(const std::function<void(const StoredRecord&)>& visit) const {
  for (const auto& entry : records_) visit(entry.second);
}

}  // namespace taskmill::catalog
