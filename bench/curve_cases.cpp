// How the manager's CPU per task grows, drawn as SVG files.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "bench/cases.hpp"
#include "bench/chart.hpp"
#include "bench/crowd.hpp"

namespace taskmill::bench {
namespace {

struct Curve {
  const char* file;
  const char* title;
  const char* x_label;
  std::vector<int> at;
  int peer_most;  ///< old managers are not asked for more: a point would take minutes
  std::function<void(int, Crowd&, Load&)> set;
};

std::vector<Curve> curves(const std::string& files) {
  const auto with_files = [files](Load& load, int per_task, int cache) {
    load.shared_dir = files;
    load.files = per_task;
    load.cache = cache;
  };
  return {{"tasks.svg",
           "CPU per task and tasks queued",
           "tasks queued",
           {100, 1000, 10'000, 100'000, 1'000'000},
           10'000,
           [](int x, Crowd&, Load& load) { load.ahead = static_cast<std::uint64_t>(x); }},
          {"workers.svg",
           "CPU per task and workers",
           "workers of one core",
           {1, 10, 100, 1000, 5000},
           1000,
           [](int x, Crowd& crowd, Load& load) {
             crowd.workers = x;
             load.ahead = std::max(load.ahead, 2 * static_cast<std::uint64_t>(x));
           }},
          {"files.svg",
           "CPU per task and files per task",
           "cached inputs per task",
           {1, 4, 16, 64},
           64,
           [with_files](int x, Crowd&, Load& load) { with_files(load, x, 256); }},
          {"categories.svg",
           "CPU per task and categories",
           "categories",
           {1, 10, 100, 1000},
           1000,
           [](int x, Crowd&, Load& load) { load.categories = x; }},
          {"cache.svg",
           "CPU per task and files cached at each worker",
           "different cached files, 4 per task",
           {10, 100, 1000, 10'000},
           10'000,
           [with_files](int x, Crowd&, Load& load) { with_files(load, 4, x); }}};
}

}  // namespace

void curve_cases(Context& context, const std::string& directory) {
  const Scratch scratch;
  const auto files = scratch.path("shared");
  std::filesystem::create_directories(files);
  for (int i = 0; i < 10'000; ++i) std::ofstream(files + "/" + std::to_string(i)) << "a small file\n";
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  for (const auto& curve : curves(files)) {
    Chart chart{.title = curve.title, .x_label = curve.x_label, .y_label = "µs CPU per task", .series = {}};
    for (const auto& stack : context.stacks) {
      if (!stack.has_manager()) continue;
      Series series{.name = stack.label(), .points = {}};
      for (const int x : curve.at) {
        if (context.quick && x > 10'000) continue;
        if (!stack.is_ours() && x > curve.peer_most) continue;
        Crowd crowd{.workers = 10, .cores = 1};
        Load load{.tasks = 0, .ahead = 1000};
        curve.set(x, crowd, load);
        load.tasks = load.ahead + (stack.is_ours() ? 100'000U : 10'000U);
        Row row = measure_crowd(stack, crowd, load, stack.is_ours() ? context.seconds : 2, {.library = true});
        row.what = std::string(curve.title) + ", " + figure(x) + " " + curve.x_label;
        context.table.add(row);
        if (row.cpu_us > 0) series.points.emplace_back(x, row.cpu_us);
      }
      chart.series.push_back(std::move(series));
    }
    const auto path = directory + "/" + curve.file;
    std::ofstream out(path);
    out << chart.svg();
    if (!out.flush()) fail("cannot write " + path);
    std::printf("\nwrote %s\n", path.c_str());
  }
}

}  // namespace taskmill::bench
