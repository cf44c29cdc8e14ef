#include "worker/net/disposal.hpp"

#include <algorithm>
#include <utility>

#include "common/os/tree.hpp"
#include "worker/host/sandbox.hpp"

namespace taskmill::worker {
Disposal::Disposal(boost::asio::io_context& io, int directory) : directory_(directory), pool_(io, 1) {}

void Disposal::add(std::string name) {
  names_.push_back(std::move(name));
  pump();
}

void Disposal::add(std::vector<std::string> names) {
  for (auto& name : names) names_.push_back(std::move(name));
  pump();
}

void Disposal::when_idle(std::function<void()> handler) {
  if (idle()) return handler();
  on_idle_ = std::move(handler);
}

void Disposal::recycle(std::string name) {
  used_.push_back(std::move(name));
  pump();
}

void Disposal::keep(std::string name) { spares_.push_back(std::move(name)); }

std::string Disposal::take_spare(const std::string& preferred) {
  if (spares_.empty()) return {};
  const auto same = std::find(spares_.begin(), spares_.end(), preferred);
  if (same != spares_.end()) std::swap(*same, spares_.back());
  auto name = std::move(spares_.back());
  spares_.pop_back();
  return name;
}

void Disposal::pump() {
  if (busy_ || (names_.empty() && used_.empty())) return;
  busy_ = pool_.submit([this, names = std::exchange(names_, {}), used = std::exchange(used_, {}),
                        directory = directory_, stop = stop_]() -> aio::Pool::Done {
    std::vector<std::string> clean;
    for (const auto& name : used) {
      if (clean.size() < most_spares && make_pristine(directory, name, *stop)) {
        clean.push_back(name);
      } else {
        os::remove_tree(directory, name, stop.get());
      }
    }
    for (const auto& name : names) os::remove_tree(directory, name, stop.get());
    return [this, clean = std::move(clean)] {
      busy_ = false;
      for (const auto& name : clean) has_room() ? keep("trash/" + name) : add(name);
      pump();
      if (idle() && on_idle_) std::exchange(on_idle_, nullptr)();
    };
  });
}

}  // namespace taskmill::worker
