// Writes the seed corpora: fuzz_seeds DIRECTORY makes DIRECTORY/TARGET/NAME. The sample volume of
// the specification is always there; the fixtures add to it when they are at hand.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/media/codec.h"
#include "core/media/placement.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/media/media_walk.h"
#include "tests/media/sample_volume.h"
#include "tests/stream/stream_bytes.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

constexpr uint64_t kHeaderSeedBytes = 4096;  // all that is not reserved lies in front
// Blocks of one type from one fixture; what comes later looks the same.
constexpr int kBlocksOfOneType = 6;

class Corpus {
 public:
  explicit Corpus(std::filesystem::path root) : root_(std::move(root)) {}

  void Header(const std::string& name, const VolumeData& header) {
    const auto bytes = std::as_bytes(std::span(&header, 1));
    Add("fuzz_volume_header", name,
        JoinInput(HeaderHead{.seal = 1}, bytes.first(kHeaderSeedBytes)));
  }
  void Table(const std::string& name, TableKind kind, Key key, unsigned keybits,
             uint64_t total_size, ConstByteSpan raw) {
    const TableHead head{.table_key = key.v,
                         .total_size = total_size,
                         .kind = static_cast<uint8_t>(kind),
                         .table_keybits = static_cast<uint8_t>(keybits)};
    Add("fuzz_blockref_table", name, JoinInput(head, raw));
  }
  void Inode(const std::string& name, const Blockref& bref, bool indexed, uint64_t total_size,
             ConstByteSpan raw) {
    Add("fuzz_inode", name,
        JoinInput(InodeHead{.bref = bref, .total_size = total_size, .indexed = indexed}, raw));
  }
  void Stored(const std::string& name, CompMethod comp, ConstByteSpan stored) {
    AddBlock(name, comp, stored, /*encode=*/0);
  }
  void Logical(const std::string& name, CompMethod comp, ConstByteSpan logical) {
    AddBlock(name, comp, logical, /*encode=*/1);
  }
  void Leaf(const std::string& name, const FreemapLeafData& leaf) {
    // A window over the segments that are partly used, where there are any.
    size_t first = 0;
    while (first + 8 < leaf.size() && leaf[first].class_ == 0) ++first;
    const auto window = std::span(leaf).subspan(first, 8);
    Add("fuzz_freemap_leaf", name,
        JoinInput(LeafHead{.first_segment = static_cast<uint8_t>(first)}, std::as_bytes(window)));
  }
  void Stream(const std::string& name, absl::string_view stream) {
    for (const uint8_t seal : {0, 1}) {
      Add("fuzz_stream", absl::StrCat(name, seal == 0 ? "" : "-sealed"),
          JoinInput(StreamHead{.seal = seal, .piece = 255}, AsBytes(stream)));
    }
  }

  bool failed() const { return failed_; }
  int count() const { return count_; }

 private:
  void AddBlock(const std::string& name, CompMethod comp, ConstByteSpan block, uint8_t encode) {
    const CodecHead head{.comp = static_cast<uint8_t>(comp),
                         .radix = static_cast<uint8_t>(RadixFor(block.size()) - kRadixMin),
                         .encode = encode,
                         .level = 9};
    Add("fuzz_codec", name, JoinInput(head, block));
  }

  void Add(const std::string& target, const std::string& name, const std::vector<std::byte>& seed) {
    std::error_code error;
    std::filesystem::create_directories(root_ / target, error);
    std::ofstream out(root_ / target / name, std::ios::binary);
    out.write(reinterpret_cast<const char*>(seed.data()),
              static_cast<std::streamsize>(seed.size()));
    out.close();
    if (!out) failed_ = true;
    ++count_;
  }

  const std::filesystem::path root_;
  bool failed_ = false;
  int count_ = 0;
};

void AddSampleVolume(Corpus& corpus) {
  const std::unique_ptr<VolumeData> header = SampleHeader();
  corpus.Header("sample", *header);
  corpus.Table("sample-sroot", TableKind::kSuperRootSet, Key(0), 64, kSampleTotalSize,
               std::as_bytes(std::span(header->sroot_blockset)));
  corpus.Table("sample-freemap", TableKind::kFreemap, Key(0), 64, kSampleTotalSize,
               std::as_bytes(std::span(header->freemap_blockset)));
  const InodeData root = SamplePfsRoot();
  corpus.Table("sample-dirents", TableKind::kPfsRoot, root.blockset(1).key,
               root.blockset(1).keybits, kSampleTotalSize, SampleDirentTable());
  const Blockref data = SampleData1Bref();
  corpus.Table("sample-data", TableKind::kFile, Key(0), 64, kSampleTotalSize,
               std::as_bytes(std::span(&data, 1)));

  const InodeData hello = SampleHelloInode();
  corpus.Inode("sample-hello", SampleHelloBref(), /*indexed=*/true, kSampleTotalSize,
               std::as_bytes(std::span(&hello, 1)));
  Blockref root_bref = SampleHelloBref();
  root_bref.key = root.meta.name_key;
  corpus.Inode("sample-root", root_bref, /*indexed=*/false, kSampleTotalSize,
               std::as_bytes(std::span(&root, 1)));

  const std::vector<std::byte> text = SampleData1Text();
  corpus.Stored("sample-lz4", CompMethod::kLz4, SampleData1Block());
  for (const CompMethod comp : {CompMethod::kNone, CompMethod::kLz4, CompMethod::kZlib}) {
    corpus.Logical(absl::StrCat("sample-text-", Name(comp)), comp, text);
  }
  const StoredBlock zlib = EncodeBlock(text, CompMethod::kZlib, 9);
  corpus.Stored("sample-zlib", zlib.comp, zlib.bytes.span());
  corpus.Leaf("sample", *SampleFreemapLeaf());
  corpus.Leaf("initial", InitialLeaf(0, header->allocator_beg, kSampleTotalSize).data);
}

