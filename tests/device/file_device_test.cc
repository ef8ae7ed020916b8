#include "core/device/file_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/base/random.h"
#include "tests/support/fixtures.h"
#include "tests/support/memory_device.h"

namespace h2bd {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class TempDir {
 public:
  TempDir() {
    std::string name = absl::StrCat(testing::TempDir(), "h2bd-device-XXXXXX");
    H2_ASSERT(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDir() { fs::remove_all(path_); }
  std::string File(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

struct Mode {
  const char* name;
  bool use_io_uring;
  bool use_direct_io;
};

class FileDeviceTest : public testing::TestWithParam<Mode> {
 protected:
  std::string Image(uint64_t size) {
    const std::string path = dir_.File(absl::StrCat("image", images_++));
    H2_ASSERT(CreateImageFile(path, size, ImageSpace::kSparse).ok());
    return path;
  }
  static FileDeviceOptions Options() {
    return {.use_io_uring = GetParam().use_io_uring, .use_direct_io = GetParam().use_direct_io};
  }
  static absl::StatusOr<std::unique_ptr<BlockDevice>> Open(const std::string& path,
                                                           bool read_only = false) {
    FileDeviceOptions options = Options();
    options.read_only = read_only;
    return OpenFileDevice(path, options, NullLogger());
  }

  TempDir dir_;
  int images_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Modes, FileDeviceTest,
                         testing::Values(Mode{"UringDirect", true, true},
                                         Mode{"UringBuffered", true, false},
                                         Mode{"ThreadsDirect", false, true},
                                         Mode{"ThreadsBuffered", false, false}),
                         [](const auto& param) { return param.param.name; });

TEST_P(FileDeviceTest, WhatIsWrittenIsReadBackAndSurvivesReopening) {
  const std::string path = Image(kMiB);
  AlignedBuffer out(8192), in(8192);
  SystemRandom().Fill(out.span());
  {
    auto device = Open(path);
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ((*device)->size_bytes(), kMiB);
    EXPECT_EQ((*device)->name(), path);
    EXPECT_FALSE((*device)->read_only());
    EXPECT_GE((*device)->sector_bytes(), 512u);
    EXPECT_LE((*device)->sector_bytes(), 4096u);
    ASSERT_TRUE((*device)->Write(ByteOff(65536), out.span()).ok());
    ASSERT_TRUE((*device)->Sync().ok());
    ASSERT_TRUE((*device)->Read(ByteOff(65536), in.span()).ok());
    EXPECT_EQ(std::memcmp(in.data(), out.data(), out.size()), 0);
  }
  auto device = Open(path, /*read_only=*/true);
  ASSERT_TRUE(device.ok()) << device.status();
  std::memset(in.data(), 0, in.size());
  ASSERT_TRUE((*device)->Read(ByteOff(65536), in.span()).ok());
  EXPECT_EQ(std::memcmp(in.data(), out.data(), out.size()), 0);
}

TEST_P(FileDeviceTest, BatchesAgreeWithAModel) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("H2BD_SEED=", seed));
  SeededRandom rng(seed);
  constexpr uint64_t kSize = 8 * kMiB;
  constexpr uint64_t kUnit = 4096;
  auto device = Open(Image(kSize));
  ASSERT_TRUE(device.ok()) << device.status();
  SparseImage model(kSize);
  for (int round = 0; round < 30; ++round) {
    // Disjoint ranges, many of them neighbours, in a random order.
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    for (uint64_t at = rng.Next64() % 8 * kUnit; at < kSize;) {
      const uint64_t bytes = std::min(kSize - at, (1 + rng.Next64() % 40) * kUnit);
      ranges.emplace_back(at, bytes);
      at += bytes + (rng.Next64() % 3 == 0 ? rng.Next64() % 50 * kUnit : 0);
    }
    if (rng.Next64() % 2 == 0) {
      for (size_t i = ranges.size(); i > 1; --i) {
        std::swap(ranges[i - 1], ranges[rng.Next64() % i]);
      }
    }
    std::vector<AlignedBuffer> buffers;
    std::vector<WriteOp> writes;
    for (const auto& [at, bytes] : ranges) {
      buffers.emplace_back(bytes);
      rng.Fill(buffers.back().span());
      writes.push_back({ByteOff(at), buffers.back().span()});
      model.Write(at, buffers.back().span());
    }
    ASSERT_TRUE((*device)->WriteBatch(writes).ok());

    std::vector<AlignedBuffer> into;
    std::vector<ReadOp> reads;
    for (uint64_t at = 0; at < kSize; at += 16 * kUnit) {
      into.emplace_back(16 * kUnit);
      reads.push_back({ByteOff(at), into.back().span()});
    }
    ASSERT_TRUE((*device)->ReadBatch(reads).ok());
    SparseImage read_back(kSize);
    for (const ReadOp& op : reads) read_back.Write(op.off.v, op.into);
    ASSERT_EQ(read_back, model) << "round " << round;
  }
}

TEST_P(FileDeviceTest, ConcurrentBatchesDoNotMix) {
  constexpr int kThreads = 4;
  constexpr uint64_t kShare = kMiB;
  auto device = Open(Image(kThreads * kShare));
  ASSERT_TRUE(device.ok()) << device.status();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      AlignedBuffer out(kShare);
      for (int round = 0; round < 20; ++round) {
        std::memset(out.data(), 16 * t + round % 16, out.size());
        // Descending, so that they are not merged into one transfer.
        std::vector<WriteOp> ops;
        for (uint64_t at = kShare; at > 0; at -= 16384) {
          ops.push_back({ByteOff(static_cast<uint64_t>(t) * kShare + at - 16384),
                         out.span().subspan(at - 16384, 16384)});
        }
        EXPECT_TRUE((*device)->WriteBatch(ops).ok());
        EXPECT_TRUE((*device)->Sync().ok());
      }
      AlignedBuffer in(kShare);
      EXPECT_TRUE((*device)->Read(ByteOff(static_cast<uint64_t>(t) * kShare), in.span()).ok());
      EXPECT_EQ(std::memcmp(in.data(), out.data(), in.size()), 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(FileDeviceTest, RefusesMisalignedAndOutlyingCalls) {
  auto device = Open(Image(kMiB));
  ASSERT_TRUE(device.ok()) << device.status();
  AlignedBuffer buffer(3 * 4096);
  const auto span = [&](size_t at, size_t bytes) { return buffer.span().subspan(at, bytes); };
  struct Case {
    uint64_t off;
    ByteSpan bytes;
    absl::StatusCode code;
    const char* why;
  };
  for (const Case& c :
       {Case{100, span(0, 4096), absl::StatusCode::kInvalidArgument, "offset"},
        Case{4096, span(0, 100), absl::StatusCode::kInvalidArgument, "length"},
        Case{4096, span(8, 4096), absl::StatusCode::kInvalidArgument, "buffer"},
        Case{kMiB, span(0, 4096), absl::StatusCode::kOutOfRange, "at the end"},
        Case{kMiB - 4096, span(0, 8192), absl::StatusCode::kOutOfRange, "across the end"},
        Case{UINT64_MAX - 4095, span(0, 8192), absl::StatusCode::kOutOfRange, "wraps"}}) {
    EXPECT_EQ((*device)->Read(ByteOff(c.off), c.bytes).code(), c.code) << c.why;
    EXPECT_EQ((*device)->Write(ByteOff(c.off), c.bytes).code(), c.code) << c.why;
  }
  // One bad transfer does not keep its neighbours from being done.
  std::memset(buffer.data(), 5, buffer.size());
  const WriteOp ops[] = {{ByteOff(kMiB), span(0, 4096)}, {ByteOff(8192), span(4096, 4096)}};
  EXPECT_EQ((*device)->WriteBatch(ops).code(), absl::StatusCode::kOutOfRange);
  AlignedBuffer in(4096);
  ASSERT_TRUE((*device)->Read(ByteOff(8192), in.span()).ok());
  EXPECT_EQ(in.data()[0], std::byte{5});
}

TEST_P(FileDeviceTest, AFileThatShrankGivesAnErrorNotZeros) {
  const std::string path = Image(kMiB);
  auto device = Open(path);
  ASSERT_TRUE(device.ok()) << device.status();
  ASSERT_EQ(truncate(path.c_str(), 512 * kKiB), 0);
  AlignedBuffer a(65536), b(65536);
  EXPECT_EQ((*device)->Read(ByteOff(768 * kKiB), a.span()).code(), absl::StatusCode::kUnavailable);
  const absl::Status across = (*device)->Read(ByteOff(480 * kKiB), a.span());
  EXPECT_EQ(across.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(across.message()), HasSubstr("short transfer"));
  const ReadOp ops[] = {{ByteOff(0), a.span()}, {ByteOff(900 * kKiB), b.span()}};
  EXPECT_EQ((*device)->ReadBatch(ops).code(), absl::StatusCode::kUnavailable);
}

TEST_P(FileDeviceTest, AReadOnlyDeviceRefusesWrites) {
  auto device = Open(Image(kMiB), /*read_only=*/true);
  ASSERT_TRUE(device.ok()) << device.status();
  const AlignedBuffer buffer = AlignedBuffer::Zeroed(4096);
  const absl::Status status = (*device)->Write(ByteOff(0), buffer.span());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), kReasonReadOnly);
}

TEST_P(FileDeviceTest, AnUnevenSizeIsRoundedDown) {
  const std::string path = Image(kMiB + 100);
  auto device = Open(path);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ((*device)->size_bytes(), kMiB);
}

TEST_P(FileDeviceTest, AWriterIsAloneAndReadersShare) {
  const std::string path = Image(kMiB);
  const auto expect_in_use = [&](const absl::StatusOr<std::unique_ptr<BlockDevice>>& opened) {
    ASSERT_EQ(opened.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ReasonOf(opened.status()), kReasonInUse);
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr(path));
  };
  {
    auto writer = Open(path);
    ASSERT_TRUE(writer.ok());
    expect_in_use(Open(path));
    expect_in_use(Open(path, /*read_only=*/true));
    // Some other descriptor of the same file comes and goes: the lock stays.
    { std::ifstream unrelated(path); }
    expect_in_use(Open(path));
  }
  auto reader = Open(path, /*read_only=*/true);
  ASSERT_TRUE(reader.ok());
  auto second = Open(path, /*read_only=*/true);
  EXPECT_TRUE(second.ok());
  expect_in_use(Open(path));
  reader->reset();
  second->reset();
  EXPECT_TRUE(Open(path).ok());
}

TEST(OpenFileDevice, RefusesWhatIsNoDisk) {
  TempDir dir;
  ASSERT_EQ(mkfifo(dir.File("pipe").c_str(), 0600), 0);
  struct Case {
    std::string path;
    absl::StatusCode code;
    const char* says;
  };
  for (const Case& c :
       {Case{dir.path(), absl::StatusCode::kInvalidArgument, "a directory"},
        Case{dir.File("pipe"), absl::StatusCode::kInvalidArgument, "a pipe"},
        Case{"/dev/null", absl::StatusCode::kInvalidArgument, "a character device"},
        Case{dir.File("none"), absl::StatusCode::kNotFound, "No such file"},
        Case{dir.File("none/below"), absl::StatusCode::kNotFound, "No such file"}}) {
    const auto opened = OpenFileDevice(c.path, {}, NullLogger());
    EXPECT_EQ(opened.status().code(), c.code) << c.path;
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr(c.says));
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr(c.path));
  }
}

