// The tables of work_queue_status and work_queue_factory, byte for byte as scripts know them (status-and-factory.md
// A.3).
//
// Every row is made on its own from one JSON object, so tables of any length can be printed while they arrive.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/catalog/core/value.hpp"

namespace taskmill::tools {

struct Column {
  enum class Align : unsigned char { left, right };
  enum class Show : unsigned char { plain, gigabytes };  ///< gigabytes: value / 1024, cut at the decimal point
  std::string_view key;
  std::string_view title;
  int width;  ///< negative: at least this, and a share of what the terminal has left
  Align align = Align::left;
  Show show = Show::plain;
};

class Table {
 public:
  /// `columns` of the terminal: see terminal_columns().
  Table(std::vector<Column> columns, int terminal_columns);
  [[nodiscard]] std::string header() const;
  [[nodiscard]] std::string row(const catalog::Value& record) const;

 private:
  void put(std::string& line, const Column& column, std::string text) const;
  std::vector<Column> columns_;  ///< those that are printed, with their final widths
};

/// COLUMNS if at least 10, else the width of the terminal, else 80. `environment` is the value of COLUMNS or null.
int choose_columns(const char* environment, int terminal_width);
/// The same for this process.
int terminal_columns();

std::vector<Column> queue_columns();
std::vector<Column> task_columns();
std::vector<Column> worker_columns();
std::vector<Column> category_columns();
std::vector<Column> resource_columns();
std::vector<Column> capacity_columns();

}  // namespace taskmill::tools
