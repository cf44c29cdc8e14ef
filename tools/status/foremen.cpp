#include "tools/status/foremen.hpp"

#include <map>
#include <string>

namespace taskmill::tools {
namespace {

using catalog::Value;

bool is_top(const Value& record) {
  const auto manager = record.text("my_manager");
  return manager.empty() || manager == "127.0.0.1:-1";
}

class Nester {
 public:
  explicit Nester(std::vector<Value> records) : records_(std::move(records)), used_(records_.size()) {
    for (std::size_t i = 0; i < records_.size(); ++i) {
      if (!is_top(records_[i])) children_.emplace(records_[i].text("my_manager"), i);
    }
  }

  std::vector<Value> run(const std::function<bool(const Value&)>& wanted) {
    for (std::size_t i = 0; i < records_.size(); ++i) {
      if (is_top(records_[i]) && wanted(records_[i])) place(i, 0);
    }
    for (std::size_t i = 0; i < records_.size(); ++i) {
      if (!used_[i] && !is_top(records_[i]) && !has_manager(records_[i]) && wanted(records_[i]))
        result_.push_back(records_[i]);
    }
    return std::move(result_);
  }

 private:
  // A ring of foremen has no manager either; its members are shown as they are.
  bool has_manager(const Value& record) const {
    std::size_t steps = 0;
    const Value* at = &record;
    while (at != nullptr && !is_top(*at)) {
      if (++steps > records_.size()) return false;
      at = manager_of(*at);
    }
    return at != nullptr;
  }

  const Value* manager_of(const Value& record) const {
    const auto wanted = record.text("my_manager");
    for (const auto& other : records_) {
      const std::string port = ":" + std::to_string(other.integer("port"));
      if (std::string(other.text("address")) + port == wanted || std::string(other.text("name")) + port == wanted)
        return &other;
    }
    return nullptr;
  }

  void place(std::size_t index, std::size_t depth) {
    if (used_[index]) return;
    used_[index] = true;
    Value shown = records_[index];
    if (depth > 0) {
      shown.set("project", std::string(depth - 1, '-') + ">" + std::string(shown.text("project", "???")));
    }
    const std::string port = ":" + std::to_string(shown.integer("port"));
    const std::string by_name = std::string(shown.text("name")) + port;
    const std::string by_address = std::string(shown.text("address")) + port;
    result_.push_back(std::move(shown));
    constexpr std::size_t deepest = 100;
    if (depth >= deepest) return;
    for (const auto& key : {by_address, by_name}) {
      const auto [begin, end] = children_.equal_range(key);
      for (auto it = begin; it != end; ++it) place(it->second, depth + 1);
    }
  }

  std::vector<Value> records_;
  std::vector<bool> used_;
  std::multimap<std::string, std::size_t> children_;
  std::vector<Value> result_;
};

}  // namespace

std::vector<Value> nest_foremen(std::vector<Value> records, const std::function<bool(const Value&)>& wanted) {
  return Nester(std::move(records)).run(wanted);
}

}  // namespace taskmill::tools
