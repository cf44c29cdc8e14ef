#include "tools/monitor/disk_set.hpp"

#include <algorithm>
#include <chrono>

namespace taskmill::monitor {

namespace {
constexpr std::size_t entries_per_step = 500;  // about a millisecond
}

void DiskSet::follow(const std::vector<std::string>& folders) {
  std::erase_if(meters_, [&](const auto& item) {
    return std::find(folders.begin(), folders.end(), item.first) == folders.end();
  });
  for (const auto& folder : folders) meters_.try_emplace(folder, folder);
}

bool DiskSet::step() {
  auto turn = meters_.lower_bound(next_);
  if (turn == meters_.end()) turn = meters_.begin();
  if (turn == meters_.end()) return true;
  if (!turn->second.step(entries_per_step)) return false;
  ++turn;
  const bool round = turn == meters_.end();
  next_ = round ? "" : turn->first;
  return round;
}

void DiskSet::finish(Duration patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  next_.clear();
  // The round under way began in the past; only one that begins now says what is there now.
  while (std::any_of(meters_.begin(), meters_.end(), [](const auto& item) { return item.second.in_round(); }))
    if (step() || std::chrono::steady_clock::now() > deadline) break;
  while (!step() && std::chrono::steady_clock::now() < deadline) {
  }
}

measure::DiskUsage DiskSet::usage() const {
  measure::DiskUsage sum{0, 0, true};
  for (const auto& [folder, meter] : meters_) {
    const auto usage = meter.usage();
    sum.bytes += usage.bytes;
    sum.files += usage.files;
    sum.complete &= usage.complete;
  }
  return sum;
}

}  // namespace taskmill::monitor
