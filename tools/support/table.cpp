#include "tools/support/table.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "common/base/text.hpp"

namespace taskmill::tools {
namespace {

using Align = Column::Align;
using Show = Column::Show;

int space_of(const std::vector<Column>& columns) {
  int sum = 0;
  for (const auto& column : columns) sum += std::abs(column.width) + 1;
  return sum;
}

std::string cell_text(const catalog::Value& record, const Column& column) {
  const catalog::Value* value = record.find(column.key);
  if (value == nullptr) return "???";
  if (column.show == Show::gigabytes) {
    if (const auto number = value->number()) return std::to_string(static_cast<std::int64_t>(*number / 1024));
  }
  std::string text = catalog::display(*value);
  // A cell stays in its line and cannot steer the terminal.
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

}  // namespace

Table::Table(std::vector<Column> columns, int terminal_columns) {
  const auto flexible =
      std::count_if(columns.begin(), columns.end(), [](const auto& column) { return column.width < 0; });
  const int spare = std::max(0, terminal_columns - space_of(columns));
  for (auto& column : columns) {
    if (column.width < 0) column.width = -column.width + spare / static_cast<int>(flexible);
  }
  // The first column's own width is not counted when the rest is cut: as old tables are, so are ours.
  int left = std::min(terminal_columns, space_of(columns));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (i > 0) left -= columns[i].width + 1;
    if (left < 1) break;
    columns_.push_back(columns[i]);
  }
}

void Table::put(std::string& line, const Column& column, std::string text) const {
  const auto width = static_cast<std::size_t>(column.width);
  if (text.size() > width)
    text = column.align == Align::left ? text.substr(0, width) : text.substr(text.size() - width);
  const std::string padding(width - text.size(), ' ');
  line += column.align == Align::left ? text + padding : padding + text;
  line += ' ';
}

std::string Table::header() const {
  std::string line;
  for (const auto& column : columns_) put(line, column, std::string(column.title));
  return line + "\n";
}

std::string Table::row(const catalog::Value& record) const {
  std::string line;
  for (const auto& column : columns_) put(line, column, cell_text(record, column));
  return line + "\n";
}

int choose_columns(const char* environment, int terminal_width) {
  constexpr int least = 10;
  constexpr int usual = 80;
  const auto asked = environment != nullptr ? parse_int(environment) : std::nullopt;
  if (asked && *asked >= least) return static_cast<int>(std::min<std::int64_t>(*asked, 10'000));
  return terminal_width >= least ? terminal_width : usual;
}

int terminal_columns() {
  winsize size{};
  const int width = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
  return choose_columns(std::getenv("COLUMNS"), width);
}

std::vector<Column> queue_columns() {
  return {{"project", "PROJECT", -18},
          {"name", "HOST", -21},
          {"port", "PORT", 5, Align::right},
          {"tasks_waiting", "WAITING", 7, Align::right},
          {"tasks_running", "RUNNING", 7, Align::right},
          {"tasks_complete", "COMPLETE", 8, Align::right},
          {"workers", "WORKERS", 7, Align::right}};
}

std::vector<Column> task_columns() {
  return {{"taskid", "ID", 4},     {"state", "STATE", 8},       {"priority", "PRIORITY", 8, Align::right},
          {"host", "HOST", -10},   {"command", "COMMAND", -18}, {"cores", "CORES", 8},
          {"memory", "MEMORY", 8}, {"disk", "DISK", 8},         {"gpus", "GPUS", 8}};
}

std::vector<Column> worker_columns() {
  return {{"hostname", "HOST", -10},
          {"address_port", "ADDRESS", -15},
          {"total_tasks_complete", "COMPLETED", 9, Align::right},
          {"total_tasks_running", "RUNNING", 7},
          {"cores_inuse", "CORE_USE", -6},
          {"cores_total", "CORE_ALL", -6},
          {"memory_inuse", "MEM_USE", -5},
          {"memory_total", "MEM_ALL", -5},
          {"disk_inuse", "DISK_USE", -6},
          {"disk_total", "DISK_ALL", -6},
          {"gpus_inuse", "GPUS_USE", -6},
          {"gpus_total", "GPUS_ALL", -6}};
}

std::vector<Column> category_columns() {
  return {{"category", "CATEGORY", -12},
          {"tasks_on_workers", "DISPATCHED", 10, Align::right},
          {"tasks_waiting", "WAITING", 10, Align::right},
          {"workers_able", "FIT-WORKERS", 12, Align::right},
          {"max_cores", "MAX-CORES", 10, Align::right},
          {"max_memory", "MAX-MEMORY", 10, Align::right},
          {"max_disk", "MAX-DISK", 10, Align::right}};
}

std::vector<Column> resource_columns() {
  return {{"project", "MANAGER", -19},
          {"cores_total", "CORES", 6, Align::right},
          {"cores_inuse", "INUSE", 6, Align::right},
          {"memory_total", "MEM(GB)", 8, Align::right, Show::gigabytes},
          {"memory_inuse", "INUSE", 8, Align::right, Show::gigabytes},
          {"gpus_total", "GPUS", 9, Align::right},
          {"gpus_inuse", "INUSE", 9, Align::right}};
}

std::vector<Column> capacity_columns() {
  return {{"project", "MANAGER", 30},
          {"capacity_tasks", "TASKS", 10},
          {"capacity_cores", "CORES", 10},
          {"capacity_memory", "MEMORY", 15},
          {"capacity_disk", "DISK", 20}};
}

}  // namespace taskmill::tools
