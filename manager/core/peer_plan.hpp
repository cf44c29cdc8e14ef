// Who sends what to whom, when many workers need the same large objects (cached inputs, environments). Pure: facts and
// time in, orders out.
//
// Rules, in this order:
//  - an object goes from a worker that has it, as long as that worker sends fewer than `sends_per_source` and is not
//    suspect; one on the same host before others, then the least busy;
//  - the manager sends an object to at most `sends_per_source` workers at a time, and not to more than that in all
//    while the copies it sent can be passed on: the first copies leave early, the rest spreads like a tree;
//  - an order not done by its deadline counts as failed. After a failure the source is avoided for this receiver for
//    ever and for everybody for `suspect_time`; after `most_failures` failures, or when a wish has waited as long as
//    one order may take, the manager sends to it, whatever the limits. No peer can stall anybody.
//
// An object must be made `passable` (its digest is known) before peers are used for it; `hopeless` means that they
// never will be. A worker that leaves takes its copies, wishes and orders with it. Every wish ends in exactly one of
// got(), unwant() and leave().
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/base/time.hpp"
#include "manager/core/slab.hpp"

namespace taskmill::manager {

/// One content of one object; numbers are given by the user of the plan and never used again.
using ObjectId = std::uint64_t;

struct PeerPlanConfig {
  int sends_per_source = 3;
  int receives_per_target = 8;
  int most_failures = 2;
  Duration suspect_time = std::chrono::seconds(60);
  Duration least_time = std::chrono::seconds(30);  ///< of an order
  double slowest_rate = 1e6;                       ///< bytes per second that an order must reach
};

/// `source` == no_index: the manager.
struct PeerOrder {
  std::uint64_t id = 0;
  ObjectId object = 0;
  std::uint32_t source = no_index, target = no_index;
  Time deadline{};
};

class PeerPlan {
 public:
  void configure(const PeerPlanConfig& config) { config_ = config; }
  /// It can receive from now on. `local`: only workers that are `local` too can reach it.
  void join(std::uint32_t worker, std::string host, bool local);
  /// It can send as well.
  void serves(std::uint32_t worker);
  void leave(std::uint32_t worker);
  [[nodiscard]] bool knows(std::uint32_t worker) const { return workers_.contains(worker); }
  [[nodiscard]] std::size_t workers() const { return workers_.size(); }

  void add_object(ObjectId object, std::uint64_t bytes);
  void make_passable(ObjectId object);
  void make_hopeless(ObjectId object);
  /// Nobody has it, nobody wants it: it is forgotten.
  bool drop_if_unused(ObjectId object);
  /// Facts about copies, however they came there.
  void has(std::uint32_t worker, ObjectId object);
  void lost(std::uint32_t worker, ObjectId object);

  void want(std::uint32_t worker, ObjectId object, Time now);
  void unwant(std::uint32_t worker, ObjectId object);
  /// The worker has it now, from its source. False: the order has ended before.
  bool got(std::uint64_t order);
  /// `blame`: its source is the reason; otherwise the receiver itself.
  bool failed(std::uint64_t order, bool blame, Time now);

  /// Orders to give now. Those whose time is over end first, and their wishes are ordered again.
  void plan(Time now, std::vector<PeerOrder>& out);
  [[nodiscard]] std::optional<Time> next_deadline() const;

  [[nodiscard]] const PeerOrder* order(std::uint64_t id) const;
  /// Wishes that have no order yet.
  [[nodiscard]] std::size_t waiting() const { return wishes_.size() - orders_.size(); }
  [[nodiscard]] std::size_t running() const { return orders_.size(); }
  /// Some wish for this object waits because its digest is not known.
  [[nodiscard]] bool needs_digest(ObjectId object) const;
  void check_invariants() const;

 private:
  struct Worker {
    std::string host;
    bool local = false, serves = false;
    int sending = 0, receiving = 0;
    std::optional<Time> suspect_until;
    std::unordered_set<ObjectId> objects;
    std::unordered_map<ObjectId, std::uint64_t> wishes;  ///< by object
    std::unordered_set<std::uint64_t> sends;             ///< orders
    std::deque<std::uint64_t> held_back;                 ///< wishes beyond what it may receive from others at a time
  };
  struct Object {
    std::uint64_t bytes = 0;
    bool passable = false, hopeless = false, dirty = false;
    std::vector<std::uint32_t> holders;
    std::size_t cursor = 0;                          ///< where the search among holders goes on
    std::unordered_set<std::uint32_t> from_manager;  ///< holders that got it from the manager, or are getting it
    int manager_sends = 0;                           ///< running and not overdue
    int spreading = 0;                               ///< orders running and not overdue
    std::size_t wishes = 0;
    std::deque<std::uint64_t> waiting;  ///< wishes, oldest first; may name ones that have ended
  };
  struct Wish {
    std::uint32_t target = no_index;
    ObjectId object = 0;
    Time since{};
    int failures = 0;
    std::vector<std::uint32_t> avoid;
    std::uint64_t order = 0;  ///< 0: not ordered
    bool queued = false;      ///< in Object::waiting
  };
  struct Running {
    PeerOrder order;
    std::uint64_t wish = 0;
    bool overdue = false;  ///< the manager's only: does not count any more
  };
  struct Reminder {
    Time due;
    std::uint64_t id = 0;  ///< of a wish or an order
    bool operator>(const Reminder& other) const { return due != other.due ? due > other.due : id > other.id; }
  };

  [[nodiscard]] Duration time_for(const Object& object) const;
  [[nodiscard]] bool usable(const Wish& wish, std::uint32_t source, Time now) const;
  [[nodiscard]] std::optional<std::uint32_t> find_source(const Wish& wish, Object& object, Time now) const;
  [[nodiscard]] bool can_spread(const Wish& wish, const Object& object, Time now) const;
  void run_reminders(Time now);
  void serve(ObjectId id, Object& object, Time now, std::vector<PeerOrder>& out);
  bool try_wish(std::uint64_t id, Object& object, Time now, std::vector<PeerOrder>& out);
  void give_order(std::uint64_t wish, Object& object, std::uint32_t source, Time now, std::vector<PeerOrder>& out);
  void end_order(std::uint64_t id);
  void end_wish(std::uint64_t id);
  void queue_wish(std::uint64_t id);
  void mark(ObjectId object);
  void freed_source(std::uint32_t worker);

  PeerPlanConfig config_;
  std::unordered_map<std::uint32_t, Worker> workers_;
  std::unordered_map<ObjectId, Object> objects_;
  std::unordered_map<std::uint64_t, Wish> wishes_;
  std::unordered_map<std::uint64_t, Running> orders_;
  std::unordered_set<ObjectId> waited_for_;  ///< objects with something in `waiting`
  std::vector<ObjectId> dirty_;
  std::priority_queue<Reminder, std::vector<Reminder>, std::greater<>> reminders_;
  std::uint64_t next_id_ = 1;
};

}  // namespace taskmill::manager
