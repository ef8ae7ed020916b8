#include "client/cli/local_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "core/base/types.h"

namespace h2bd::cli {
namespace {

class LocalFileTest : public testing::Test {
 protected:
  LocalFileTest() {
    char name[] = "h2bd_local_file_XXXXXX";
    const int fd = mkstemp(name);
    EXPECT_GE(fd, 0);
    close(fd);
    path_ = name;
  }
  ~LocalFileTest() override { unlink(path_.c_str()); }

  std::string Content() const {
    std::ifstream in(path_, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }

  std::string path_;
};

TEST_F(LocalFileTest, HolesAreFoundAndEverythingIsCovered) {
  const int fd = open(path_.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(pwrite(fd, "begin", 5, 0), 5);
  ASSERT_EQ(pwrite(fd, "middle", 6, 8 * kMiB), 6);
  ASSERT_EQ(ftruncate(fd, 16 * kMiB + 1), 0);
  close(fd);

  absl::StatusOr<LocalSource> source = LocalSource::Open(path_);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->size_bytes(), 16 * kMiB + 1);
  std::string all;
  while (true) {
    absl::StatusOr<LocalSource::Piece> piece = source->Next(kMiB);
    ASSERT_TRUE(piece.ok()) << piece.status();
    if (piece->bytes.empty() && piece->hole_bytes == 0) break;
    EXPECT_EQ(piece->offset, all.size());
    EXPECT_LE(piece->bytes.size(), kMiB);
    all += std::string(AsText(piece->bytes.span()));
    all.append(piece->hole_bytes, '\0');
  }
  EXPECT_TRUE(all == Content());
}

TEST_F(LocalFileTest, ZerosBecomeHoles) {
  absl::StatusOr<LocalTarget> target = LocalTarget::Open(path_);
  ASSERT_TRUE(target.ok()) << target.status();
  std::string data = "begin" + std::string(4 * kMiB, '\0') + "end" + std::string(kMiB, '\0');
  for (size_t at = 0; at < data.size(); at += 100'000) {
    ASSERT_TRUE(target->Write(AsBytes(absl::string_view(data).substr(at, 100'000))).ok());
  }
  ASSERT_TRUE(target->Finish().ok());
  EXPECT_TRUE(Content() == data);
  // What did not fill a whole 4 KiB of the file counts as stored.
  EXPECT_LT(target->stored_bytes(), kMiB);
  EXPECT_GE(target->stored_bytes(), 8u);
}

TEST_F(LocalFileTest, FaultsAreLocalOnes) {
  EXPECT_EQ(LocalSource::Open("/nonexistent").status().code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(LocalSource::Open("/").status().code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(LocalTarget::Open("/nonexistent/file").status().code(), absl::StatusCode::kUnknown);
  absl::StatusOr<LocalTarget> full = LocalTarget::Open("/dev/full");
  ASSERT_TRUE(full.ok());
  EXPECT_FALSE(full->Write(AsBytes("x")).ok());
}

TEST_F(LocalFileTest, AFileThatShrinksIsNotSilentlyShort) {
  ASSERT_EQ(truncate(path_.c_str(), 0), 0);
  std::ofstream(path_) << std::string(100'000, 'x');
  absl::StatusOr<LocalSource> source = LocalSource::Open(path_);
  ASSERT_TRUE(source.ok());
  ASSERT_TRUE(source->Next(1000).ok());
  ASSERT_EQ(truncate(path_.c_str(), 500), 0);
  absl::StatusOr<LocalSource::Piece> piece = source->Next(1000);
  EXPECT_FALSE(piece.ok());
}

}  // namespace
}  // namespace h2bd::cli