// Every type of record, in full and as the part behind a checkpoint.
void AddStreams(Corpus& corpus) {
  const stream::Prelude start = stream::StartOf(
      {.stream = stream::TestUuid(1), .source = stream::TestUuid(2), .base = stream::TestUuid(3)});
  stream::MemorySink sink;
  stream::Encoder encoder(sink, start, {.checkpoint_bytes = 200});
  const std::string block = stream::TextBytes(1, stream::kBlockBytes);
  H2_ASSERT(encoder.Begin().ok());
  H2_ASSERT(encoder.Disk({.number = 1, .path = "a", .size_bytes = 3 * stream::kBlockBytes}).ok());
  H2_ASSERT(encoder.Data(0, AsBytes(block)).ok());
  H2_ASSERT(encoder.Hole(stream::kBlockBytes, stream::kBlockBytes).ok());
  H2_ASSERT(encoder.Disk({.number = 2, .path = "b", .base_path = "c", .size_bytes = 5}).ok());
  const stream::Position middle = encoder.position();
  const size_t cut = sink.bytes.size();
  H2_ASSERT(encoder.Data(0, AsBytes("bytes")).ok());
  H2_ASSERT(encoder.Remove("d").ok());
  H2_ASSERT(encoder.End({}).ok());
  corpus.Stream("whole", sink.bytes);
  const auto head = stream::EncodePrelude({.identity = start.identity, .position = middle});
  corpus.Stream("rest", absl::StrCat(AsText(head), sink.bytes.substr(cut)));
}

absl::Status AddBlock(Corpus& corpus, const std::string& name, uint64_t total_size,
                      const MediaBlock& at) {
  switch (at.bref.type) {
    case BrefType::kInode:
      corpus.Inode(name, at.bref, IsIndexed(at.bref, at.kind), total_size, at.bytes);
      break;
    case BrefType::kIndirect:
    case BrefType::kFreemapNode:
      corpus.Table(name, at.kind, at.bref.key, at.bref.keybits, total_size,
                   at.bytes.first(std::min<size_t>(at.bytes.size(), kIndirectBytesMin)));
      break;
    case BrefType::kData:
      corpus.Stored(name, at.bref.comp_method(), at.bytes);
      break;
    case BrefType::kFreemapLeaf:
      corpus.Leaf(name, LoadAs<FreemapLeafData>(at.bytes));
      break;
    default:
      break;  // directory entries stand in the tables
  }
  return absl::OkStatus();
}

absl::Status AddFixture(Corpus& corpus, const std::string& fixture) {
  H2_ASSIGN_OR_RETURN(const SparseImage image, LoadFixture(fixture));
  const std::unique_ptr<VolumeData> header = ReadHeader(image, 0);
  corpus.Header(fixture, *header);
  std::map<BrefType, int> met;
  return WalkMedia(image, *header, [&](const MediaBlock& at) {
    const int nth = ++met[at.bref.type];
    if (nth > kBlocksOfOneType) return absl::OkStatus();
    return AddBlock(corpus, absl::StrCat(fixture, "-", Name(at.bref.type), "-", nth),
                    header->address_space(), at);
  });
}

int Main(const char* directory) {
  Corpus corpus(directory);
  AddSampleVolume(corpus);
  AddStreams(corpus);
  // The big ones hold nothing that these do not.
  for (const char* fixture : {"f01-basic-2g", "f05-zlib-levels", "f08-pfs-snapshot", "f11-bulkfree",
                              "f13-check-none-disabled", "f14-format-1"}) {
    if (!SharedDir().has_value()) {
      SkipLoudly("seeds from the fixtures");
      break;
    }
    const absl::Status status = AddFixture(corpus, fixture);
    if (!status.ok()) {
      std::fprintf(stderr, "fuzz_seeds: %s: %s\n", fixture, status.ToString().c_str());
      return 1;
    }
  }
  if (corpus.failed()) {
    std::fprintf(stderr, "fuzz_seeds: cannot write below %s\n", directory);
    return 1;
  }
  std::printf("fuzz_seeds: %d seeds\n", corpus.count());
  return 0;
}

}  // namespace
}  // namespace h2bd

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds DIRECTORY\n");
    return 2;
  }
  return h2bd::Main(argv[1]);
}
