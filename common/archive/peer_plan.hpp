// Who sends what to whom, when many workers need the same objects (environments, cached inputs). Pure: facts
// and time in, orders out; the manager's shell turns orders into PeerServe and PeerFetch.
//
// Rules, in this order:
//  - an object goes from a worker that has it, as long as that worker sends fewer than `sends_per_source`
//    and is not suspect for this receiver; the least busy source first, one on the same host before others;
//  - the manager itself sends to at most `sends_by_manager` receivers at a time, so that the first copies
//    leave early and the rest spreads like a tree;
//  - an order not done by its deadline counts as failed. After a failure the source is avoided for this
//    receiver for ever and for everybody for `suspect_time`; after `most_failures` failures of one receiver's
//    wish the manager sends to it, whatever the limits: no peer can stall anybody.
//
// A worker that leaves takes its copies, its wishes and its orders with it. Every wish ends in exactly one
// `got` or in forget_worker().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/archive/digest.hpp"
#include "common/base/ids.hpp"
#include "common/base/time.hpp"

namespace taskmill::archive {

struct PeerPlanConfig {
  int sends_per_source = 3;
  int sends_by_manager = 3;
  int most_failures = 2;
  Duration suspect_time = std::chrono::seconds(60);
  Duration least_time = std::chrono::seconds(10);  ///< of an order
  double slowest_rate = 1e6;                       ///< bytes per second that an order must reach
};

/// `source` invalid: the manager.
struct PeerOrder {
  std::uint64_t id = 0;
  Digest object;
  WorkerId source;
  WorkerId target;
  Time deadline{};
};

class PeerPlan {
 public:
  explicit PeerPlan(PeerPlanConfig config = {}) : config_(config) {}

  /// `serves`: it can be a source. `host`: workers with the same one are near each other.
  void add_worker(WorkerId worker, bool serves, std::string host);
  void forget_worker(WorkerId worker);
  /// A fact, however it came there.
  void has(WorkerId worker, const Digest& object);
  void lost(WorkerId worker, const Digest& object);
  /// The worker shall get it. Asked twice, or there already: nothing happens.
  void want(WorkerId worker, const Digest& object, std::uint64_t bytes);

  void got(std::uint64_t order);
  void failed(std::uint64_t order, Time now);

  /// Orders to give now; ends those whose time is over. Appends to `cancelled` the ids of these.
  std::vector<PeerOrder> plan(Time now, std::vector<std::uint64_t>* cancelled = nullptr);
  [[nodiscard]] std::optional<Time> next_deadline() const;

  [[nodiscard]] std::size_t waiting() const { return wishes_.size(); }
  [[nodiscard]] std::size_t running() const { return orders_.size(); }
  void check_invariants() const;

 private:
  struct Worker {
    bool serves = false;
    std::string host;
    int sending = 0;
    std::set<Digest> objects;
    std::optional<Time> suspect_until;
  };
  struct Wish {
    WorkerId target;
    Digest object;
    std::uint64_t bytes = 0;
    int failures = 0;
    std::set<WorkerId> avoid;
    std::uint64_t order = 0;  ///< 0: not ordered
  };

  std::optional<WorkerId> best_source(const Wish& wish, Time now) const;
  void give_order(Wish& wish, WorkerId source, Time now, std::vector<PeerOrder>& out);
  Wish* wish_of(std::uint64_t order);
  void end_order(std::uint64_t order);

  PeerPlanConfig config_;
  std::map<WorkerId, Worker> workers_;
  std::map<Digest, std::set<WorkerId>> holders_;
  std::vector<Wish> wishes_;  ///< in the order they came
  std::map<std::uint64_t, PeerOrder> orders_;
  int manager_sending_ = 0;
  std::uint64_t next_order_ = 1;
};

}  // namespace taskmill::archive
