#include "worker/net/seeker.hpp"

#include <algorithm>
#include <utility>

#include "protocol/limits.hpp"

namespace taskmill::worker {
namespace {

constexpr Duration connect_limit = std::chrono::seconds(15);

// In the words the users of the old worker look for.
std::string familiar(const std::string& text) {
  constexpr std::string_view lookup = "cannot find the address of ";
  if (text.starts_with("cannot connect to ")) return "couldn't connect to " + text.substr(18);
  if (text.starts_with(lookup)) {
    auto rest = text.substr(lookup.size());
    std::erase(rest, '\'');  // they look for the bare name
    return "couldn't resolve hostname " + rest;
  }
  return text;
}

}  // namespace

int Seeker::version_for(const std::string& key) const {
  if (fixed_version_ != 0) return fixed_version_;
  const auto at = versions_.find(key);
  return at == versions_.end() ? protocol::version_newest : at->second;
}

void Seeker::begin_pass(Skip skip, Found found, Failed failed) {
  skip_ = std::move(skip);
  found_ = std::move(found);
  failed_ = std::move(failed);
  active_ = true;
  targets_.clear();
  next_ = 0;
  if (finder_) {
    finder_->find([this](auto candidates) { on_candidates(candidates); });
    return;
  }
  for (const auto& host : hosts_) targets_.push_back({host, host.text(), ssl_, version_for(host.text())});
  order_targets();
  try_next();
}

void Seeker::on_candidates(const Expected<std::vector<catalog::ManagerCandidate>>& found) {
  if (!active_) return;
  if (!found) {
    log_.notice("unable to contact catalog server at " + finder_->catalogs_text() + ": " + found.error().text);
    return end_pass();
  }
  if (found->empty()) log_.detail("no manager of that name is known to the catalog at " + finder_->catalogs_text());
  for (const auto& manager : *found) {
    for (const auto& host : manager.hosts) {
      Target target{{host, manager.port}, manager.key, manager.ssl, manager.protocol};
      if (ssl_ && !manager.ssl) {
        log_.complain("work_queue_worker: --ssl was given, but manager " + target.address.text() +
                      " is not using ssl.");
        continue;
      }
      if (fixed_version_ != 0) target.version = fixed_version_;
      if (const auto at = versions_.find(manager.key); at != versions_.end()) target.version = at->second;
      targets_.push_back(std::move(target));
    }
  }
  order_targets();
  try_next();
}

// A manager that had no work is asked last, not first again.
void Seeker::order_targets() {
  const auto last = std::exchange(last_key_, {});
  if (last.empty()) return;
  const auto behind =
      std::find_if(targets_.rbegin(), targets_.rend(), [&](const Target& target) { return target.key == last; });
  std::rotate(targets_.begin(), behind.base(), targets_.end());
  if (behind == targets_.rend()) return;
}

void Seeker::go_on() {
  if (active_) try_next();
}

void Seeker::try_next() {
  while (next_ < targets_.size() && skip_ && skip_(targets_[next_].key)) ++next_;
  if (next_ >= targets_.size()) return end_pass();
  const Target& target = targets_[next_++];
  dial_ =
      catalog::Dial::start(io_, {target.address.host, target.address.port}, connect_limit, [this, target](auto socket) {
        dial_.reset();
        if (!active_) return;
        if (!socket) {
          log_.complain(familiar(socket.error().text));
          return try_next();
        }
        found_(std::move(**socket), target);
      });
}

void Seeker::end_pass() {
  active_ = false;
  if (finder_) finder_->forget();
  if (auto failed = failed_) failed();
}

void Seeker::cancel() {
  active_ = false;
  if (finder_) finder_->cancel();
  if (dial_) std::exchange(dial_, nullptr)->cancel();
}

}  // namespace taskmill::worker
