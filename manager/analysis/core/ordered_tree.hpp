// A reduction tree over numbered slots whose shape depends only on their number and the width.
//
// Each slot is resolved once, to a partial result or to nothing. As soon as all children of a node are resolved it
// resolves too: no child → nothing, one → that one passes through, more → a merge is wanted, with the inputs in slot
// order. So the order of every addition is fixed before the first task runs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace taskmill::manager::analysis {

template <class Id>
class OrderedTree {
 public:
  struct Merge {
    std::uint32_t node = 0;  ///< hand back to merged()
    std::vector<Id> inputs;
  };

  OrderedTree() = default;
  OrderedTree(std::size_t slots, std::size_t width) : width_(width) {
    std::size_t begin = 0;
    std::size_t size = slots;
    levels_.push_back({begin, size});
    while (size > 1) {
      begin += size;
      size = (size + width_ - 1) / width_;
      levels_.push_back({begin, size});
    }
    nodes_.resize(begin + size);
    if (slots == 0) done_ = true;
  }

  /// Merges that became possible are appended to `merges`.
  void resolve(std::size_t slot, std::optional<Id> value, std::vector<Merge>& merges) { settle(slot, value, merges); }
  void merged(std::uint32_t node, Id value, std::vector<Merge>& merges) { settle(node, value, merges); }

  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] std::optional<Id> root() const { return done_ && !nodes_.empty() ? nodes_.back().value : std::nullopt; }

 private:
  struct Level {
    std::size_t begin = 0, size = 0;
  };
  struct Node {
    std::optional<Id> value;
    bool settled = false;
    std::uint32_t settled_children = 0;
  };

  void settle(std::size_t index, std::optional<Id> value, std::vector<Merge>& merges) {
    Node& node = nodes_[index];
    node.value = value;
    node.settled = true;
    std::size_t level = 0;
    while (index >= levels_[level].begin + levels_[level].size) ++level;
    if (level + 1 == levels_.size()) {
      done_ = true;
      return;
    }
    const std::size_t first_child = (index - levels_[level].begin) / width_ * width_;
    const std::size_t children = std::min(width_, levels_[level].size - first_child);
    const std::size_t parent = levels_[level + 1].begin + first_child / width_;
    if (++nodes_[parent].settled_children < children) return;
    std::vector<Id> inputs;
    for (std::size_t i = 0; i < children; ++i) {
      if (const auto& child = nodes_[levels_[level].begin + first_child + i].value) inputs.push_back(*child);
    }
    if (inputs.empty()) return settle(parent, std::nullopt, merges);
    if (inputs.size() == 1) return settle(parent, inputs.front(), merges);
    merges.push_back({static_cast<std::uint32_t>(parent), std::move(inputs)});
  }

  std::size_t width_ = 2;
  std::vector<Level> levels_;
  std::vector<Node> nodes_;
  bool done_ = false;
};

}  // namespace taskmill::manager::analysis
