#include "core/volhdr/volume_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "core/media/placement.h"
#include "tests/support/fault_device.h"
#include "tests/support/fixtures.h"
#include "tests/volhdr/headers.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

void Damage(BlockDevice& device, int slot, uint64_t at) {
  AlignedBuffer sector(512);
  const ByteOff off(HeaderSlotOffset(slot).v + RoundDown(at, 512));
  H2_ASSERT(device.Read(off, sector.span()).ok());
  sector.data()[at % 512] ^= std::byte{1};
  WriteBytes(device, off.v, sector.span());
}

TEST(ProbeHeaders, SlotsFollowTheSizeOfTheDevice) {
  struct Case {
    uint64_t device;
    int present;
    const char* why;
  };
  for (const Case& c :
       {Case{32 * kKiB, 0, "smaller than a header"}, Case{64 * kKiB, 1, "a header fits"},
        Case{2 * kGiB, 1, "the second slot begins at the end"},
        Case{2 * kGiB + 32 * kKiB, 1, "half a header is none"},
        Case{2 * kGiB + 64 * kKiB, 2, "one fits"}, Case{6 * kGiB + 8 * kMiB, 4, "all four"},
        Case{100 * kGiB, 4, "there are never more"}}) {
    MemoryDevice device(c.device);
    int present = 0;
    for (const HeaderProbe& probe : ProbeHeaders(device)) {
      present += probe.present;
      EXPECT_FALSE(probe.status.ok()) << c.why;
    }
    EXPECT_EQ(present, c.present) << c.why;
  }
}

TEST(BestSlot, TheHighestTidWinsAndTheLowestSlotATie) {
  struct Case {
    std::array<uint64_t, 4> tids;  // 0: the slot is damaged
    std::optional<int> best;
  };
  for (const Case& c :
       {Case{{16, 16, 16, 16}, 0}, Case{{16, 17, 18, 19}, 3}, Case{{20, 17, 18, 19}, 0},
        Case{{20, 21, 18, 19}, 1}, Case{{0, 17, 18, 18}, 2}, Case{{20, 21, 0, 19}, 1},
        Case{{0, 0, 0, 5}, 3}, Case{{0, 0, 0, 0}, std::nullopt}}) {
    MemoryDevice device(8 * kGiB);
    for (int slot = 0; slot < 4; ++slot) {
      const uint64_t tid = c.tids[static_cast<size_t>(slot)];
      WriteHeader(device, slot, *MakeHeader(8 * kGiB, Tid(tid == 0 ? 99 : tid)));
      if (tid == 0) Damage(device, slot, 0x9000);
    }
    EXPECT_EQ(BestSlot(ProbeHeaders(device)), c.best);
  }
}

TEST(AssembleVolumeSet, OneDevice) {
  for (const uint32_t version : {1u, 2u, 3u}) {
    const auto header = MakeHeader(std::vector<uint64_t>{4 * kGiB}, 0, Tid(16), 0x11, version);
    const auto device = MakeDevice(4 * kGiB + 3 * kMiB, *header);
    const auto newer = MakeHeader(std::vector<uint64_t>{4 * kGiB}, 0, Tid(17), 0x11, version);
    WriteHeader(*device, 1, *newer);
    const auto set = Assemble({device.get()});
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_EQ(set->slot, 1);
    EXPECT_EQ(set->header->mirror_tid, Tid(17));
    EXPECT_FALSE(set->from_shadow);
    EXPECT_EQ(set->shadow, nullptr);
    EXPECT_EQ(set->devices->size(), 1u);
    EXPECT_EQ(set->devices->total_bytes(), 4 * kGiB)
        << "the rest of the device is not the volume's";
    EXPECT_TRUE(set->root_probes[0].status.ok());
  }
}

const std::vector<uint64_t> kThree = {3 * kGiB, 2 * kGiB, kGiB + 8 * kMiB};

std::vector<std::unique_ptr<MemoryDevice>> ThreeDevices() {
  std::vector<std::unique_ptr<MemoryDevice>> devices;
  for (int id = 0; id < 3; ++id) {
    const auto header = MakeHeader(kThree, id, Tid(16));
    devices.push_back(
        MakeDevice(kThree[static_cast<size_t>(id)] + kMiB, *header, "disk" + std::to_string(id)));
  }
  return devices;
}

