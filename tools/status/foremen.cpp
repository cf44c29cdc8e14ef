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

  std::vector<Value> run() {
    for (std::size_t i = 0; i < records_.size(); ++i) {
      if (is_top(records_[i])) place(i, 0);
    }
    for (std::size_t i = 0; i < records_.size(); ++i) {
      if (!used_[i]) result_.push_back(records_[i]);
    }
    return std::move(result_);
  }

 private:
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

std::vector<Value> nest_foremen(std::vector<Value> records) { return Nester(std::move(records)).run(); }

}  // namespace taskmill::tools
