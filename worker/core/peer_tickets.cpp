#include "worker/core/peer_tickets.hpp"

namespace taskmill::worker {
namespace {

constexpr std::size_t most_tickets = 10'000;

}  // namespace

bool PeerTickets::grant(std::string_view token, std::string_view object, std::string_view cache_name, Time expires,
                        unsigned fetches, Time now) {
  if (token.size() != peer_token_length || object.empty()) return false;
  if (tickets_.size() >= most_tickets)
    std::erase_if(tickets_, [now](const auto& one) { return one.second.expires <= now; });
  if (tickets_.size() >= most_tickets) return false;
  Ticket& ticket = tickets_[std::string(token)];
  ticket.object = object;
  ticket.cache_name = cache_name;
  ticket.expires = expires;
  ticket.fetches = fetches;
  return true;
}

PeerTickets::Verdict PeerTickets::redeem(std::string_view token, std::string_view object, Time now,
                                         std::string& cache_name) {
  const auto at = tickets_.find(std::string(token));
  if (at == tickets_.end()) return Verdict::unknown;
  Ticket& ticket = at->second;
  if (ticket.expires <= now) {
    tickets_.erase(at);
    return Verdict::expired;
  }
  if (ticket.object != object) return Verdict::other_object;
  if (ticket.fetches == 0) return Verdict::used_up;
  --ticket.fetches;
  cache_name = ticket.cache_name;
  return Verdict::granted;
}

const char* verdict_text(PeerTickets::Verdict verdict) {
  switch (verdict) {
    case PeerTickets::Verdict::granted:
      return "granted";
    case PeerTickets::Verdict::unknown:
      return "the token is not known here";
    case PeerTickets::Verdict::expired:
      return "the token has expired";
    case PeerTickets::Verdict::other_object:
      return "the token is for another object";
    case PeerTickets::Verdict::used_up:
      return "the token was used up";
  }
  return "refused";
}

}  // namespace taskmill::worker