TEST(AssembleVolumeSet, ThreeDevicesInAnyOrder) {
  const auto devices = ThreeDevices();
  // Only the root's header moves on.
  WriteHeader(*devices[0], 1, *MakeHeader(kThree, 0, Tid(20)));
  std::vector<int> order = {0, 1, 2};
  do {
    std::vector<BlockDevice*> given;
    for (const int i : order) given.push_back(devices[static_cast<size_t>(i)].get());
    const auto set = Assemble(given);
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_EQ(set->slot, 1);
    EXPECT_EQ(set->header->mirror_tid, Tid(20));
    EXPECT_EQ(set->header->volu_id, 0);
    EXPECT_EQ(set->devices->total_bytes(), 6 * kGiB + 8 * kMiB);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(set->devices->device(i).name(), devices[i]->name());
    AlignedBuffer block(65536);
    ASSERT_TRUE(set->devices->Read(ByteOff(3 * kGiB), block.span()).ok());
    EXPECT_EQ(LoadAs<VolumeData>(block.span()).volu_id, 1);
    ASSERT_TRUE(set->devices->Read(ByteOff(5 * kGiB), block.span()).ok());
    EXPECT_EQ(LoadAs<VolumeData>(block.span()).volu_id, 2);
  } while (std::next_permutation(order.begin(), order.end()));
}

// What spec 01 section 2.6 forbids, one by one.
TEST(AssembleVolumeSet, RefusesDevicesThatDoNotBelongTogether) {
  using Devices = std::vector<std::unique_ptr<MemoryDevice>>;
  struct Case {
    const char* why;
    std::function<void(Devices&)> change;
    absl::StatusCode code;
    const char* says;
  };
  const auto replace = [](Devices& d, int id, const std::function<void(VolumeData&)>& edit) {
    auto header = MakeHeader(kThree, id, Tid(16));
    edit(*header);
    SealVolumeData(*header);
    const std::string name = d[static_cast<size_t>(id)]->name();
    d[static_cast<size_t>(id)] = MakeDevice(kThree[static_cast<size_t>(id)] + kMiB, *header, name);
  };
  const Case cases[] = {
      {"one is missing", [](Devices& d) { d.erase(d.begin() + 1); },
       absl::StatusCode::kInvalidArgument, "3 devices, 2 given; missing volume id: 1"},
      {"the root is missing", [](Devices& d) { d.erase(d.begin()); },
       absl::StatusCode::kInvalidArgument, "missing volume id: 0"},
      {"only the last", [](Devices& d) { d.erase(d.begin(), d.begin() + 2); },
       absl::StatusCode::kInvalidArgument, "missing volume id: 0, 1"},
      {"one is there twice",
       [](Devices& d) {
         d.push_back(MakeDevice(2 * kGiB, *MakeHeader(kThree, 1, Tid(16)), "copy"));
       },
       absl::StatusCode::kInvalidArgument, "volume 1 is given twice: disk1 and copy"},
      {"one of another file system",
       [&](Devices& d) { replace(d, 1, [](VolumeData& h) { h.fsid.fill(std::byte{0x22}); }); },
       absl::StatusCode::kInvalidArgument, "devices of different volumes: disk0 has fsid"},
      {"another version", [&](Devices& d) { replace(d, 2, [](VolumeData& h) { h.version = 3; }); },
       absl::StatusCode::kInvalidArgument, "version"},
      {"another number of volumes",
       [&](Devices& d) {
         replace(d, 1, [](VolumeData& h) {
           h.nvolumes = 2;
           h.volu_loff[2] = UINT64_MAX;
           h.total_size = 5 * kGiB;
         });
       },
       absl::StatusCode::kInvalidArgument, "nvolumes"},
      {"sizes that do not add up",
       [](Devices& d) {
         const auto header = MakeHeader({3 * kGiB, 2 * kGiB, kGiB + 16 * kMiB}, 2, Tid(16));
         d[2] = MakeDevice(2 * kGiB, *header, "disk2");
       },
       absl::StatusCode::kInvalidArgument, "total_size of disk0"},
      {"a hole between volumes",
       [&](Devices& d) {
         auto header = MakeHeader({3 * kGiB, kGiB, kGiB + 8 * kMiB}, 1, Tid(16));
         d[1] = MakeDevice(3 * kGiB, *header, "disk1");
       },
       absl::StatusCode::kInvalidArgument, "volume 2 begins at"},
      {"a device that was cut short",
       [](Devices& d) { d[1] = MakeDevice(kGiB, *MakeHeader(kThree, 1, Tid(16)), "disk1"); },
       absl::StatusCode::kDataLoss, "disk1 has 1073741824 bytes"},
  };
  for (const Case& c : cases) {
    Devices devices = ThreeDevices();
    c.change(devices);
    std::vector<BlockDevice*> given;
    for (const auto& device : devices) given.push_back(device.get());
    const auto set = Assemble(given);
    EXPECT_EQ(set.status().code(), c.code) << c.why << ": " << set.status();
    EXPECT_THAT(Message(set.status()), HasSubstr(c.says)) << c.why;
  }
}

