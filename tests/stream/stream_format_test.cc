// The stream format: client/stream/FORMAT.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/stream/format.h"
#include "core/base/random.h"
#include "core/base/status.h"
#include "tests/stream/stream_bytes.h"
#include "tests/support/fixtures.h"

namespace h2bd::stream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Identity SmallIdentity() {
  return {.stream = TestUuid(1), .source = TestUuid(2), .base = TestUuid(3)};
}

// What is sent, in the order of a snapshot: each step is one record.
class Content {
 public:
  Content& Disk(const DiskRecord& disk) {
    disk_ = disk.number;
    return Add(/*end=*/0, [disk](Encoder& e) { return e.Disk(disk); });
  }
  Content& Remove(const std::string& path) {
    ++disk_;
    return Add(/*end=*/0, [path](Encoder& e) { return e.Remove(path); });
  }
  Content& Data(uint64_t offset, std::string bytes) {
    const uint64_t end = offset + bytes.size();
    return Add(end, [offset, bytes](Encoder& e) { return e.Data(offset, AsBytes(bytes)); });
  }
  Content& Hole(uint64_t offset, uint64_t bytes) {
    return Add(offset + bytes, [offset, bytes](Encoder& e) { return e.Hole(offset, bytes); });
  }

  // The stream from `start` on.
  std::string Encode(const Prelude& start, const EncoderOptions& options = {}) const {
    MemorySink sink;
    Encoder encoder(sink, start, options);
    EXPECT_TRUE(encoder.Begin().ok());
    const Position at = start.position;
    for (const Step& step : steps_) {
      const bool sent = step.disk < at.disk || (step.disk == at.disk && step.end <= at.offset);
      if (sent) continue;
      EXPECT_TRUE(step.put(encoder).ok());
    }
    EXPECT_TRUE(encoder.End(Sha256::Of(AsBytes("attested"))).ok());
    return sink.bytes;
  }

 private:
  struct Step {
    uint64_t disk;
    uint64_t end;  // of its range; 0 for what begins a number
    std::function<absl::Status(Encoder&)> put;
  };
  Content& Add(uint64_t end, std::function<absl::Status(Encoder&)> put) {
    steps_.push_back({disk_, end, std::move(put)});
    return *this;
  }
  uint64_t disk_ = 0;
  std::vector<Step> steps_;
};

DiskRecord Disk(uint64_t number, std::string path, uint64_t size) {
  return {.number = number, .path = std::move(path), .size_bytes = size};
}
DiskRecord DiskOfBase(uint64_t number, std::string path, std::string base_path, uint64_t size) {
  DiskRecord disk = Disk(number, std::move(path), size);
  disk.base_path = std::move(base_path);
  disk.settings = {.compression = 2, .level = 0, .check = 3};
  return disk;
}

// Every type of record, both encodings, and tails of disks, in less than 2 KiB.
Content SmallContent() {
  Content content;
  content.Disk(Disk(1, "vm1", 100)).Data(0, RandomBytes(1, 100));
  content.Disk(DiskOfBase(2, "dir/new name", "old", 4 * kBlockBytes + 7))
      .Hole(0, kBlockBytes)
      .Data(kBlockBytes, std::string(kBlockBytes, 'x'))
      .Hole(2 * kBlockBytes, 2 * kBlockBytes)
      .Data(4 * kBlockBytes, "seven b");
  content.Remove("gone").Disk(Disk(4, "empty", 0));
  return content;
}

