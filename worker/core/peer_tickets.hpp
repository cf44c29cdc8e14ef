// Who may fetch what from this worker: tokens that the manager gave out, each for one object, for a time, for so many
// fetches. Pure and bounded; nothing else is ever served.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/base/time.hpp"

namespace taskmill::worker {

constexpr std::size_t peer_token_length = 32;

class PeerTickets {
 public:
  enum class Verdict : std::uint8_t { granted, unknown, expired, other_object, used_up };

  /// False: not a token, or there are too many (of which expired ones do not count).
  bool grant(std::string_view token, std::string_view object, std::string_view cache_name, Time expires,
             unsigned fetches, Time now);
  /// Granted: one fetch is taken off, and `cache_name` tells what to serve.
  Verdict redeem(std::string_view token, std::string_view object, Time now, std::string& cache_name);
  void clear() { tickets_.clear(); }
  [[nodiscard]] std::size_t size() const { return tickets_.size(); }

 private:
  struct Ticket {
    std::string object, cache_name;
    Time expires{};
    unsigned fetches = 0;
  };
  std::unordered_map<std::string, Ticket> tickets_;
};
const char* verdict_text(PeerTickets::Verdict verdict);

}  // namespace taskmill::worker
