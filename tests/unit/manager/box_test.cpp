// The rows of manager.md 9.5, computed by the old manager, and where exact arithmetic differs from it (9.3).
#include "manager/core/box.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "manager/core/category.hpp"

namespace taskmill::manager {
namespace {

Box worker(std::int64_t cores, std::int64_t memory, std::int64_t disk, std::int64_t gpus = 0) {
  return {cores * milli, memory, disk, gpus};
}
const Box P = worker(4, 4000, 8000);
const Box G = worker(8, 16000, 32000, 2);
const Box D = worker(4, 12000, 36000);

struct Row {
  int number;
  Box at;
  Resources request;
  Resources box;
  bool fits = true;
  BoxRules rules{};
  Box in_use{};
  CategorySettings category{};
};

void PrintTo(const Row& row, std::ostream* out) { *out << "row " << row.number; }

Box labelled_box(const Row& row) {
  const Category category("c", row.category);
  const Resources largest = to_resources(row.at);
  const Resources a = category.max_label(Label::first, row.request, {});
  const Resources b = category.min_label(Label::first, row.request, {}, largest);
  return box_for(row.at, a, b, row.rules, row.in_use);
}

class BoxRow : public ::testing::TestWithParam<Row> {};

TEST_P(BoxRow, IsAsTheOldManagerComputes) {
  const Row& row = GetParam();
  const Box box = labelled_box(row);
  EXPECT_EQ(to_resources(box), row.box);
  EXPECT_EQ(fits(box, row.at, row.in_use, row.rules.multiplier), row.fits);
}

const BoxRules no_whole{true, false, 1.0, false};
const BoxRules no_share{false, true, 1.0, false};
const BoxRules twice{true, true, 2.0, false};
const BoxRules ramp{true, true, 1.0, true};

CategorySettings max_cores(double cores) {
  CategorySettings s;
  s.max.cores = cores;
  return s;
}
CategorySettings min_of(double cores, std::int64_t memory) {
  CategorySettings s;
  s.min.cores = cores;
  s.min.memory = memory;
  return s;
}

INSTANTIATE_TEST_SUITE_P(
    Spec, BoxRow,
    ::testing::Values(
        Row{1, P, {}, {4, 4000, 8000, 0}}, Row{2, P, {1}, {1, 1000, 2000, 0}}, Row{3, P, {2}, {2, 2000, 4000, 0}},
        Row{4, P, {3}, {4, 4000, 8000, 0}}, Row{5, P, {5}, {5, 4000, 8000, 0}, false},
        Row{6, P, {-1, 1000}, {1, 1000, 2000, 0}}, Row{7, P, {-1, 1001}, {1, 1333, 2666, 0}},
        Row{8, P, {-1, 1333}, {1, 1333, 2666, 0}}, Row{9, P, {-1, 1334}, {2, 2000, 4000, 0}},
        Row{10, P, {-1, 700}, {1, 800, 1600, 0}}, Row{11, P, {-1, 300}, {1, 307, 615, 0}},
        Row{12, P, {-1, -1, 100}, {1, 50, 100, 0}}, Row{13, P, {1, 3000}, {4, 4000, 8000, 0}},
        Row{14, P, {1, 500, 500}, {1, 1000, 2000, 0}}, Row{15, P, {1, 5000}, {1, 5000, 8000, 0}, false},
        Row{16, P, {0}, {4, 4000, 8000, 0}}, Row{17, P, {0, 100}, {1, 100, 200, 0}},
        Row{18, P, {-1, -1, -1, 1}, {0, 4000, 8000, 1}, false}, Row{19, P, {1, 1000, 2000, 0}, {1, 1000, 2000, 0}},
        Row{20, G, {}, {8, 16000, 32000, 0}}, Row{21, G, {-1, -1, -1, 1}, {0, 8000, 16000, 1}},
        Row{22, G, {-1, -1, -1, 2}, {0, 16000, 32000, 2}}, Row{23, G, {1, -1, -1, 1}, {4, 8000, 16000, 1}},
        Row{24, G, {5, -1, -1, 1}, {8, 16000, 32000, 1}}, Row{25, G, {-1, 4000, -1, 1}, {0, 8000, 16000, 1}},
        Row{26, G, {3}, {4, 8000, 16000, 0}}, Row{27, G, {-1, 5000}, {2, 5333, 10666, 0}},
        Row{28, G, {1, 9000}, {8, 16000, 32000, 0}}, Row{29, D, {1}, {1, 3000, 9000, 0}},
        Row{30, D, {1, 6000}, {2, 6000, 18000, 0}}, Row{31, D, {1, 6000, 27000}, {4, 12000, 36000, 0}},
        Row{32, P, {3}, {3, 3000, 6000, 0}, true, no_whole}, Row{33, P, {-1, 700}, {1, 700, 1400, 0}, true, no_whole},
        Row{34, P, {-1, 300}, {1, 300, 600, 0}, true, no_whole}, Row{35, P, {1}, {1, 4000, 8000, 0}, true, no_share},
        Row{36, P, {1, 100, 100}, {1, 100, 100, 0}, true, no_share},
        Row{37, P, {-1, 700}, {4, 700, 8000, 0}, true, no_share},
        Row{38, G, {-1, -1, -1, 1}, {0, 16000, 32000, 1}, true, no_share},
        Row{39, P, {1}, {1, 1000, 1000, 0}, true, twice, worker(4, 4000, 4000)},
        Row{39, P, {1}, {1, 1000, 1000, 0}, false, twice, worker(8, 8000, 8000)},
        Row{40, P, {}, {4, 4000, 8000, 0}, true, twice},
        Row{41, P, {1}, {3, 3000, 6000, 0}, true, ramp, worker(1, 1000, 2000)},
        Row{42, P, {}, {4, 4000, 8000, 0}, false, ramp, worker(1, 1000, 2000)},
        Row{43, P, {1}, {4, 4000, 8000, 0}, true, ramp}, Row{44, G, {1, -1, -1, 1}, {1, 16000, 32000, 1}, true, ramp},
        Row{45, P, {}, {2, 2000, 4000, 0}, true, {}, {}, max_cores(2)},
        Row{46, P, {1}, {1, 1000, 2000, 0}, true, {}, {}, max_cores(2)},
        Row{47, P, {4}, {4, 4000, 8000, 0}, true, {}, {}, max_cores(2)},
        Row{48, P, {-1, 100}, {2, 2000, 4000, 0}, true, {}, {}, max_cores(2)},
        Row{49, P, {1}, {2, 1500, 2000, 0}, true, {}, {}, min_of(2, 1500)},
        Row{50, P, {1, 100, 100}, {2, 1500, 2000, 0}, true, {}, {}, min_of(2, 1500)}));

TEST(Box, SharesAreExactWhereTheOldManagerRoundedWrong) {
  EXPECT_EQ(to_resources(labelled_box({0, worker(93, 9300, 93000), {1}, {}})), (Resources{1, 100, 1000, 0}));
  EXPECT_EQ(to_resources(labelled_box({0, worker(49, 4900, 9800), {1}, {}})), (Resources{1, 100, 200, 0}));
}

TEST(Box, AsManyTasksFitAsTheWorkerHasCoresForEverySize) {
  for (std::int64_t n = 1; n <= 2000; ++n) {
    const Box size = worker(n, 1000 * n, 7 * n);
    const Box box = labelled_box({0, size, {1}, {}});
    EXPECT_EQ(box, worker(1, 1000, 7)) << n;
  }
}

TEST(Box, FractionalCoresKeepTheirSum) {
  Box used;
  const Box third = to_box({1.0 / 3, 0, 0, 0});
  for (int i = 0; i < 300; ++i) used += third;
  for (int i = 0; i < 300; ++i) used -= third;
  EXPECT_EQ(used, Box{});
}

TEST(Box, HugeNumbersDoNotOverflow) {
  const Box size{1'000'000'000, 1'000'000'000'000, 1'000'000'000'000, 1000};
  const Box box = labelled_box({0, size, {3, 999'999'999'999}, {}});
  EXPECT_TRUE(fits_idle(box, size));
}

}  // namespace
}  // namespace taskmill::manager