// `part` are the first records of `whole`.
bool IsStartOf(const std::vector<std::string>& part, const std::vector<std::string>& whole) {
  return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

// What was read of a cut stream up to its last checkpoint, and what a sender sends that gets the
// token of that checkpoint, are the whole.
void ExpectResumes(const Content& content, const ReadBack& cut, const EncoderOptions& options,
                   const std::vector<std::string>& whole) {
  Prelude start = StartOf(SmallIdentity());
  std::vector<std::string> records;
  if (!cut.checkpoints.empty()) {
    const absl::StatusOr<Prelude> from_token =
        ParseToken(TokenOf({.identity = cut.prelude.identity, .position = cut.checkpoints.back()}));
    ASSERT_TRUE(from_token.ok()) << from_token.status();
    start = *from_token;
    records.assign(cut.records.begin(),
                   cut.records.begin() + static_cast<ptrdiff_t>(cut.before_checkpoint.back()));
  }
  const ReadBack rest = ReadAll(content.Encode(start, options));
  EXPECT_TRUE(rest.status.ok()) << rest.status;
  EXPECT_EQ(rest.prelude, start);
  records.insert(records.end(), rest.records.begin(), rest.records.end());
  EXPECT_EQ(records, whole);
}

constexpr EncoderOptions kEachRecordIsACheckpoint{.checkpoint_bytes = 1};

// The bytes between the lines "```stream" and "```" of FORMAT.md.
std::string VectorOfFormatMd() {
  const char* source = std::getenv("H2BD_SOURCE_DIR");
  std::ifstream file(absl::StrCat(source == nullptr ? "." : source, "/client/stream/FORMAT.md"));
  std::stringstream text;
  text << file.rdbuf();
  const std::vector<std::string> parts = absl::StrSplit(text.str(), "```");
  for (const std::string& part : parts) {
    if (part.rfind("stream\n", 0) != 0) continue;
    std::string hex = part.substr(7);
    std::erase_if(hex, [](char c) { return c == ' ' || c == '\n'; });
    return absl::HexStringToBytes(hex);
  }
  return "";
}

TEST(StreamFormat, ReadsTheVectorOfItsSpecification) {
  const std::string vector = VectorOfFormatMd();
  ASSERT_FALSE(vector.empty());
  const ReadBack read = ReadAll(vector);
  EXPECT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(read.prelude, StartOf(SmallIdentity()));
  const std::string all_a(kBlockBytes, 'a');
  DiskRecord second = DiskOfBase(2, "dir/new", "old", 2 * kBlockBytes);
  EXPECT_THAT(read.records,
              ElementsAre(Describe(Disk(1, "vm1", kBlockBytes + 5)),
                          Describe(DataRecord{1, 0, AsBytes(all_a)}),
                          Describe(DataRecord{1, kBlockBytes, AsBytes("bytes")}), Describe(second),
                          Describe(HoleRecord{2, kBlockBytes, kBlockBytes}),
                          Describe(RemoveRecord{3, "gone"}),
                          Describe(EndRecord{.attest = Sha256::Of(AsBytes("attested"))})));
  ASSERT_EQ(read.checkpoints.size(), 1u);
  EXPECT_EQ(
      TokenOf({.identity = read.prelude.identity, .position = read.checkpoints[0]}),
      "SDJCRFNFTkQBAAAAAAABAAEAAAAAAAAAAAAAAAAAAFoCAAAAAAAAAAAAAAAAAABaAwAAAAAAAAAAAAAAAAAAWgAA"
      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABQAAAAAAAAABAAAAAAAAAAUAAQAAAAAABQABAAAAAAAFAAEA"
      "AAAAAAAAAAAAAAAA6zfjpqn-Jt050zXMKW1O2K1BXqAecMAs7L2NXxXyIOFfH3ZY");
}

// All of the vector but how its compressed block was compressed, which the format leaves open.
TEST(StreamFormat, WritesTheVectorOfItsSpecification) {
  Content content;
  content.Disk(Disk(1, "vm1", kBlockBytes + 5))
      .Data(0, std::string(kBlockBytes, 'a'))
      .Data(kBlockBytes, "bytes");
  content.Disk(DiskOfBase(2, "dir/new", "old", 2 * kBlockBytes)).Hole(kBlockBytes, kBlockBytes);
  content.Remove("gone");
  // The checkpoint is due when the three records of the first disk are there.
  const std::string mine = content.Encode(StartOf(SmallIdentity()), {.checkpoint_bytes = 440});
  std::string vector = VectorOfFormatMd();
  constexpr size_t kFirstOfData = kPreludeBytes + kHeaderBytes + 11;
  EXPECT_EQ(mine.substr(0, kFirstOfData), vector.substr(0, kFirstOfData));
  const ReadBack mine_read = ReadAll(mine), vector_read = ReadAll(vector);
  EXPECT_EQ(mine_read.records, vector_read.records);
  EXPECT_EQ(mine_read.before_checkpoint, vector_read.before_checkpoint);
}

TEST(StreamFormat, ComesThroughInPiecesOfAnySize) {
  const std::string bytes = SmallContent().Encode(StartOf(SmallIdentity()));
  const ReadBack whole = ReadAll(bytes);
  EXPECT_TRUE(whole.status.ok()) << whole.status;
  EXPECT_EQ(whole.records.size(), 10u);
  for (const size_t piece : {1, 7, 57}) {
    MemorySource source(bytes, piece);
    EXPECT_EQ(ReadAll(source).records, whole.records);
  }
}

TEST(StreamFormat, NothingIsReadBehindTheEnd) {
  const std::string bytes = SmallContent().Encode(StartOf(SmallIdentity())) + "what follows";
  MemorySource source(bytes);
  EXPECT_TRUE(ReadAll(source).status.ok());
  EXPECT_EQ(source.left(), 12u);
}

TEST(StreamFormat, IncompressibleBlocksGoRawOthersAsLz4) {
  const auto size_of = [](const std::string& block) {
    Content content;
    content.Disk(Disk(1, "d", kBlockBytes)).Data(0, block);
    return content.Encode(StartOf(SmallIdentity())).size();
  };
  const size_t frame = size_of(RandomBytes(1, kBlockBytes)) - kBlockBytes;
  EXPECT_EQ(frame, kPreludeBytes + 3 * kHeaderBytes + 8 + 1 + 72);
  EXPECT_LT(size_of(TextBytes(1, kBlockBytes)), frame + 2000);
}

// "A cut anywhere resumes": exhaustive over a small stream that has a checkpoint behind each
// record.
TEST(StreamFormat, EveryPrefixIsACutAndResumes) {
  const Content content = SmallContent();
  for (const EncoderOptions& options : {EncoderOptions{}, kEachRecordIsACheckpoint}) {
    const std::string bytes = content.Encode(StartOf(SmallIdentity()), options);
    const ReadBack whole = ReadAll(bytes);
    ASSERT_TRUE(whole.status.ok()) << whole.status;
    for (size_t length = 0; length < bytes.size(); ++length) {
      SCOPED_TRACE(length);
      const ReadBack cut = ReadAll(absl::string_view(bytes).substr(0, length));
      ASSERT_EQ(ReasonOf(cut.status), kReasonStreamCut) << cut.status;
      ASSERT_TRUE(absl::IsUnavailable(cut.status));
      ASSERT_TRUE(IsStartOf(cut.records, whole.records));
      ExpectResumes(content, cut, options, whole.records);
    }
  }
}

// "A flipped bit anywhere is refused before anything of the record is used": exhaustive.
TEST(StreamFormat, EverySingleFlippedBitIsRefusedBeforeItIsUsed) {
  const std::string bytes =
      SmallContent().Encode(StartOf(SmallIdentity()), kEachRecordIsACheckpoint);
  const ReadBack whole = ReadAll(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    const ReadBack read = ReadAll(flipped);
    ASSERT_FALSE(read.status.ok()) << "bit " << bit;
    ASSERT_TRUE(IsStartOf(read.records, whole.records)) << "bit " << bit;
    ASSERT_LT(read.records.size(), whole.records.size()) << "bit " << bit;
  }
}

Content LargeContent(SeededRandom& random) {
  Content content;
  for (uint64_t number = 1; number <= 4; ++number) {
    const uint64_t size = (20 + random.Next64() % 20) * kBlockBytes - random.Next64() % kBlockBytes;
    content.Disk(Disk(number, absl::StrCat("disk", number), size));
    for (uint64_t at = 0; at < size; at += kBlockBytes) {
      const uint64_t bytes = std::min(kBlockBytes, size - at);
      const uint64_t kind = random.Next64() % 4;
      if (kind == 0) content.Hole(at, bytes);
      if (kind == 1) content.Data(at, RandomBytes(random.Next64(), bytes));
      if (kind == 2) content.Data(at, TextBytes(random.Next64(), bytes));
    }
  }
  return content;
}

TEST(StreamFormat, LargeStreamsResumeAndRefuseTheSame) {
  SeededRandom random(TestSeed());
  const Content content = LargeContent(random);
  const EncoderOptions options{.checkpoint_bytes = 200 * kKiB};
  const std::string bytes = content.Encode(StartOf(SmallIdentity()), options);
  const ReadBack whole = ReadAll(bytes);
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  EXPECT_GT(whole.checkpoints.size(), 3u);
  for (int round = 0; round < 60; ++round) {
    ReadBack cut = ReadAll(absl::string_view(bytes).substr(0, random.Next64() % bytes.size()));
    EXPECT_EQ(ReasonOf(cut.status), kReasonStreamCut);
    ExpectResumes(content, cut, options, whole.records);

    std::string flipped = bytes;
    const size_t bit = random.Next64() % (bytes.size() * 8);
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    cut = ReadAll(flipped);
    ASSERT_FALSE(cut.status.ok()) << "bit " << bit;
    ASSERT_TRUE(IsStartOf(cut.records, whole.records));
    if (bit >= kPreludeBytes * 8) ExpectResumes(content, cut, options, whole.records);
  }
}

// Where the records of a stream begin.
std::vector<size_t> RecordStarts(absl::string_view bytes) {
  std::vector<size_t> starts;
  for (size_t at = kPreludeBytes; at < bytes.size();) {
    starts.push_back(at);
    at += kHeaderBytes + LoadAs<uint32_t>(AsBytes(bytes), at + 4);
  }
  starts.push_back(bytes.size());
  return starts;
}

TEST(StreamFormat, RecordsThatAreMissingRepeatedOrExchangedAreRefused) {
  const std::string bytes = SmallContent().Encode(StartOf(SmallIdentity()));
  const std::vector<size_t> at = RecordStarts(bytes);
  const auto record = [&](size_t i) { return bytes.substr(at[i], at[i + 1] - at[i]); };
  const auto expect_refused = [](const std::string& changed) {
    const absl::Status status = ReadAll(changed).status;
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(status.message(), HasSubstr("was to follow"));
  };
  for (size_t i = 0; i + 2 < at.size(); ++i) {
    const std::string before = bytes.substr(0, at[i]);
    expect_refused(before + bytes.substr(at[i + 1]));
    expect_refused(before + record(i) + bytes.substr(at[i]));
    expect_refused(before + record(i + 1) + record(i) + bytes.substr(at[i + 2]));
  }
}

TEST(StreamFormat, ARecordOfAnotherStreamIsDamaged) {
  Identity other = SmallIdentity();
  other.stream = TestUuid(9);
  const std::string a = SmallContent().Encode(StartOf(SmallIdentity()));
  const std::string b = SmallContent().Encode(StartOf(other));
  const ReadBack read = ReadAll(a.substr(0, kPreludeBytes) + b.substr(kPreludeBytes));
  EXPECT_TRUE(absl::IsDataLoss(read.status)) << read.status;
  EXPECT_THAT(read.records, ElementsAre());
}

// The CRC and the XXH64 of a record may be right and its bytes wrong all the same.
TEST(StreamFormat, TheChainClosesWhatChecksumsMissed) {
  const std::string bytes =
      SmallContent().Encode(StartOf(SmallIdentity()), kEachRecordIsACheckpoint);
  const std::vector<size_t> at = RecordStarts(bytes);
  std::string changed = bytes;
  changed[at[3] - 1] ^= 1;  // the last byte of the first DATA, which follows DISK and CHECKPOINT
  Reseal(changed);
  EXPECT_TRUE(ReadAll(changed).status.ok());
  const std::string mixed =
      changed.substr(0, at[3]) + bytes.substr(at[3]);  // the checkpoint of the true bytes
  const ReadBack read = ReadAll(mixed);
  EXPECT_THAT(read.status.message(), HasSubstr("SHA-256"));
}

// Changes the field of `bytes` at `offset` in record `record` (or in the prelude, for -1), makes
// all checksums right, and gives the error.
template <class T>
std::string ErrorWith(std::string bytes, int record, size_t offset, T value) {
  const size_t base = record < 0 ? 0 : RecordStarts(bytes)[static_cast<size_t>(record)];
  StoreAs(std::as_writable_bytes(std::span(bytes)), value, base + offset);
  Reseal(bytes);
  const absl::Status status = ReadAll(bytes).status;
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  return std::string(status.message());
}

// FORMAT.md: which values a field may have, where the checksums are right.
TEST(StreamFormat, SenselessFieldsAreNamedAndRefused) {
  const std::string bytes = SmallContent().Encode(StartOf(SmallIdentity()), {.compress = false});
  // Records: 0 DISK 1, 1 DATA, 2 DISK 2, 3 HOLE, 4 DATA, 5 HOLE, 6 DATA, 7 REMOVE, 8 DISK 4, 9 END.
  constexpr size_t kType = 0, kLength = 4, kDisk = 16, kOffset = 24, kBytes = 32, kEncoding = 48;
  constexpr size_t kPayload = kHeaderBytes;
  EXPECT_THAT(ErrorWith<uint32_t>(bytes, 1, kType, 7), HasSubstr("type 7, legal: 1..6"));
  EXPECT_THAT(ErrorWith<uint32_t>(bytes, 1, kType, 0), HasSubstr("type 0"));
  EXPECT_THAT(ErrorWith<uint32_t>(bytes, 3, kEncoding, 1), HasSubstr("encoding 1"));
  EXPECT_THAT(ErrorWith<uint32_t>(bytes, 1, kEncoding, 2), HasSubstr("encoding 2"));
  EXPECT_THAT(ErrorWith<uint32_t>(bytes, 1, kEncoding, 1), HasSubstr("100 bytes, legal: 1..99"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 2, kDisk, 3), HasSubstr("disk 3 follows disk 1"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 2, kOffset, 1), HasSubstr("offset is not 0"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 2, kBytes, UINT64_MAX), HasSubstr("up to 2^62"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 1, kDisk, 2), HasSubstr("of disk 2 within disk 1"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 4, kOffset, 0), HasSubstr("legal: multiples of 65536"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 4, kOffset, kBlockBytes + 1), HasSubstr("multiples"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 6, kOffset, 5 * kBlockBytes), HasSubstr("of a disk of"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 6, kBytes, 8), HasSubstr("8 bytes at"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 6, kBytes, 6), HasSubstr("within a block"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 4, kBytes, 2 * kBlockBytes), HasSubstr("up to 65536"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 3, kBytes, 0), HasSubstr("0 bytes at"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 3, kBytes, UINT64_MAX), HasSubstr("of a disk of"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 7, kBytes, 1), HasSubstr("byte count is not 0"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 9, kBytes, 1), HasSubstr("the stream stands at"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, 9, kPayload + 64, 1), HasSubstr("1 bytes of holes"));
  EXPECT_THAT(ErrorWith<uint32_t>(bytes, 9, kLength, 71), HasSubstr("payload of 71 bytes"));
  // The payload of DISK: settings, then the lengths of both names, then the names.
  EXPECT_THAT(ErrorWith<uint8_t>(bytes, 0, kPayload + 3, 1), HasSubstr("names of"));
  EXPECT_THAT(ErrorWith<uint16_t>(bytes, 0, kPayload + 4, 2), HasSubstr("names of 2 and 0"));
  EXPECT_THAT(ErrorWith<char>(bytes, 0, kPayload + 8, '/'), HasSubstr("component is empty"));
  EXPECT_THAT(ErrorWith<char>(bytes, 0, kPayload + 8, '\0'), HasSubstr("NUL"));
  // The prelude.
  EXPECT_THAT(ErrorWith<uint16_t>(bytes, -1, 10, 2), HasSubstr("flags 2"));
  EXPECT_THAT(ErrorWith<uint32_t>(bytes, -1, 12, 4096), HasSubstr("blocks of 4096"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, -1, 96, 0), HasSubstr("number 0"));
  EXPECT_THAT(ErrorWith<uint64_t>(bytes, -1, 104, 1), HasSubstr("not at the start"));
  EXPECT_THAT(ErrorWith<char>(bytes, -1, 144, 'x'), HasSubstr("not at the start"));
}

TEST(StreamFormat, LengthsAreBoundedBeforeAnythingIsReadOrKept) {
  std::string bytes = SmallContent().Encode(StartOf(SmallIdentity()));
  StoreAs(std::as_writable_bytes(std::span(bytes)), uint32_t{0xffffffff}, kPreludeBytes + 4);
  StoreAs(std::as_writable_bytes(std::span(bytes)),
          EncodeHeader({.type = RecordType::kData,
                        .length = 0xffffffff,
                        .sequence = 1,
                        .disk = 1,
                        .bytes = 0xffffffff},
                       SmallIdentity().stream),
          kPreludeBytes);
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(bytes).status));
}

