#include "tests/media/sample_volume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "core/media/check_code.h"
#include "core/media/codec.h"
#include "core/media/decode.h"
#include "core/media/dirhash.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

TEST(SampleVolume, SealGivesTheListedCrcs) {
  const std::unique_ptr<VolumeData> header = SampleHeader();
  header->icrc_sects.fill(0);
  header->icrc_volheader = 0;
  SealVolumeData(*header);
  EXPECT_EQ(header->icrc_sects[6], 0xe5e68d79);
  EXPECT_EQ(header->icrc_sects[7], 0x1bf9137f);
  EXPECT_EQ(header->icrc_volheader, 0x2d237d8b);
}

TEST(SampleVolume, HeaderDecodes) {
  const std::unique_ptr<VolumeData> header = SampleHeader();
  EXPECT_EQ(CheckVolumeHeader(*header), absl::OkStatus());
  EXPECT_EQ(header->address_space(), kSampleTotalSize);
  EXPECT_EQ(FormatUuid(header->fstype), "5cbb9ad1-862d-11dc-a94d-01301bb8a9f5");

  const auto sroot = DecodeTable(std::as_bytes(std::span(header->sroot_blockset)),
                                 TableKind::kSuperRootSet, Key(0), 64, kSampleTotalSize);
  ASSERT_TRUE(sroot.ok()) << sroot.status();
  ASSERT_EQ(sroot->size(), 1u);
  EXPECT_EQ(sroot->front().data_off, DataOff::Make(ByteOff(0x14801c00), 10));
  EXPECT_EQ(sroot->front().data_count(), 0x3c00u);
  EXPECT_EQ(sroot->front().inode_count(), 5u);

  const auto freemap = DecodeTable(std::as_bytes(std::span(header->freemap_blockset)),
                                   TableKind::kFreemap, Key(0), 64, kSampleTotalSize);
  ASSERT_TRUE(freemap.ok()) << freemap.status();
  ASSERT_EQ(freemap->size(), 1u);
  EXPECT_EQ(freemap->front().freemap_bigmask(), 0xffffffff);
  EXPECT_EQ(freemap->front().freemap_avail(), 0x2b800000u);
}

TEST(SampleVolume, LayoutFollowsTheRules) {
  const std::unique_ptr<VolumeData> header = SampleHeader();
  const AreaSizes areas = DefaultAreas(header->total_size);
  EXPECT_EQ(header->boot_end - header->boot_beg, areas.boot);
  EXPECT_EQ(header->aux_end - header->aux_beg, areas.aux);
  EXPECT_EQ(header->allocator_size,
            header->total_size - ReservedBytes(header->total_size) - areas.boot - areas.aux);
  const NewLeaf leaf = InitialLeaf(0, header->allocator_beg, header->total_size);
  EXPECT_EQ(uint64_t(leaf.usable_segments) * kSegBytes,
            header->freemap_blockset[0].freemap_avail());
}

TEST(SampleVolume, FreemapLeafHasTheListedCrc) {
  const std::unique_ptr<FreemapLeafData> leaf = SampleFreemapLeaf();
  const auto bytes = std::as_bytes(std::span(*leaf));
  EXPECT_EQ(Icrc32(bytes), 0xa696de3e);
  EXPECT_EQ(VerifyCheck(SampleHeader()->freemap_blockset[0], bytes), absl::OkStatus());
  EXPECT_TRUE(DecodeFreemapLeaf(bytes).ok());
  const std::vector<std::byte> raw82 = FromListing(128, R"(
    00: 00200000 1001 00
    1c: 00c03f00
    40: 03000000 00000000)");
  EXPECT_EQ(LoadAs<BmapData>(raw82), (*leaf)[82]);

  const NewLeaf initial = InitialLeaf(0, 0x14400c00, kSampleTotalSize);
  for (const size_t unused : {size_t{0}, size_t{81}, size_t{86}, size_t{255}}) {
    EXPECT_EQ((*leaf)[unused], initial.data[unused]) << unused;
  }
}

TEST(SampleVolume, HelloInodeHasTheListedChecks) {
  const InodeData inode = SampleHelloInode();
  const auto bytes = std::as_bytes(std::span(&inode, 1));
  EXPECT_EQ(Xxhash64(bytes), 0x12c88c38123804cd);
  EXPECT_EQ(Icrc32(bytes), 0x5732fc63u);
  EXPECT_EQ(absl::BytesToHexString(AsText(Sha192(bytes))),
            "3fb036396510881872e85abd83ed809540d1ce133cfc7082");

  const auto decoded = DecodeInode(bytes, SampleHelloBref(), /*indexed=*/true);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->name(), InodeFilename(Inum(0x404)));
  EXPECT_EQ(decoded->meta.size, 16u);
  EXPECT_TRUE(decoded->meta.directdata());
  EXPECT_EQ(AsText(ConstByteSpan(decoded->u).first(16)), "Hello, HAMMER2!\n");
  EXPECT_EQ(TableKindOf(*decoded), TableKind::kFile);
}

