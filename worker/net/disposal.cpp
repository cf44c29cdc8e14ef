#include "worker/net/disposal.hpp"

#include <utility>

#include "common/os/tree.hpp"

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

void Disposal::pump() {
  if (busy_ || names_.empty()) return;
  busy_ = pool_.submit(
      [this, names = std::exchange(names_, {}), directory = directory_, stop = stop_]() -> aio::Pool::Done {
        for (const auto& name : names) os::remove_tree(directory, name, stop.get());
        return [this] {
          busy_ = false;
          pump();
          if (idle() && on_idle_) std::exchange(on_idle_, nullptr)();
        };
      });
}

}  // namespace taskmill::worker