TEST(OpenFileDevice, RefusesAnImpossibleQueueDepth) {
  TempDir dir;
  ASSERT_TRUE(CreateImageFile(dir.File("image"), kMiB, ImageSpace::kAllocated).ok());
  for (const unsigned depth : {0u, kQueueDepthMax + 1}) {
    EXPECT_EQ(
        OpenFileDevice(dir.File("image"), {.queue_depth = depth}, NullLogger()).status().code(),
        absl::StatusCode::kInvalidArgument);
  }
}

// F-226: a write to the file never needs space that the file system has given to somebody else.
TEST(CreateImageFile, AllocatesAllOfIt) {
  TempDir dir;
  const std::string path = dir.File("image");
  ASSERT_EQ(CreateImageFile(path, 8 * kMiB, ImageSpace::kAllocated), absl::OkStatus());
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), 8 * kMiB);
  EXPECT_GE(static_cast<uint64_t>(info.st_blocks) * 512, 8 * kMiB);
  const absl::Status too_much =
      CreateImageFile(dir.File("much"), uint64_t{1} << 60, ImageSpace::kAllocated);
  EXPECT_EQ(too_much.code(), absl::StatusCode::kResourceExhausted) << too_much;
  EXPECT_NE(stat(dir.File("much").c_str(), &info), 0) << "nothing is left behind";
}

TEST(CreateImageFile, MakesASparseFileOnce) {
  TempDir dir;
  const std::string path = dir.File("image");
  ASSERT_TRUE(CreateImageFile(path, 8 * kGiB, ImageSpace::kSparse).ok());
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), 8 * kGiB);
  EXPECT_LT(static_cast<uint64_t>(info.st_blocks) * 512, kMiB);
  EXPECT_EQ(CreateImageFile(path, kMiB, ImageSpace::kSparse).code(),
            absl::StatusCode::kAlreadyExists);
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), 8 * kGiB)
      << "the file that was there is untouched";
  EXPECT_EQ(CreateImageFile(dir.File("none/image"), kMiB, ImageSpace::kSparse).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CreateImageFile(dir.File("huge"), uint64_t{1} << 63, ImageSpace::kSparse).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace h2bd
