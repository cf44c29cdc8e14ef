#include "bench/table.hpp"

#include <cstdio>
#include <fstream>

#include "common/base/json_writer.hpp"

namespace taskmill::bench {
namespace {

std::string cell(double value, const char* format) {
  if (value == 0) return "-";
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

void Table::add(Row row) {
  const Row* first = nullptr;
  for (const auto& other : rows_) {
    if (other.what == row.what && first == nullptr) first = &other;
  }
  if (first == nullptr) {
    std::printf("\n%s\n  %-14s %12s %-8s %9s %9s %9s %8s %8s\n", row.what.c_str(), "program", "rate", "", "CPU/task",
                "p50", "p99", "memory", "ratio");
  }
  const double ratio = first != nullptr && first->rate > 0 ? row.rate / first->rate : 0;
  std::printf("  %-14s %12s %-8s %9s %9s %9s %8s %8s %s\n", row.who.c_str(), cell(row.rate, "%.1f").c_str(),
              row.unit.c_str(), cell(row.cpu_us, "%.1f us").c_str(), cell(row.p50_ms, "%.2f ms").c_str(),
              cell(row.p99_ms, "%.2f ms").c_str(), cell(row.memory_mb, "%.0f MB").c_str(), cell(ratio, "%.2f").c_str(),
              row.note.c_str());
  std::fflush(stdout);
  rows_.push_back(std::move(row));
}

void Table::write_json(const std::string& file) const {
  std::string text;
  for (const auto& row : rows_) {
    JsonWriter json(text);
    json.begin_object().field("case", row.what).field("program", row.who).field("unit", row.unit);
    json.key("rate").real(row.rate).key("cpu_us").real(row.cpu_us).key("p50_ms").real(row.p50_ms);
    json.key("p99_ms").real(row.p99_ms).key("memory_mb").real(row.memory_mb).field("note", row.note);
    json.end_object();
    text += '\n';
  }
  std::ofstream(file) << text;
}

}  // namespace taskmill::bench
