#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>

#include "common/measure/disk_meter.hpp"
#include "common/measure/host_resources.hpp"

namespace taskmill::measure {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A machine made of files: /proc and /sys below a temporary folder.
class Machine : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/taskmill-host-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    put("/proc/meminfo", "MemTotal:       24684084 kB\nMemFree: 1 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void put(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  /// `count` CPUs, two hardware threads per core.
  void cpus(int count) {
    put("/sys/devices/system/cpu/online", "0-" + std::to_string(count - 1));
    for (int i = 0; i < count; ++i) {
      const int first = i % (count / 2);
      put("/sys/devices/system/cpu/cpu" + std::to_string(i) + "/topology/thread_siblings_list",
          std::to_string(first) + "," + std::to_string(first + count / 2) + "\n");
    }
    affinity_.resize(static_cast<std::size_t>(count));
    std::iota(affinity_.begin(), affinity_.end(), 0);
  }
  HostResources detect() {
    HostProbeOptions options;
    options.root = root_;
    options.workspace = root_;
    options.env = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = env_.find(name);
      return found == env_.end() ? std::nullopt : std::optional(found->second);
    };
    options.affinity = [this] { return affinity_; };
    options.nvidia_smi = [this] { return gpus_; };
    return detect_host_resources(options);
  }

  std::string root_;
  std::map<std::string, std::string> env_;
  std::vector<int> affinity_;
  std::optional<std::string> gpus_;
};

TEST_F(Machine, UnrestrictedOffersPhysicalCores) {
  cpus(16);
  const auto host = detect();
  EXPECT_EQ(host.cores, 8);
  EXPECT_EQ(host.cores_from, "8 physical cores");
  EXPECT_EQ(host.memory_mb, 24105);
  EXPECT_GT(host.disk_mb, 0);
  EXPECT_TRUE(host.gpus.empty());
}

TEST_F(Machine, AffinityIsTakenAsItIs) {
  cpus(16);
  affinity_ = {0, 1, 8};
  EXPECT_EQ(detect().cores, 3);
}

TEST_F(Machine, OfflineCpusDoNotHideTheRest) {
  put("/sys/devices/system/cpu/online", "0,2-3");
  for (int i : {0, 2, 3})
    put("/sys/devices/system/cpu/cpu" + std::to_string(i) + "/topology/thread_siblings_list", std::to_string(i));
  affinity_ = {0, 2, 3};
  EXPECT_EQ(detect().cores, 3);
}