TEST(SampleVolume, PfsRootDecodes) {
  const InodeData inode = SamplePfsRoot();
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.flags = kBrefFlagPfsroot;
  bref.key = Dirhash("DATA");
  bref.data_off = DataOff::Make(ByteOff(0x14801800), kInodeRadix);
  const auto decoded = DecodeInode(std::as_bytes(std::span(&inode, 1)), bref, /*indexed=*/false);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->name(), "DATA");
  EXPECT_EQ(decoded->meta.name_key, bref.key);
  EXPECT_EQ(decoded->meta.pfs_inum, 0x405u);
  EXPECT_EQ(decoded->meta.comp_method(), CompMethod::kLz4);
  EXPECT_EQ(decoded->meta.check_method(), CheckMethod::kXxhash64);
  ASSERT_EQ(TableKindOf(*decoded), TableKind::kPfsRoot);

  const auto table = DecodeTable(decoded->u, TableKind::kPfsRoot, Key(0), 64, kSampleTotalSize);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->size(), 2u);
  EXPECT_EQ((*table)[0].inode_count(), 5u);
  EXPECT_EQ((*table)[1].key.v, kDirhashVisible);
}

TEST(SampleVolume, DirentTableHasTheListedCheckAndDecodes) {
  const std::vector<std::byte> raw = SampleDirentTable();
  const Blockref parent = SamplePfsRoot().blockset(1);
  EXPECT_EQ(VerifyCheck(parent, raw), absl::OkStatus());
  const auto table =
      DecodeTable(raw, TableKind::kPfsRoot, parent.key, parent.keybits, kSampleTotalSize);
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->size(), 4u);

  const Blockref& longname = (*table)[0];
  EXPECT_EQ(longname.dirent_namlen(), 75u);
  const std::vector<std::byte> block = SampleNameBlock();
  EXPECT_EQ(VerifyCheck(longname, block), absl::OkStatus());
  const absl::string_view name = AsText(ConstByteSpan(block).first(75));
  EXPECT_EQ(longname.key.v, Dirhash(name).v + 1);

  struct Case {
    size_t entry;
    const char* name;
    uint64_t inum;
    ObjectType type;
  };
  for (const Case& c : {Case{1, "data1", 0x400, ObjectType::kRegfile},
                        Case{2, "dir", 0x401, ObjectType::kDirectory},
                        Case{3, "hello.txt", 0x404, ObjectType::kRegfile}}) {
    const Blockref& entry = (*table)[c.entry];
    EXPECT_EQ(InlineDirentName(entry), c.name);
    EXPECT_EQ(entry.dirent_inum().v, c.inum);
    EXPECT_EQ(entry.dirent_type(), static_cast<uint8_t>(c.type));
    EXPECT_EQ(entry.key.v, Dirhash(c.name).v + 1) << "the reference skips one key";
  }
}

TEST(SampleVolume, SetDirentWritesWhatTheReferenceWrote) {
  Blockref bref;
  bref.set_dirent(Inum(0x404), 9, static_cast<uint8_t>(ObjectType::kRegfile));
  const auto listed = LoadAs<Blockref>(SampleDirentTable(), 3 * kBlockrefBytes);
  EXPECT_EQ(bref.embed, listed.embed);
}

TEST(SampleVolume, Data1BlockDecodes) {
  const std::vector<std::byte> stored = SampleData1Block();
  const Blockref bref = SampleData1Bref();
  EXPECT_EQ(VerifyCheck(bref, stored), absl::OkStatus());
  EXPECT_EQ(CheckBlockref(bref, TableKind::kFile, Key(0), 64, kSampleTotalSize), absl::OkStatus());

  AlignedBuffer logical(kLogicalBytes);
  ASSERT_EQ(DecodeBlock(bref.comp_method(), stored, logical.span()), absl::OkStatus());
  const std::vector<std::byte> text = SampleData1Text();
  EXPECT_THAT(ConstByteSpan(logical.span()).first(text.size()), testing::ElementsAreArray(text));
  EXPECT_TRUE(IsAllZero(logical.span().subspan(text.size())));
}

}  // namespace
}  // namespace h2bd
