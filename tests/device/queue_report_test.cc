// What the start says of the queue of a device and of what lies below it (spec 04 F-227), over a
// made-up sysfs.
#include "core/device/queue_report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace h2bd {
namespace {

namespace fs = std::filesystem;

class WarningLogger final : public Logger {
 public:
  void Write(LogSeverity severity, absl::string_view,
             std::initializer_list<LogField> fields) override {
    if (severity != LogSeverity::kWarning) return;
    for (const auto& [name, value] : fields) {
      if (name == "why") warnings.push_back(value);
    }
  }
  std::vector<std::string> warnings;
};

class QueueReportTest : public testing::Test {
 protected:
  QueueReportTest() {
    std::string directory = absl::StrCat(testing::TempDir(), "h2bd-sysfs-XXXXXX");
    EXPECT_NE(mkdtemp(directory.data()), nullptr);
    sysfs_ = directory;
    fs::create_directories(sysfs_ / "dev/block");
    fs::create_directories(sysfs_ / "devices");
  }
  ~QueueReportTest() override { fs::remove_all(sysfs_); }

  fs::path Device(const std::string& name) const { return sysfs_ / "devices" / name; }
  void Put(const fs::path& file, const std::string& line) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << line << '\n';
  }
  void AddDisk(const std::string& name, const std::string& cache, const std::string& number) {
    Put(Device(name) / "queue/write_cache", cache);
    Put(Device(name) / "queue/fua", "1");
    fs::create_symlink(Device(name), sysfs_ / "dev/block" / number);
  }
  void AddPartition(const std::string& disk, const std::string& name, const std::string& number) {
    Put(Device(disk) / name / "partition", "1");
    fs::create_symlink(Device(disk) / name, sysfs_ / "dev/block" / number);
  }
  void AddBelow(const std::string& above, const fs::path& below) {
    fs::create_directories(Device(above) / "slaves");
    fs::create_symlink(below, Device(above) / "slaves" / below.filename());
  }
  QueueReport Read(unsigned major, unsigned minor) const {
    return ReadQueueReport(sysfs_.string(), major, minor);
  }

  fs::path sysfs_;
};

TEST_F(QueueReportTest, APlainDiskAndItsPartition) {
  AddDisk("sda", "write back", "8:0");
  AddPartition("sda", "sda1", "8:1");
  for (const unsigned minor : {0u, 1u}) {
    const QueueReport report = Read(8, minor);
    EXPECT_EQ(report.ToString(), "sda (plain, write back)");
    EXPECT_EQ(report.fua, "yes");
    EXPECT_TRUE(DoubtsOf(report).empty());
  }
}

TEST_F(QueueReportTest, WhatIsNotThereIsUnknown) {
  const QueueReport report = Read(7, 7);
  EXPECT_EQ(report.ToString(), "7:7 (plain, unknown)");
  EXPECT_EQ(report.fua, "unknown");
}

TEST_F(QueueReportTest, EverythingBelowAStackedDeviceIsNamed) {
  AddDisk("sda", "write back", "8:0");
  AddPartition("sda", "sda1", "8:1");
  AddDisk("sdb", "write through", "8:16");
  AddDisk("md0", "write back", "9:0");
  fs::create_directories(Device("md0") / "md");
  AddBelow("md0", Device("sda") / "sda1");
  AddBelow("md0", Device("sdb"));
  AddDisk("dm-0", "write back", "253:0");
  fs::create_directories(Device("dm-0") / "dm");
  AddBelow("dm-0", Device("md0"));
  const QueueReport report = Read(253, 0);
  EXPECT_EQ(report.ToString(),
            "dm-0 (dm, write back) over md0 (md, write back) over sda (plain, write back), sdb "
            "(plain, write through)");
  EXPECT_TRUE(DoubtsOf(report).empty()) << "flushes pass";
}

TEST_F(QueueReportTest, ACacheBelowOneThatWritesThroughIsWarnedOf) {
  AddDisk("sda", "write back", "8:0");
  AddDisk("dm-1", "write through", "253:1");
  AddBelow("dm-1", Device("sda"));
  AddDisk("dm-0", "write through", "253:0");
  AddBelow("dm-0", Device("dm-1"));
  WarningLogger logger;
  WarnOfDoubts("/dev/dm-0", Read(253, 0), logger);
  ASSERT_EQ(logger.warnings.size(), 1u);
  EXPECT_EQ(logger.warnings[0],
            "dm-0 says that it writes through, but sda below it has a write cache that no flush "
            "may reach");
}

TEST_F(QueueReportTest, ALoopDeviceNamesItsFile) {
  AddDisk("loop3", "write back", "7:3");
  Put(Device("loop3") / "loop/backing_file", "/images/disk");
  EXPECT_EQ(Read(7, 3).ToString(), "loop3 (loop, write back) over /images/disk");
  WarningLogger logger;
  WarnOfDoubts("/dev/loop3", Read(7, 3), logger);
  ASSERT_EQ(logger.warnings.size(), 1u);
  EXPECT_NE(logger.warnings[0].find("/images/disk"), std::string::npos);
}

TEST_F(QueueReportTest, AStackThatGoesInCirclesEnds) {
  AddDisk("dm-0", "write back", "253:0");
  AddBelow("dm-0", Device("dm-0"));
  EXPECT_NE(Read(253, 0).ToString(), "");
}

}  // namespace
}  // namespace h2bd
