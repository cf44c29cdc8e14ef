#include "common/catalog/sender_names.hpp"

#include <utility>

#include "common/aio/clock.hpp"

namespace taskmill::catalog {
namespace {

constexpr Duration lookup_patience = std::chrono::seconds(2);
constexpr Duration keep_name = std::chrono::minutes(5);
constexpr Duration keep_failure = std::chrono::minutes(1);
constexpr std::size_t most_waiting = 4096;
constexpr std::size_t most_entries = 10'000;

}  // namespace

void SenderNames::get(const boost::asio::ip::address& address, Handler handler) {
  if (!enabled_) return handler("");
  const auto now = aio::steady_now();
  auto it = entries_.find(address);
  if (it != entries_.end() && it->second.known && it->second.until > now) {
    const std::string name = it->second.name;
    return handler(name);
  }
  if (waiting_ >= most_waiting || (it == entries_.end() && entries_.size() >= most_entries)) return handler("");
  if (it == entries_.end()) it = entries_.try_emplace(address).first;
  auto& entry = it->second;
  entry.waiting.push_back(std::move(handler));
  ++waiting_;
  if (entry.waiting.size() == 1) {
    entry.known = false;
    entry.until = now + lookup_patience;
    entry.lookup = Lookup::reverse(io_, address, [this, address](const std::string& name) {
      settle(address, name, name.empty() ? keep_failure : keep_name);
    });
  }
  arm_sweep();
}

void SenderNames::settle(const boost::asio::ip::address& address, const std::string& name, Duration keep) {
  const auto it = entries_.find(address);
  if (it == entries_.end()) return;
  auto& entry = it->second;
  entry.known = true;
  entry.name = name;
  entry.until = aio::steady_now() + keep;
  entry.lookup.cancel();
  auto waiting = std::exchange(entry.waiting, {});
  waiting_ -= waiting.size();
  for (auto& handler : waiting) handler(name);
}

// Twice a second while anything is waiting: gives up slow lookups and forgets old names.
void SenderNames::arm_sweep() {
  if (sweeping_ || waiting_ == 0) return;
  sweeping_ = true;
  sweep_.expires_after(std::chrono::milliseconds(500));
  sweep_.async_wait([this](ErrorCode error) {
    if (error) return;
    sweeping_ = false;
    const auto now = aio::steady_now();
    std::vector<boost::asio::ip::address> late;
    std::erase_if(entries_, [now](const auto& item) { return item.second.waiting.empty() && item.second.until < now; });
    for (const auto& [address, entry] : entries_) {
      if (!entry.waiting.empty() && entry.until < now) late.push_back(address);
    }
    for (const auto& address : late) settle(address, "", keep_failure);
    arm_sweep();
  });
}

void SenderNames::stop() {
  sweep_.cancel();
  entries_.clear();
  waiting_ = 0;
}

}  // namespace taskmill::catalog
