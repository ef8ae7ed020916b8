// Every block that the reference wrote into the fixtures passes the border, and the walk meets
// exactly what the manifest counts.
#include "tests/support/fixtures.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "core/media/codec.h"
#include "core/media/dirhash.h"
#include "core/media/placement.h"
#include "tests/media/media_walk.h"

namespace h2bd {
namespace {

using nlohmann::json;

// Checks each block as far as its type allows, and counts.
class Census {
 public:
  absl::Status Visit(const MediaBlock& at) {
    ++references_[std::string(Name(at.bref.type))];
    switch (at.bref.type) {
      case BrefType::kInode:
        return VisitInode(at);
      case BrefType::kData:
        return VisitData(at);
      case BrefType::kDirent:
        return VisitDirent(at);
      case BrefType::kFreemapLeaf:
        return VisitLeaf(at);
      default:
        return absl::OkStatus();
    }
  }

  int references(const std::string& type) const {
    const auto it = references_.find(type);
    return it == references_.end() ? 0 : it->second;
  }
  uint64_t freemap_bytes(ChunkState state) const {
    const auto it = chunks_.find(state);
    return it == chunks_.end() ? 0 : it->second * kChunkBytes;
  }

 private:
  absl::Status VisitInode(const MediaBlock& at) {
    const bool indexed = IsIndexed(at.bref, at.kind);
    H2_ASSIGN_OR_RETURN(const InodeData inode, DecodeInode(at.bytes, at.bref, indexed));
    if (!indexed || inode.name() == InodeFilename(inode.meta.inum)) return absl::OkStatus();
    return absl::InternalError("unexpected inode name at " + Describe(at.bref));
  }

  absl::Status VisitDirent(const MediaBlock& at) {
    const std::string name = at.bytes.empty()
                                 ? InlineDirentName(at.bref)
                                 : std::string(AsText(at.bytes.first(at.bref.dirent_namlen())));
    H2_RETURN_IF_ERROR(CheckName(name, "name"));
    if ((at.bref.key.v & ~kDirhashLoMask) == Dirhash(name).v) return absl::OkStatus();
    return absl::InternalError("the hash of its name does not lead to " + Describe(at.bref));
  }

  // What was compressed can be compressed again, and comes back.
  absl::Status VisitData(const MediaBlock& at) {
    H2_RETURN_IF_ERROR(DecodeBlock(at.bref.comp_method(), at.bytes, logical_.span()));
    if (at.bref.comp_method() == CompMethod::kNone) return absl::OkStatus();
    const StoredBlock stored = EncodeBlock(logical_.span(), at.bref.comp_method(), 9);
    AlignedBuffer back(kLogicalBytes);
    H2_RETURN_IF_ERROR(DecodeBlock(stored.comp, stored.bytes.span(), back.span()));
    if (AsText(back.span()) == AsText(logical_.span())) return absl::OkStatus();
    return absl::InternalError("no round trip for " + Describe(at.bref));
  }

  absl::Status VisitLeaf(const MediaBlock& at) {
    H2_ASSIGN_OR_RETURN(const std::unique_ptr<FreemapLeafData> leaf, DecodeFreemapLeaf(at.bytes));
    for (const BmapData& segment : *leaf) {
      for (int c = 0; c < kChunksPerSegment; ++c) ++chunks_[segment.chunk(c)];
      if (segment.avail != static_cast<uint64_t>(segment.CountFree()) * kChunkBytes) {
        return absl::InternalError("avail is not the count of free chunks at " + Describe(at.bref));
      }
    }
    return absl::OkStatus();
  }

  AlignedBuffer logical_{kLogicalBytes};
  std::map<std::string, int> references_;
  std::map<ChunkState, uint64_t> chunks_;
};

void ExpectCounts(const Census& census, const json& image) {
  for (const auto& [type, count] : image["references"].items()) {
    EXPECT_EQ(census.references(type), count.get<int>()) << type;
  }
  const json& freemap = image["freemap"];
  EXPECT_EQ(census.references("freemap_leaf"), freemap["leaves"].get<int>());
  EXPECT_EQ(census.references("freemap_node"), freemap["nodes"].get<int>());
  EXPECT_EQ(census.freemap_bytes(ChunkState::kAllocated),
            freemap["allocated_bytes"].get<uint64_t>());
  EXPECT_EQ(census.freemap_bytes(ChunkState::kStaged),
            freemap["possibly_free_bytes"].get<uint64_t>());
  EXPECT_EQ(census.freemap_bytes(ChunkState::kFree), freemap["free_bytes"].get<uint64_t>());
}

void CheckFixture(const json& image) {
  const absl::StatusOr<SparseImage> disk = LoadFixture(image["name"].get<std::string>());
  ASSERT_TRUE(disk.ok()) << disk.status();
  for (const json& listed : image["headers"]) {
    const int slot = listed["slot"].get<int>();
    SCOPED_TRACE("slot " + std::to_string(slot));
    const std::unique_ptr<VolumeData> header = ReadHeader(*disk, slot);
    const absl::Status status = CheckVolumeHeader(*header);
    ASSERT_EQ(status.ok(), listed["valid"].get<bool>()) << status;
    if (!status.ok()) continue;
    EXPECT_EQ(header->mirror_tid.v, listed["mirror_tid"].get<uint64_t>());
    EXPECT_EQ(header->freemap_tid.v, listed["freemap_tid"].get<uint64_t>());
    EXPECT_EQ(FormatUuid(header->fsid), image["fsid"].get<std::string>());

    Census census;
    EXPECT_EQ(WalkMedia(*disk, *header, [&](const MediaBlock& at) { return census.Visit(at); }),
              absl::OkStatus());
    if (slot == image["best_slot"].get<int>()) ExpectCounts(census, image);
  }
}

TEST(Fixtures, EveryBlockPassesTheBorder) {
  const absl::StatusOr<std::string> text = FixtureManifest();
  if (!text.ok()) return SkipLoudly("the fixtures: " + text.status().ToString());
  const json manifest = json::parse(*text);
  EXPECT_GE(manifest["images"].size(), 15u);
  for (const json& image : manifest["images"]) {
    SCOPED_TRACE(image["name"].get<std::string>());
    CheckFixture(image);
  }
}

}  // namespace
}  // namespace h2bd
