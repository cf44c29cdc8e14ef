#include "common/catalog/lookup.hpp"

#include <netdb.h>

#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <mutex>
#include <system_error>
#include <thread>

namespace taskmill::catalog {
namespace {

namespace ip = boost::asio::ip;

std::atomic<int> running_lookups{0};

// What the thread and the owner share. The owner clears `alive` under the lock; after that the loop may be gone.
struct Mailbox {
  std::mutex mutex;
  bool alive = true;
  boost::asio::io_context* io = nullptr;
  std::function<void()> on_result;  ///< runs in the loop
};

void post_result(const std::shared_ptr<Mailbox>& box, std::function<void()> work) {
  const std::lock_guard lock(box->mutex);
  if (!box->alive) return;
  boost::asio::post(*box->io, [box, work = std::move(work)] {
    {
      const std::lock_guard inner(box->mutex);
      if (!box->alive) return;
    }
    work();
  });
}

// Runs `job` in its own thread, or not at all when there are too many.
bool run_detached(std::function<void()> job) {
  if (running_lookups.fetch_add(1) >= lookup_limit) {
    running_lookups.fetch_sub(1);
    return false;
  }
  try {
    std::thread([job = std::move(job)] {
      job();
      running_lookups.fetch_sub(1);
    }).detach();
  } catch (const std::system_error&) {
    running_lookups.fetch_sub(1);
    return false;
  }
  return true;
}

Expected<Lookup::Addresses> resolve(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int result = getaddrinfo(name.c_str(), nullptr, &hints, &list);
  if (result != 0) return make_error("cannot find the address of '" + name + "': " + gai_strerror(result));
  Lookup::Addresses addresses;
  for (const auto* item = list; item != nullptr; item = item->ai_next) {
    ip::tcp::endpoint endpoint;
    if (item->ai_addrlen > endpoint.capacity()) continue;
    endpoint.resize(item->ai_addrlen);
    std::copy_n(reinterpret_cast<const char*>(item->ai_addr), item->ai_addrlen,
                reinterpret_cast<char*>(endpoint.data()));
    addresses.push_back(endpoint.address());
  }
  freeaddrinfo(list);
  if (addresses.empty()) return make_error("'" + name + "' has no address");
  return addresses;
}

std::string name_of(const ip::address& address) {
  const ip::tcp::endpoint endpoint(address, 0);
  std::array<char, NI_MAXHOST> name{};
  const auto result = getnameinfo(endpoint.data(), static_cast<socklen_t>(endpoint.size()), name.data(), name.size(),
                                  nullptr, 0, NI_NAMEREQD);
  return result == 0 ? name.data() : "";
}

}  // namespace

struct Lookup::State {
  std::shared_ptr<Mailbox> box = std::make_shared<Mailbox>();
};

void Lookup::Release::operator()(State* state) const {
  {
    const std::lock_guard lock(state->box->mutex);
    state->box->alive = false;
  }
  delete state;
}

Lookup Lookup::forward(boost::asio::io_context& io, const std::string& name,
                       std::function<void(Expected<Addresses>)> handler) {
  Lookup lookup;
  lookup.state_.reset(new State);
  auto box = lookup.state_->box;
  box->io = &io;
  ErrorCode error;
  const auto numeric = ip::make_address(name, error);
  if (!error) {
    post_result(box, [numeric, handler = std::move(handler)] { handler(Addresses{numeric}); });
    return lookup;
  }
  const bool started = run_detached([box, name, handler] {
    auto found = resolve(name);
    post_result(box, [found = std::move(found), handler] { handler(found); });
  });
  if (!started) {
    post_result(box,
                [name, handler] { handler(make_error("cannot look up '" + name + "': too many lookups under way")); });
  }
  return lookup;
}

Lookup Lookup::reverse(boost::asio::io_context& io, const ip::address& address,
                       const std::function<void(std::string)>& handler) {
  Lookup lookup;
  lookup.state_.reset(new State);
  auto box = lookup.state_->box;
  box->io = &io;
  const bool started = run_detached([box, address, handler] {
    auto name = name_of(address);
    post_result(box, [name = std::move(name), handler] { handler(name); });
  });
  if (!started) post_result(box, [handler] { handler(""); });
  return lookup;
}

}  // namespace taskmill::catalog
