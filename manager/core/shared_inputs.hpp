// Large cached inputs that native workers pass on to each other (docs/extensions.md, capability `peer`).
//
// An object is one version of one input. A wish is a copy that a worker is to get under one name; it lives from
// use_input() until the copy has arrived, its name is removed at the worker, or the worker leaves. The plan says where
// the copy comes from and when; shared_inputs.cpp turns that into actions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/ids.hpp"
#include "common/base/time.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/peer_plan.hpp"

namespace taskmill::manager {

struct SharedInput {
  std::uint32_t file = no_index, version = 0;
  std::uint64_t bytes = 0;
  bool environment = false;
  bool digest_asked = false;
  ContentDigest digest{};
  unsigned mode = 0;
};

struct SharedWish {
  std::uint32_t number = 0;  ///< of its name at the worker
  std::uint32_t serial = 0;  ///< attempt that first needed it
  TaskId task;
  std::string remote;       ///< for the log
  bool announced = false;   ///< the worker was told that it will come
  std::uint64_t order = 0;  ///< the one that runs
  Time since{};
};

struct SharedInputs {
  PeerPlan plan;
  std::unordered_map<ObjectId, SharedInput> objects;
  std::map<std::pair<std::uint32_t, std::uint32_t>, ObjectId> ids;  ///< by file and version
  std::map<std::pair<std::uint32_t, ObjectId>, SharedWish> wishes;  ///< by worker and object
  std::vector<PeerOrder> orders;                                    ///< being given; keeps its memory
  ObjectId next = 1;
  Time armed{Time::max()};
};

}  // namespace taskmill::manager
