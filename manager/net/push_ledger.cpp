#include "manager/net/push_ledger.hpp"

#include <utility>

namespace taskmill::manager {

bool PushLedger::begin(std::uint64_t sequence) {
  if (sequence != last_ + 1) return false;
  last_ = sequence;
  batches_.push_back({sequence, 1});
  return true;
}

void PushLedger::end() {
  --batches_.back().left;
  advance();
}

void PushLedger::add(std::int64_t task) {
  settle(task);  // it had this number before and was pushed: that one is done with
  unsettled_[task] = last_;
  ++batches_.back().left;
}

bool PushLedger::settle(std::int64_t task) {
  const auto found = unsettled_.find(task);
  if (found == unsettled_.end()) return false;
  --batches_[static_cast<std::size_t>(found->second - batches_.front().sequence)].left;
  unsettled_.erase(found);
  advance();
  return true;
}

void PushLedger::advance() {
  while (!batches_.empty() && batches_.front().left == 0) {
    acknowledged_ = batches_.front().sequence;
    batches_.pop_front();
  }
}

bool PushLedger::drop(const std::string& name) {
  if (absent_.erase(name) > 0) return false;
  drops_.push_back(name);
  return true;
}

std::uint64_t PushLedger::take(std::vector<std::string>& drops) {
  drops = std::exchange(drops_, {});
  told_ = acknowledged_;
  return acknowledged_;
}

}  // namespace taskmill::manager
