// What is said of a device when it is opened (spec 04 F-227).
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/device/file_device.h"
#include "core/device/open_file.h"

namespace h2bd {
namespace {

// Keeps the fields of each message.
class RecordingLogger final : public Logger {
 public:
  using Fields = std::map<std::string, std::string>;
  void Write(LogSeverity severity, absl::string_view message,
             std::initializer_list<LogField> fields) override {
    Fields kept;
    for (const auto& [name, value] : fields) kept[std::string(name)] = value;
    entries[std::string(message)] = kept;
    severities[std::string(message)] = severity;
  }
  std::map<std::string, Fields> entries;
  std::map<std::string, LogSeverity> severities;
};

class StartupReport : public testing::Test {
 protected:
  StartupReport() {
    std::string directory = absl::StrCat(testing::TempDir(), "h2bd-report-XXXXXX");
    EXPECT_NE(mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    path_ = directory + "/disk.img";
    EXPECT_EQ(CreateImageFile(path_, 8 * kMiB, ImageSpace::kAllocated), absl::OkStatus());
  }
  ~StartupReport() override {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  std::string directory_, path_;
};

TEST_F(StartupReport, NamesEverythingThatDecidesWhetherABarrierReachesTheDisk) {
  for (const bool read_only : {false, true}) {
    for (const bool direct : {false, true}) {
      RecordingLogger logger;
      const auto device =
          OpenFileDevice(path_, {.read_only = read_only, .use_direct_io = direct}, logger);
      ASSERT_TRUE(device.ok()) << device.status();
      ASSERT_TRUE(logger.entries.contains("device open"));
      EXPECT_EQ(logger.severities["device open"], LogSeverity::kInfo);
      RecordingLogger::Fields report = logger.entries["device open"];
      EXPECT_EQ(report["device"], path_);
      EXPECT_EQ(report["size"], FormatBytes(8 * kMiB));
      EXPECT_EQ(report["sector_bytes"], absl::StrCat((*device)->sector_bytes()));
      EXPECT_EQ(report["read_only"], read_only ? "yes" : "no");
      // The file system may have no direct I/O, but without the wish there is none.
      EXPECT_TRUE(direct ? report.contains("direct_io") : report["direct_io"] == "no");
      EXPECT_FALSE(report["engine"].empty());
      EXPECT_EQ(report["write_cache"], "unknown") << "a file has no queue";
      EXPECT_EQ(report["queue"], "none");
      EXPECT_EQ(report["fua"], "unknown");
    }
  }
}

TEST_F(StartupReport, ADeviceThatIsNotOpenedIsNotReported) {
  RecordingLogger logger;
  EXPECT_FALSE(OpenFileDevice(directory_, {}, logger).ok());
  EXPECT_FALSE(OpenFileDevice(path_ + "-that-is-missing", {}, logger).ok());
  EXPECT_TRUE(logger.entries.empty());
}

}  // namespace
}  // namespace h2bd