TEST(StreamFormat, RecordsOfAnIncrementalStreamAreRefusedInAFullOne) {
  Identity full = SmallIdentity();
  full.base = {};
  Content removes;
  removes.Disk(Disk(1, "a", 0)).Remove("b");
  std::string bytes = removes.Encode(StartOf(SmallIdentity()));
  StoreAs(std::as_writable_bytes(std::span(bytes)), EncodePrelude(StartOf(full)));
  Reseal(bytes);
  EXPECT_THAT(ReadAll(bytes).status.message(), HasSubstr("only in an incremental stream"));

  Content based;
  based.Disk(DiskOfBase(1, "a", "b", 0));
  bytes = based.Encode(StartOf(SmallIdentity()));
  StoreAs(std::as_writable_bytes(std::span(bytes)), EncodePrelude(StartOf(full)));
  Reseal(bytes);
  EXPECT_THAT(ReadAll(bytes).status.message(), HasSubstr("a stream that has none"));
}

TEST(StreamFormat, AStreamOfOneDiskHasOne) {
  Identity one = SmallIdentity();
  one.one_disk = true;
  Content two;
  two.Disk(Disk(1, "a", 0)).Disk(Disk(2, "b", 0));
  for (const Content& content : {two, Content()}) {
    std::string bytes = content.Encode(StartOf(SmallIdentity()));
    StoreAs(std::as_writable_bytes(std::span(bytes)), EncodePrelude(StartOf(one)));
    Reseal(bytes);
    EXPECT_THAT(ReadAll(bytes).status.message(), HasSubstr("a stream of one disk"));
  }
}

