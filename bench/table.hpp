// The table the bench prints: one row per program and case, with the ratio to the first peer of the same case.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace taskmill::bench {

struct Row {
  std::string what{};  ///< the case; rows of equal `what` are compared
  std::string who{};   ///< a stack's label, or "limit"
  double rate = 0;     ///< in `unit`
  std::string unit = "tasks/s";
  double cpu_us = 0;  ///< per task; 0: not measured
  double p50_ms = 0, p99_ms = 0;
  double memory_mb = 0;
  std::string note{};
};

class Table {
 public:
  /// Prints the row at once (with its header before the first of a case) and keeps it.
  void add(Row row);
  /// Everything again as JSON lines.
  void write_json(const std::string& file) const;

 private:
  std::vector<Row> rows_;
};

}  // namespace taskmill::bench
