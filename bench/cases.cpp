#include "bench/cases.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace taskmill::bench {

std::string Rows::peer_text(const std::function<std::string(const Row&)>& text) const {
  std::string all;
  for (const auto& peer : peers) {
    if (!all.empty()) all += "; ";
    if (peers.size() > 1) all += peer.who + " ";
    all += text(peer);
  }
  return all.empty() ? "-" : all;
}

const Row* Rows::best_peer() const {
  const auto best = std::max_element(peers.begin(), peers.end(),
                                     [](const Row& one, const Row& other) { return one.rate < other.rate; });
  return best == peers.end() ? nullptr : &*best;
}

Row median_row(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end(), [](const Row& one, const Row& other) { return one.rate < other.rate; });
  Row middle = rows[rows.size() / 2];
  if (rows.size() > 1 && middle.rate > 0) {
    char note[64];
    std::snprintf(note, sizeof note, "%s%.0f..%.0f in %zu", middle.note.empty() ? "" : "; ", rows.front().rate,
                  rows.back().rate, rows.size());
    middle.note += note;
  }
  return middle;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Rows measure_all(Context& context, const std::string& what, const std::function<bool(const Stack&)>& takes_part,
                 const std::function<Row(const Stack&)>& measure) {
  Rows result;
  for (const auto& stack : context.stacks) {
    if (!takes_part(stack)) continue;
    std::vector<Row> rows;
    const int times = stack.is_ours() ? context.repeat : 1;
    for (int i = 0; i < times; ++i) rows.push_back(measure(stack));
    Row row = median_row(std::move(rows));
    row.what = what;
    row.who = stack.label();
    context.table.add(row);
    if (stack.is_ours())
      result.ours = row;
    else
      result.peers.push_back(row);
  }
  return result;
}

std::string rate_text(const Row& row) {
  return row.rate > 0 ? figure(row.rate) + " " + row.unit : row.note.empty() ? "none" : row.note;
}

std::string rate_and_cpu(const Row& row) {
  if (row.rate <= 0 || row.cpu_us <= 0) return rate_text(row);
  return rate_text(row) + ", " + figure(row.cpu_us) + " µs";
}

}  // namespace taskmill::bench
