#include "common/measure/core/cgroup_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace taskmill::measure {
namespace {

using testing::ElementsAre;

TEST(CgroupText, ReadsMembershipOfBothVersions) {
  const auto groups = parse_cgroup_membership(
      "12:cpu,cpuacct:/slurm/uid_1000/job_7\n4:memory:/slurm/uid_1000/job_7\n1:name=systemd:/x\n0::/user.slice/"
      "a:b.scope\njunk\n");
  ASSERT_EQ(groups.size(), 4u);
  EXPECT_THAT(groups[0].controllers, ElementsAre("cpu", "cpuacct"));
  EXPECT_EQ(groups[0].path, "/slurm/uid_1000/job_7");
  EXPECT_EQ(groups[3].hierarchy, 0);
  EXPECT_TRUE(groups[3].controllers.empty());
  EXPECT_EQ(groups[3].path, "/user.slice/a:b.scope");
}

TEST(CgroupText, FindsMountsWithOptionalFieldsAndBlanks) {
  const auto mounts = parse_cgroup_mounts(
      "25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw\n"
      "35 25 0:30 / /sys/fs/cgroup ro,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
      "40 35 0:35 /docker/abc /sys/fs/c\\040group/memory rw shared:14 master:3 - cgroup cgroup rw,memory\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_TRUE(mounts[0].v2);
  EXPECT_EQ(mounts[0].mount_point, "/sys/fs/cgroup");
  EXPECT_FALSE(mounts[1].v2);
  EXPECT_EQ(mounts[1].root, "/docker/abc");
  EXPECT_EQ(mounts[1].mount_point, "/sys/fs/c group/memory");
  EXPECT_THAT(mounts[1].controllers, testing::Contains("memory"));
}

TEST(CgroupText, FindsTheFolderOfAGroupAlsoInAContainer) {
  CgroupMount host{true, {}, "/", "/sys/fs/cgroup"};
  EXPECT_EQ(cgroup_folder(host, "/user.slice/x"), "/sys/fs/cgroup/user.slice/x");
  EXPECT_EQ(cgroup_folder(host, "/"), "/sys/fs/cgroup");
  CgroupMount container{false, {"memory"}, "/docker/abc", "/sys/fs/cgroup/memory"};
  EXPECT_EQ(cgroup_folder(container, "/docker/abc"), "/sys/fs/cgroup/memory");
  EXPECT_EQ(cgroup_folder(container, "/docker/abc/job"), "/sys/fs/cgroup/memory/job");
  EXPECT_EQ(cgroup_folder(container, "/docker/abcd"), "") << "a name that only begins the same";
  EXPECT_EQ(cgroup_folder(host, "/../.."), "") << "outside of our namespace";
}

TEST(CgroupText, ReadsLimits) {
  EXPECT_FALSE(parse_cgroup_limit("max\n"));
  EXPECT_EQ(parse_cgroup_limit("1073741824\n"), 1073741824);
  EXPECT_FALSE(parse_cgroup_limit("9223372036854771712\n")) << "v1 without a limit";
  EXPECT_FALSE(parse_cgroup_limit(""));
  EXPECT_DOUBLE_EQ(*parse_cpu_max("200000 100000\n"), 2.0);
  EXPECT_DOUBLE_EQ(*parse_cpu_max("50000 100000"), 0.5);
  EXPECT_FALSE(parse_cpu_max("max 100000\n"));
  EXPECT_FALSE(parse_cfs_quota("-1\n", "100000\n"));
  EXPECT_DOUBLE_EQ(*parse_cfs_quota("150000\n", "100000\n"), 1.5);
}

TEST(CgroupText, ReadsAccounts) {
  const auto cpu = parse_cpu_stat("usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 0\n");
  ASSERT_TRUE(cpu);
  EXPECT_EQ(cpu->user_us, 1000000);
  EXPECT_EQ(cpu->system_us, 500000);
  EXPECT_FALSE(parse_cpu_stat("nr_periods 0\n"));
  const auto io =
      parse_io_stat("259:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n253:1 rbytes=100 wbytes=1\n8:0 \n");
  EXPECT_EQ(io.read, 4196);
  EXPECT_EQ(io.written, 8193);
  // The page cache of written files ("file") is not the task's need; what is mapped or shared memory is.
  EXPECT_EQ(parse_memory_stat_held("anon 1000\nfile 900000\nshmem 300\nfile_mapped 200\n"), 1300);
  EXPECT_FALSE(parse_memory_stat_held(""));
  EXPECT_EQ(parse_keyed("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\n", "oom_kill"), 2);
  EXPECT_FALSE(parse_keyed("oom 1\n", "oom_kill"));
}

}  // namespace
}  // namespace taskmill::measure