TEST(StreamFormat, ALaterVersionIsToldByItsNumberHoweverShortItIs) {
  std::string later = "H2BDSEND";
  later += std::string("\x02\0\0\0\0\0\0\0", 8);
  const absl::Status status = ReadAll(later).status;
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("version 2"));
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(std::string(200, 'x')).status));
}

TEST(StreamFormat, PathsThatNoDiskMayHave) {
  EXPECT_TRUE(CheckPath("vm1").ok());
  EXPECT_TRUE(CheckPath("a/..b/.c").ok());
  EXPECT_TRUE(CheckPath(std::string(kPathMax, 'x')).ok());
  for (const absl::string_view path : {"", "/a", "a/", "a//b", ".", "a/..", "../a"}) {
    EXPECT_TRUE(absl::IsDataLoss(CheckPath(path))) << path;
  }
  EXPECT_FALSE(CheckPath(absl::string_view("a\0b", 3)).ok());
  EXPECT_FALSE(CheckPath(std::string(kPathMax + 1, 'x')).ok());
}

TEST(StreamToken, IsTheTextOfAPositionAndNothingElse) {
  const Prelude prelude{
      .identity = SmallIdentity(),
      .position = {.sequence = 7, .disk = 2, .disk_bytes = 100, .offset = 100, .data_bytes = 9}};
  const std::string token = TokenOf(prelude);
  EXPECT_EQ(token.size(), 240u);
  const absl::StatusOr<Prelude> back = ParseToken(token);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, prelude);
  for (size_t i = 0; i < token.size(); ++i) {
    std::string wrong = token;
    wrong[i] = wrong[i] == 'A' ? 'B' : 'A';
    EXPECT_TRUE(absl::IsInvalidArgument(ParseToken(wrong).status()) ||
                absl::IsFailedPrecondition(ParseToken(wrong).status()))
        << i;
    EXPECT_FALSE(ParseToken(token.substr(0, i)).ok());
  }
  EXPECT_FALSE(ParseToken("*").ok());
}

TEST(StreamToken, OfAPlaceBehindTheEndOfItsDiskIsRefused) {
  const Prelude prelude{.identity = SmallIdentity(),
                        .position = {.sequence = 7, .disk = 2, .disk_bytes = 100, .offset = 101}};
  EXPECT_TRUE(absl::IsInvalidArgument(ParseToken(TokenOf(prelude)).status()));
}

TEST(StreamDecoder, GivesItsFirstErrorAgain) {
  std::string bytes = SmallContent().Encode(StartOf(SmallIdentity()));
  bytes[kPreludeBytes + 20] ^= 1;
  MemorySource source(bytes);
  Decoder decoder(source);
  ASSERT_TRUE(decoder.Begin().ok());
  const absl::Status first = decoder.Next().status();
  EXPECT_TRUE(absl::IsDataLoss(first));
  EXPECT_THAT(first.message(), HasSubstr("at record 1"));
  EXPECT_EQ(decoder.Next().status(), first);
}

}  // namespace
}  // namespace h2bd::stream
