#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/media/decode.h"
#include "tests/media/sample_volume.h"

namespace h2bd {
namespace {

using testing::HasSubstr;
using Change = std::function<void(VolumeData&)>;

std::unique_ptr<VolumeData> Sealed(const Change& change) {
  std::unique_ptr<VolumeData> header = SampleHeader();
  change(*header);
  SealVolumeData(*header);
  return header;
}

void MakeVersion1(VolumeData& h) {
  h.version = 1;
  h.nvolumes = 0;
  h.total_size = 0;
  h.volu_loff.fill(0);
}

// The three volumes of spec 01 section 13.2: 3 GiB, 2 GiB, 0x59000000 bytes.
void MakeThreeVolumes(VolumeData& h, uint8_t id) {
  constexpr uint64_t kSizes[] = {3 * kGiB, 2 * kGiB, 0x59000000};
  h.nvolumes = 3;
  h.volu_id = id;
  h.volu_size = kSizes[id];
  h.total_size = 0x199000000;
  h.volu_loff.fill(UINT64_MAX);
  h.volu_loff[0] = 0;
  h.volu_loff[1] = 0xc0000000;
  h.volu_loff[2] = 0x140000000;
  if (id == 0) return;
  h.boot_beg = h.boot_end = h.aux_beg = h.aux_end = h.allocator_beg = h.allocator_free = 0;
  h.sroot_blockset.fill(Blockref{.type = BrefType::kInvalid});
  h.freemap_blockset.fill(Blockref{});
}

TEST(CheckVolumeHeader, AcceptsWhatTheReferenceWrites) {
  struct Case {
    const char* what;
    Change change;
  };
  for (const Case& c : {
           Case{"version 2", [](VolumeData&) {}},
           Case{"version 1", MakeVersion1},
           Case{"the work-in-progress version", [](VolumeData& h) { h.version = 3; }},
           Case{"root of three volumes", [](VolumeData& h) { MakeThreeVolumes(h, 0); }},
           Case{"second of three volumes", [](VolumeData& h) { MakeThreeVolumes(h, 1); }},
           Case{"last of three volumes", [](VolumeData& h) { MakeThreeVolumes(h, 2); }},
           Case{"no boot and aux areas",
                [](VolumeData& h) { h.boot_beg = h.boot_end = h.aux_beg = h.aux_end = 0; }},
           Case{"unknown reserved bytes",
                [](VolumeData& h) {
                  h.flags = UINT32_MAX;
                  h.sector5.fill(std::byte{1});
                  h.copyinfo.fill(std::byte{2});
                  h.reserved9000.fill(std::byte{3});
                }},
       }) {
    EXPECT_EQ(CheckVolumeHeader(*Sealed(c.change)), absl::OkStatus()) << c.what;
  }
}

TEST(CheckVolumeHeader, RejectsEachBadField) {
  struct Case {
    const char* message;
    Change change;
  };
  for (const Case& c : {
           Case{"magic=0x0, legal: 0x48414d3205172011", [](VolumeData& h) { h.magic = 0; }},
           Case{"fstype=00000000", [](VolumeData& h) { h.fstype.fill(std::byte{0}); }},
           Case{"volu_size=0x0, legal", [](VolumeData& h) { h.volu_size = 0; }},
           Case{"volu_size=0x200100000, legal: 8 MiB..",
                [](VolumeData& h) { h.volu_size += kMiB; }},
           Case{"volu_size=0x8000000000000000, legal: 8 MiB..",
                [](VolumeData& h) { h.volu_size = uint64_t{1} << 63; }},
           Case{"volu_size=0x200800000, legal: 0x200000000",
                [](VolumeData& h) { h.volu_size += kVolumeAlign; }},
           Case{"total_size=0x200100000, legal", [](VolumeData& h) { h.total_size += kMiB; }},
           Case{"total_size=0xffffffffff800000, legal",
                [](VolumeData& h) { h.total_size = ~uint64_t{0} << 23; }},
           Case{"nvolumes=0x0, legal: 1..64", [](VolumeData& h) { h.nvolumes = 0; }},
           Case{"nvolumes=0x41, legal: 1..64", [](VolumeData& h) { h.nvolumes = 65; }},
           Case{"volu_id=0x1, legal: below nvolumes 1", [](VolumeData& h) { h.volu_id = 1; }},
           Case{"volu_loff[0]=0x40000000, legal: 0", [](VolumeData& h) { h.volu_loff[0] = kGiB; }},
           Case{"volu_loff[1]=0x0, legal: 2^64-1", [](VolumeData& h) { h.volu_loff[1] = 0; }},
           Case{"volu_loff[63]=0x0, legal: 2^64-1", [](VolumeData& h) { h.volu_loff[63] = 0; }},
           Case{"allocator_beg=0x200000001, legal",
                [](VolumeData& h) { h.allocator_beg = 8 * kGiB + 1; }},
           Case{"volu_loff[1]=0x0, legal: above",
                [](VolumeData& h) {
                  MakeThreeVolumes(h, 0);
                  h.volu_loff[1] = 0;
                }},
           Case{"volu_loff[1]=0xc0800000, legal: a multiple of 1 GiB",
                [](VolumeData& h) {
                  MakeThreeVolumes(h, 0);
                  h.volu_loff[1] += kVolumeAlign;
                }},
           Case{"volu_loff[2]=0x200000000, legal: below total_size",
                [](VolumeData& h) {
                  MakeThreeVolumes(h, 0);
                  h.volu_loff[2] = 8 * kGiB;
                }},
           Case{"volu_size=0x80000000, legal: 0xc0000000",
                [](VolumeData& h) {
                  MakeThreeVolumes(h, 0);
                  h.volu_size = 2 * kGiB;
                }},
           Case{"nvolumes=0x1, legal: 0 in version 1",
                [](VolumeData& h) {
                  MakeVersion1(h);
                  h.nvolumes = 1;
                }},
           Case{"volu_id=0x1, legal: 0 in version 1",
                [](VolumeData& h) {
                  MakeVersion1(h);
                  h.volu_id = 1;
                }},
           Case{"total_size=0x800000, legal: 0 in version 1",
                [](VolumeData& h) {
                  MakeVersion1(h);
                  h.total_size = kVolumeAlign;
                }},
           Case{"volu_loff[5]=0x1, legal: 0 in version 1",
                [](VolumeData& h) {
                  MakeVersion1(h);
                  h.volu_loff[5] = 1;
                }},
       }) {
    const absl::Status status = CheckVolumeHeader(*Sealed(c.change));
    EXPECT_TRUE(absl::IsDataLoss(status)) << c.message << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST(CheckVolumeHeader, OtherWorldsAreNoDamage) {
  const auto swapped = Sealed([](VolumeData& h) { h.magic = kVolumeMagicSwapped; });
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckVolumeHeader(*swapped)));
  for (const uint32_t version : {0u, 4u, UINT32_MAX}) {
    const auto header = Sealed([&](VolumeData& h) { h.version = version; });
    EXPECT_TRUE(absl::IsFailedPrecondition(CheckVolumeHeader(*header))) << version;
  }
}

TEST(CheckVolumeHeader, EveryFlippedByteIsFound) {
  const std::unique_ptr<VolumeData> header = SampleHeader();
  const auto bytes = std::as_writable_bytes(std::span(header.get(), 1));
  for (size_t at = 0; at < bytes.size(); at = at < 4096 ? at + 1 : at + 97) {
    bytes[at] ^= std::byte{0x10};
    EXPECT_FALSE(CheckVolumeHeader(*header).ok()) << at;
    bytes[at] ^= std::byte{0x10};
  }
  EXPECT_TRUE(CheckVolumeHeader(*header).ok());
}

}  // namespace
}  // namespace h2bd
