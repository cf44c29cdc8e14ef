#include <gtest/gtest.h>

#include <limits>

#include "protocol/pb/frames.hpp"
#include "protocol/pb/measurement.hpp"

namespace taskmill::protocol {
namespace {

measure::Measurement full() {
  measure::Measurement m;
  m.wall = Duration{3'100'000};
  m.cpu_user = Duration{900'000};
  m.cpu_system = Duration{30'000};
  m.cores_average = 0.3;
  m.cores_peak = 1.5;
  m.memory = std::int64_t{120} << 20;
  m.memory_source = measure::MemorySource::pss;
  m.largest_process = 7;
  m.swap = 0;
  m.virtual_memory = 8;
  m.disk = 9;
  m.files = 10;
  m.bytes_read = 11;
  m.bytes_written = 12;
  m.storage_bytes_read = 13;
  m.storage_bytes_written = 14;
  m.context_switches = 15;
  m.max_processes = 16;
  m.total_processes = 17;
  m.samples = 18;
  m.exceeded = {{measure::LimitKind::processes, 5, 6, true}, {measure::LimitKind::cores, 1, 1.5, false}};
  m.time_line = {{1'000'000, 0.25, std::int64_t{100} << 20, 0, 2}, {3'100'000, 0.5, std::int64_t{120} << 20, 9, 16}};
  return m;
}

TEST(MeasurementMessage, EveryValueSurvivesTheWire) {
  const auto m = full();
  std::string wire;
  ASSERT_TRUE(append_frame(wire, to_message(m, 42, 1'700'000'000'000'000, Duration{5'000'000}), false));
  EXPECT_LT(wire.size(), 400u);
  const auto body = std::span<const char>(wire).subspan(wire.find('\n') + 1);
  const auto message = parse_frame<pb::TaskMeasurement>(1, body);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->task_id(), 42);
  EXPECT_EQ(to_json(from_message(*message)), to_json(m));
}

TEST(MeasurementMessage, WhatIsNotKnownStaysUnknown) {
  const auto m = from_message(to_message({}, 1, 0, Duration{1}));
  EXPECT_FALSE(m.memory);
  EXPECT_FALSE(m.disk);
  EXPECT_FALSE(m.context_switches);
  const measure::Measurement zero_swap = from_message(to_message(full(), 1, 0, Duration{1}));
  EXPECT_EQ(zero_swap.swap, 0) << "nothing is known to be swapped";
}

TEST(MeasurementMessage, NonsenseFromAPeerIsCut) {
  pb::TaskMeasurement message;
  message.set_wall_us(std::numeric_limits<std::uint64_t>::max());
  message.set_memory(std::numeric_limits<std::uint64_t>::max());
  message.set_cores_peak(std::numeric_limits<double>::quiet_NaN());
  message.set_max_processes(std::numeric_limits<std::uint32_t>::max());
  for (int i = 0; i < 1000; ++i) {
    message.add_time_line()->set_cores(-5);
    message.add_limits_exceeded()->set_kind(pb::LIMIT_MEMORY);
  }
  const auto m = from_message(message);
  EXPECT_EQ(m.wall.count(), 0);
  EXPECT_FALSE(m.memory);
  EXPECT_EQ(m.cores_peak, 0);
  EXPECT_GT(m.max_processes, 0);
  EXPECT_EQ(m.time_line.size(), 64u);
  EXPECT_EQ(m.time_line[0].cores, 0);
  EXPECT_LE(m.exceeded.size(), 16u);
}

}  // namespace
}  // namespace taskmill::protocol
