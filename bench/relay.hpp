// A long road in a thread: what arrives at its port goes to the target, and back, each byte `delay` later.
//
// It stands in for netem where the kernel has none. Order is kept, nothing is lost, and the rate is not limited; each
// direction holds at most `window` bytes, as a connection over that distance with a large window would.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/os/fd.hpp"

namespace taskmill::bench {

class Relay {
 public:
  Relay(int target_port, double delay_s);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  [[nodiscard]] int port() const { return port_; }

 private:
  static constexpr std::size_t window = 16U << 20;
  struct Parcel {
    double due = 0;
    std::string bytes;
  };
  struct Way {
    int from = -1, to = -1;
    std::deque<Parcel> road{};
    std::size_t on_road = 0, sent = 0;  ///< `sent` of the first parcel
    bool ended = false, closed = false;
  };
  struct Pair {
    os::UniqueFd near, far;
    Way out, back;
  };
  void run();
  void accept();
  bool take(Way& way, double now);  ///< false: the connection broke
  static bool deliver(Way& way, double now);

  int target_port_;
  double delay_s_;
  os::UniqueFd listener_;
  int port_ = 0;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::vector<char> buffer_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// Why netem cannot be used here: the first line of tc in a network namespace of its own; empty when it can.
std::string netem_problem();

}  // namespace taskmill::bench