TEST_F(Machine, LimitsOfEveryGroupAboveUsBind) {
  cpus(16);
  put("/proc/self/cgroup", "0::/slice/job/step\n");
  put("/proc/self/mountinfo", "35 25 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  put("/sys/fs/cgroup/slice/job/step/cgroup.procs", "1\n");
  put("/sys/fs/cgroup/slice/job/step/cpu.max", "max 100000\n");
  put("/sys/fs/cgroup/slice/job/cpu.max", "350000 100000\n");
  put("/sys/fs/cgroup/slice/memory.max", "2147483648\n");
  put("/sys/fs/cgroup/slice/job/memory.max", "max\n");
  const auto host = detect();
  EXPECT_EQ(host.cores, 3);
  EXPECT_THAT(host.cores_from, HasSubstr("/slice/job"));
  EXPECT_EQ(host.memory_mb, 2048);
  EXPECT_THAT(host.memory_from, HasSubstr("memory.max"));
}

TEST_F(Machine, OldControlGroupsBindAsWell) {
  cpus(16);
  put("/proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n");
  put("/proc/self/mountinfo",
      "40 35 0:35 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
      "41 35 0:36 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  put("/sys/fs/cgroup/cpu/cgroup.procs", "1\n");
  put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
  put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  put("/sys/fs/cgroup/memory/cgroup.procs", "1\n");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n");
  const auto host = detect();
  EXPECT_EQ(host.cores, 1) << "half a core is still a slot";
  EXPECT_EQ(host.memory_mb, 512);
}

TEST_F(Machine, SlurmJobsAreHonoured) {
  cpus(16);
  env_ = {{"SLURM_JOB_ID", "7"}, {"SLURM_CPUS_PER_TASK", "4"}, {"SLURM_MEM_PER_CPU", "2000"}};
  auto host = detect();
  EXPECT_EQ(host.batch_system, "slurm");
  EXPECT_EQ(host.cores, 4);
  EXPECT_EQ(host.cores_from, "SLURM_CPUS_PER_TASK=4");
  EXPECT_EQ(host.memory_mb, 8000);
  env_ = {{"SLURM_JOB_ID", "7"}, {"SLURM_JOB_CPUS_PER_NODE", "6(x2)"}, {"SLURM_MEM_PER_NODE", "3000"}};
  host = detect();
  EXPECT_EQ(host.cores, 6);
  EXPECT_EQ(host.memory_mb, 3000);
}

TEST_F(Machine, CondorsMachineAdIsHonoured) {
  cpus(16);
  put("/ad", "Name = \"slot1_1@host\"\nCpus = 2\nMemory = 4096\nDisk = 1048576\nTotalCpus = 16.0\n");
  env_ = {{"_CONDOR_SCRATCH_DIR", "/scratch"}, {"_CONDOR_MACHINE_AD", root_ + "/ad"}};
  const auto host = detect();
  EXPECT_EQ(host.batch_system, "htcondor");
  EXPECT_EQ(host.cores, 2);
  EXPECT_EQ(host.memory_mb, 4096);
  EXPECT_LE(host.disk_mb, 1024);
}

TEST_F(Machine, PbsLsfAndGridEngineAreHonoured) {
  cpus(16);
  env_ = {{"PBS_JOBID", "1"}, {"NCPUS", "3"}};
  EXPECT_EQ(detect().cores, 3);
  env_ = {{"LSB_JOBID", "1"}, {"LSB_DJOB_NUMPROC", "5"}};
  EXPECT_EQ(detect().cores, 5);
  env_ = {{"JOB_ID", "1"}, {"NSLOTS", "7"}};
  EXPECT_EQ(detect().cores, 7);
  env_ = {{"NCPUS", "2"}};
  EXPECT_EQ(detect().cores, 8) << "a stray variable without its batch system means nothing";
  env_ = {{"PBS_JOBID", "1"}, {"NCPUS", "64"}};
  EXPECT_EQ(detect().cores, 8) << "a promise larger than the machine";
}

constexpr const char* three_gpus =
    "0, GPU-aaaa-1, NVIDIA A100-SXM4-40GB, 40960\n1, GPU-bbbb-2, NVIDIA A100-SXM4-40GB, 40960\n2, GPU-bbcc-3, Tesla "
    "T4, 15360\n";

TEST_F(Machine, GpusAreKnownByIdentity) {
  cpus(2);
  gpus_ = three_gpus;
  auto host = detect();
  ASSERT_EQ(host.gpus.size(), 3u);
  EXPECT_EQ(host.gpus[2].name, "Tesla T4");
  EXPECT_EQ(host.gpus[2].memory_mb, 15360);
  env_["CUDA_VISIBLE_DEVICES"] = "2,GPU-aaaa";
  host = detect();
  ASSERT_EQ(host.gpus.size(), 2u);
  EXPECT_EQ(host.gpus[0].id, "2");
  EXPECT_EQ(host.gpus[1].id, "GPU-aaaa");
  EXPECT_EQ(host.gpus[1].uuid, "GPU-aaaa-1");
  env_["CUDA_VISIBLE_DEVICES"] = "";
  EXPECT_TRUE(detect().gpus.empty());
  env_["CUDA_VISIBLE_DEVICES"] = "1,9,0";
  EXPECT_EQ(detect().gpus.size(), 1u) << "an unknown device ends the list";
  env_["CUDA_VISIBLE_DEVICES"] = "MIG-11";
  ASSERT_EQ(detect().gpus.size(), 1u);
  EXPECT_EQ(detect().gpus[0].id, "MIG-11");
}

TEST(HostText, MemoryWithUnits) {
  EXPECT_EQ(parse_memory_mb("4G", 'M'), 4096);
  EXPECT_EQ(parse_memory_mb("2000000kb", 'M'), 1953);
  EXPECT_EQ(parse_memory_mb("1073741824", 'B'), 1024);
  EXPECT_EQ(parse_memory_mb("300", 'M'), 300);
  EXPECT_FALSE(parse_memory_mb("many", 'M'));
  EXPECT_FALSE(parse_memory_mb("4 parsec", 'M'));
}

TEST(HostResources, ThisMachineOffersSomething) {
  HostProbeOptions options;
  options.workspace = "/tmp/not/there/yet";
  const auto host = detect_host_resources(options);
  EXPECT_GE(host.cores, 1);
  EXPECT_GT(host.memory_mb, 0);
  EXPECT_GT(host.disk_mb, 0);
  EXPECT_FALSE(host.cores_from.empty());
}

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/taskmill-disk-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }
  void file(const std::string& name, std::size_t size) {
    fs::create_directories(fs::path(root_ + "/" + name).parent_path());
    std::ofstream(root_ + "/" + name) << std::string(size, 'x');
  }
  std::string root_;
};

TEST_F(Folder, SizesAndEntriesAreCounted) {
  file("a", 8192);
  file("d/e/f", 4096);
  DiskMeter meter(root_);
  const auto usage = meter.finish_round();
  EXPECT_EQ(usage.bytes, 12288);
  EXPECT_EQ(usage.files, 5) << "root, a, d, e, f";
  EXPECT_TRUE(usage.complete);
}

TEST_F(Folder, ABigTreeIsCountedInSmallSteps) {
  for (int i = 0; i < 300; ++i) file("d" + std::to_string(i % 7) + "/f" + std::to_string(i), 10);
  DiskMeter meter(root_);
  int steps = 1;
  while (!meter.step(10)) {
    EXPECT_FALSE(meter.usage().complete);
    ++steps;
  }
  EXPECT_GE(steps, 30);
  EXPECT_EQ(meter.usage().files, 308);
}

TEST_F(Folder, LinksHolesAndSpecialFilesCostWhatTheyHold) {
  file("a", 8192);
  fs::create_hard_link(root_ + "/a", root_ + "/b");
  fs::create_symlink("/", root_ + "/out");
  std::ofstream(root_ + "/hole").close();
  fs::resize_file(root_ + "/hole", std::uintmax_t{1} << 34);
  DiskMeter meter(root_);
  EXPECT_EQ(meter.finish_round().bytes, 8192);
  EXPECT_EQ(meter.usage().files, 5);
  DiskMeter apparent(root_, {.apparent = true});
  EXPECT_EQ(apparent.finish_round().bytes, 2 * 8192 + (std::int64_t{1} << 34)) << "as resource_monitor counts";
}

TEST_F(Folder, AMissingFolderIsEmpty) {
  DiskMeter meter(root_ + "/none");
  EXPECT_EQ(meter.finish_round().files, 0);
}

TEST_F(Folder, TheNextRoundSeesWhatChanged) {
  file("a", 8192);
  DiskMeter meter(root_);
  meter.finish_round();
  fs::remove(root_ + "/a");
  file("b", 4096);
  EXPECT_EQ(meter.finish_round().bytes, 4096);
}

}  // namespace
}  // namespace taskmill::measure