TEST(AssembleVolumeSet, VersionOneHasOneDevice) {
  const auto header = MakeHeader(std::vector<uint64_t>{kGiB}, 0, Tid(16), 0x11, 1);
  const auto a = MakeDevice(kGiB, *header, "a");
  const auto b = MakeDevice(kGiB, *header, "b");
  EXPECT_THAT(Message(Assemble({a.get(), b.get()}).status()), HasSubstr("twice: a and b"));
  EXPECT_EQ(Assemble({}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(AssembleVolumeSet, SaysWhatItFoundInstead) {
  MemoryDevice blank(kGiB, 512, "blank");
  absl::Status status = Assemble({&blank}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "not a HAMMER2 volume: blank (found: no known signature)");

  MemoryDevice ext4(kGiB, 512, "sdb");
  AlignedBuffer super = AlignedBuffer::Zeroed(1024);
  StoreAs<uint16_t>(super.span(), 0xef53, 0x38);
  StoreAs<uint32_t>(super.span(), 0x40, 0x60);
  WriteBytes(ext4, 1024, super.span());
  status = Assemble({&ext4}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "not a HAMMER2 volume: sdb (found: ext4 signature)");

  MemoryDevice tiny(32 * kKiB, 512, "tiny");
  EXPECT_THAT(Message(Assemble({&tiny}).status()), HasSubstr("too few for a volume header"));
}

TEST(AssembleVolumeSet, NamesOtherByteOrderAndUnknownVersions) {
  MemoryDevice swapped(kGiB, 512, "swapped");
  AlignedBuffer raw = AlignedBuffer::Zeroed(512);
  StoreAs(raw.span(), kVolumeMagicSwapped);
  WriteBytes(swapped, 0, raw.span());
  absl::Status status = Assemble({&swapped}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr("swapped"));
  EXPECT_THAT(Message(status), HasSubstr("byte order"));

  auto header = MakeHeader(kGiB, Tid(16));
  header->version = 4;
  SealVolumeData(*header);
  const auto future = MakeDevice(kGiB, *header, "future");
  status = Assemble({future.get()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr("version=4"));
}

// Row 18 of the fault model: bit rot in the newest header falls back by one.
TEST(AssembleVolumeSet, EveryDamagedBitOfAHeaderIsNoticed) {
  const auto device = MakeDevice(8 * kGiB, *MakeHeader(8 * kGiB, Tid(16)));
  const auto newest = MakeHeader(8 * kGiB, Tid(17));
  for (const uint64_t at : {0, 8, 0x30, 0x78, 0x1f8, 0x1ff, 0x200, 0x3ff, 0x400, 0x800, 0xe00,
                            0x1000, 0x8fff, 0x9000, 0xfffb, 0xffff}) {
    WriteHeader(*device, 2, *newest);
    EXPECT_EQ(Assemble({device.get()})->slot, 2);
    Damage(*device, 2, at);
    const auto set = Assemble({device.get()});
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_EQ(set->slot, 0) << at;
    EXPECT_FALSE(set->root_probes[2].status.ok());
  }
}

TEST(AssembleVolumeSet, AllHeadersDamagedIsDataLoss) {
  const auto device = MakeDevice(8 * kGiB, *MakeHeader(8 * kGiB, Tid(16)));
  for (int slot = 0; slot < 4; ++slot) Damage(*device, slot, 0x9000);
  const absl::Status status = Assemble({device.get()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(status), HasSubstr("disk: all volume headers are damaged: slot 0"));
  EXPECT_THAT(Message(status), HasSubstr("slot 3"));
}

// Found by the simulation: the first sector of the old header in front of the rest of a new one
// that differs in its freemap only. All CRCs are right.
TEST(AssembleVolumeSet, AHeaderOfTwoWritesIsDamaged) {
  const auto older = MakeHeader(8 * kGiB, Tid(20));
  auto newer = MakeHeader(8 * kGiB, Tid(21));
  Blockref& leaf = newer->freemap_blockset[0];
  leaf.type = BrefType::kFreemapLeaf;
  leaf.keybits = kFreemapLeafRadix;
  leaf.data_off = DataOff::Make(ByteOff(kMiB), 15);
  leaf.mirror_tid = Tid(21);
  SealVolumeData(*newer);
  const auto device = MakeDevice(8 * kGiB, *MakeHeader(8 * kGiB, Tid(16)));
  WriteHeader(*device, 1, *newer);
  ASSERT_EQ(Assemble({device.get()})->header->mirror_tid, Tid(21));
  const ConstByteSpan first = std::as_bytes(std::span(older.get(), 1)).first(512);
  const AlignedBuffer sector = AlignedBuffer::CopyOf(first);
  ASSERT_TRUE(device->Write(HeaderSlotOffset(1), sector.span()).ok());
  const auto set = Assemble({device.get()});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->slot, 0);
  EXPECT_THAT(Message(set->root_probes[1].status), HasSubstr("torn header"));
}

TEST(AssembleVolumeSet, AnUnreadableDeviceIsUnavailable) {
  const auto device = MakeDevice(8 * kGiB, *MakeHeader(8 * kGiB, Tid(16)));
  FaultPoint point({.fail_at = 1, .sticky = true, .reads = true});
  FaultDevice failing(*device, point);
  EXPECT_EQ(Assemble({&failing}).status().code(), absl::StatusCode::kUnavailable);
  // For good; a device that fails for a moment is asked again.
  point.Reset({.fail_at = 1, .sticky = true, .reads = true, .end = kVolumeHeaderBytes});
  const auto set = Assemble({&failing});
  ASSERT_TRUE(set.ok()) << "three slots are left: " << set.status();
  EXPECT_EQ(set->slot, 1);
  EXPECT_EQ(set->root_probes[0].header, nullptr);
}

// Spec 01 section 2.7: a header of a larger, older volume beyond the end of a new one would win by
// its tid.
TEST(AssembleVolumeSet, RefusesToGuessBetweenTwoVolumesOnOneDevice) {
  const auto device = MakeDevice(8 * kGiB, *MakeHeader(kGiB, Tid(16)));
  WriteHeader(*device, 2, *MakeHeader(std::vector<uint64_t>{8 * kGiB}, 0, Tid(900), 0x22));
  const absl::Status status = Assemble({device.get()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr("erase the stale one"));
}

TEST(AssembleVolumeSet, OpensEveryFixture) {
  if (!SharedDir().has_value()) {
    SkipLoudly("reference images");
    GTEST_SKIP();
  }
  // Slots from the images' own description.
  const std::map<std::string, int> newest = {
      {"f02-default-8g-slot3", 3}, {"f04-autozero-sha192", 1}, {"f11-bulkfree", 2}};
  for (const std::string& name : FixtureNames()) {
    SCOPED_TRACE(name);
    auto image = LoadFixture(name);
    ASSERT_TRUE(image.ok()) << image.status();
    MemoryDevice device(*std::move(image), 512, name);
    const auto set = Assemble({&device});
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_GT(set->header->mirror_tid, kFormatTid);
    if (const auto it = newest.find(name); it != newest.end()) {
      EXPECT_EQ(set->slot, it->second);
    }
    EXPECT_EQ(*DetectSignature(device), "HAMMER2");
  }
}

}  // namespace
}  // namespace h2bd
