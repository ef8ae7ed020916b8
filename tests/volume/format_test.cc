#include "core/volume/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/media/check_code.h"
#include "core/media/decode.h"
#include "core/media/dirhash.h"
#include "core/media/placement.h"
#include "tests/support/fixtures.h"
#include "tests/support/memory_device.h"

namespace h2bd {
namespace {

using ::testing::HasSubstr;
using Devices = std::vector<std::unique_ptr<BlockDevice>>;

constexpr absl::Time kNow = absl::FromUnixSeconds(1'704'164'645);

class FixedClock final : public Clock {
 public:
  absl::Time WallNow() const override { return kNow; }
  absl::Duration MonotonicNow() const override { return absl::ZeroDuration(); }
};

// Devices that the test still holds after Format has had them.
class Disks {
 public:
  explicit Disks(std::initializer_list<uint64_t> sizes) {
    for (const uint64_t size : sizes) disks_.push_back(std::make_unique<MemoryDevice>(size));
  }
  absl::StatusOr<FormatReport> Format(const FormatOptions& options) {
    FixedClock clock;
    SeededRandom random(1);
    return h2bd::Format(Borrow(), options, clock, random);
  }
  Devices Borrow() {
    Devices devices;
    for (const auto& disk : disks_) devices.push_back(std::make_unique<BorrowedDevice>(*disk));
    return devices;
  }
  MemoryDevice& operator[](size_t i) { return *disks_[i]; }

  std::unique_ptr<VolumeData> Header(size_t disk, int slot) {
    AlignedBuffer raw(kVolumeHeaderBytes);
    EXPECT_EQ(disks_[disk]->Read(HeaderSlotOffset(slot), raw.span()), absl::OkStatus());
    return std::make_unique<VolumeData>(LoadAs<VolumeData>(raw.span()));
  }
  // The device buffer at `at`.
  AlignedBuffer Buffer(size_t disk, uint64_t at) {
    AlignedBuffer raw(kPbufBytes);
    EXPECT_EQ(disks_[disk]->Read(ByteOff(at), raw.span()), absl::OkStatus());
    return raw;
  }

 private:
  std::vector<std::unique_ptr<MemoryDevice>> disks_;
};

// --- layout
// ------------------------------------------------------------------------------------------

// Spec 01 section 13.2.
TEST(Format, LayoutVectors) {
  const struct {
    std::vector<uint64_t> devices, volu_loff;
    uint64_t boot, aux, allocator_size, allocator_beg, total;
    int slots;
  } cases[] = {
      {{32 * kMiB}, {0}, 8 * kMiB, 8 * kMiB, 0xC00000, 0x1400C00, 32 * kMiB, 1},
      {{2 * kGiB}, {0}, 64 * kMiB, 64 * kMiB, 0x77800000, 0x8400C00, 2 * kGiB, 1},
      {{8 * kGiB}, {0}, 64 * kMiB, 256 * kMiB, 0x1EA000000, 0x14400C00, 8 * kGiB, 4},
      // The last device is 1500000000 bytes, less half a sector.
      {{3200 * kMiB, 2100 * kMiB, 1499999744},
       {0, 0xC0000000, 0x140000000},
       64 * kMiB,
       256 * kMiB,
       0x183400000,
       0x14400C00,
       0x199000000,
       2},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(absl::StrCat("total ", c.total));
    Disks disks({});
    if (c.devices.size() == 1) disks = Disks({c.devices[0]});
    if (c.devices.size() == 3) disks = Disks({c.devices[0], c.devices[1], c.devices[2]});
    const auto report = disks.Format({});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->total_size, c.total);
    EXPECT_EQ(report->boot_bytes, c.boot);
    EXPECT_EQ(report->aux_bytes, c.aux);
    EXPECT_EQ(report->allocator_size, c.allocator_size);
    EXPECT_EQ(report->header_slots, c.slots);
    const auto header = disks.Header(0, 0);
    EXPECT_EQ(header->allocator_size, c.allocator_size);
    EXPECT_EQ(header->allocator_free, c.allocator_size);
    EXPECT_EQ(header->allocator_beg, c.allocator_beg);
    EXPECT_EQ(header->total_size, c.total);
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(header->volu_loff[i], i < c.volu_loff.size() ? c.volu_loff[i] : UINT64_MAX);
    }
  }
}

TEST(Format, HeaderOfVersion2) {
  Disks disks({8 * kGiB});
  const auto report = disks.Format({});
  ASSERT_TRUE(report.ok());
  const auto header = disks.Header(0, 0);
  EXPECT_EQ(CheckVolumeHeader(*header), absl::OkStatus());
  EXPECT_EQ(header->boot_beg, 0x400000u);
  EXPECT_EQ(header->boot_end, 0x4400000u);
  EXPECT_EQ(header->aux_beg, 0x4400000u);
  EXPECT_EQ(header->aux_end, 0x14400000u);
  EXPECT_EQ(header->volu_size, 0x200000000u);
  EXPECT_EQ(header->version, 2u);
  EXPECT_EQ(header->peer_type, 3);
  EXPECT_EQ(header->volu_id, 0);
  EXPECT_EQ(header->nvolumes, 1);
  EXPECT_EQ(header->fsid, report->fsid);
  EXPECT_EQ(header->fstype, kFstypeUuid);
  EXPECT_EQ(header->mirror_tid, Tid(16));
  EXPECT_EQ(header->freemap_tid, Tid(16));
  EXPECT_EQ(header->freemap_blockset, (std::array<Blockref, 4>{}));
  for (int slot = 1; slot < 4; ++slot) {
    const auto other = disks.Header(0, slot);
    EXPECT_EQ(std::memcmp(other.get(), header.get(), sizeof *header), 0) << slot;
  }
}

TEST(Format, HeaderOfVersion1) {
  Disks disks({1 * kGiB});
  FormatOptions options;
  options.version = 1;
  const auto report = disks.Format(options);
  ASSERT_TRUE(report.ok()) << report.status();
  const auto header = disks.Header(0, 0);
  EXPECT_EQ(CheckVolumeHeader(*header), absl::OkStatus());
  EXPECT_EQ(header->version, 1u);
  EXPECT_EQ(header->volu_size, 1 * kGiB);
  EXPECT_EQ(header->total_size, 0u);
  EXPECT_EQ(header->nvolumes, 0);
  EXPECT_EQ(header->volu_loff, (std::array<uint64_t, 64>{}));
  EXPECT_EQ(header->allocator_size, report->allocator_size);
  EXPECT_EQ(report->total_size, 1 * kGiB);
}

// Spec 01 section 2.6.
TEST(Format, HeadersOfFurtherVolumes) {
  Disks disks({3 * kGiB, 5 * kGiB, 1 * kGiB + 8 * kMiB});
  const auto report = disks.Format({});
  ASSERT_TRUE(report.ok()) << report.status();
  for (size_t i = 1; i < 3; ++i) {
    const auto header = disks.Header(i, 0);
    EXPECT_EQ(CheckVolumeHeader(*header), absl::OkStatus());
    EXPECT_EQ(header->volu_id, i);
    EXPECT_EQ(header->nvolumes, 3);
    EXPECT_EQ(header->fsid, report->fsid);
    EXPECT_EQ(header->total_size, report->total_size);
    EXPECT_EQ(header->volu_loff, disks.Header(0, 0)->volu_loff);
    EXPECT_EQ(header->allocator_size, report->allocator_size);
    EXPECT_EQ(header->allocator_free + header->allocator_beg + header->boot_beg + header->boot_end +
                  header->aux_beg + header->aux_end,
              0u);
    for (const Blockref& bref : header->sroot_blockset) {
      Blockref invalid;
      invalid.type = BrefType::kInvalid;
      EXPECT_EQ(bref, invalid);
    }
  }
  EXPECT_EQ(disks.Header(1, 0)->volu_size, 5 * kGiB);
  EXPECT_EQ(disks.Header(2, 0)->volu_size, 1 * kGiB + 8 * kMiB);
  EXPECT_EQ(CheckVolumeHeader(*disks.Header(1, 2)), absl::OkStatus()) << "at 4 GiB of the second";

  const auto set = AssembleVolumeSet(disks.Borrow(), NullLogger());
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->devices->total_bytes(), report->total_size);
}

// --- inodes
// ------------------------------------------------------------------------------------------

TEST(Format, SuperRootAndPfsRootsCanBeDecoded) {
  Disks disks({2 * kGiB});
  FormatOptions options;
  options.labels = {"ROOT", "DATA", "Boot"};
  options.comp = CompMethod::kZlib;
  options.comp_level = 7;
  options.check = CheckMethod::kSha192;
  ASSERT_TRUE(disks.Format(options).ok());
  const auto header = disks.Header(0, 0);
  EXPECT_EQ(header->allocator_beg, header->aux_end + 5 * 1024);
  const Blockref& bref = header->sroot_blockset[0];
  EXPECT_EQ(bref.methods, 0x31);
  EXPECT_EQ(bref.copyid, 0xff);
  EXPECT_EQ(bref.vradix, 10);
  EXPECT_EQ(bref.mirror_tid, Tid(16));
  EXPECT_EQ(bref.data_off.raw, header->aux_end | 10);

  const AlignedBuffer block = disks.Buffer(0, header->aux_end);
  const auto inode_at = [&](DataOff at) {
    return block.span().subspan(at.offset().v - header->aux_end, kInodeBytes);
  };
  EXPECT_EQ(VerifyCheck(bref, inode_at(bref.data_off)), absl::OkStatus());
  const auto super_root = DecodeInode(inode_at(bref.data_off), bref, /*indexed=*/false);
  ASSERT_TRUE(super_root.ok()) << super_root.status();
  EXPECT_EQ(super_root->name(), "SUPROOT");
  EXPECT_EQ(super_root->meta.pfs_type, kPfsTypeSuproot);

  const auto roots = DecodeTable(super_root->u, TableKind::kSuperRoot, Key(0), 64, 2 * kGiB);
  ASSERT_TRUE(roots.ok()) << roots.status();
  ASSERT_EQ(roots->size(), 4u);
  std::set<std::string> labels;
  std::set<Uuid> ids = {super_root->meta.pfs_clid, super_root->meta.pfs_fsid, header->fsid};
  for (const Blockref& root : *roots) {
    EXPECT_EQ(root.flags, kBrefFlagPfsroot);
    EXPECT_EQ(root.methods, 0x30);
    EXPECT_EQ(VerifyCheck(root, inode_at(root.data_off)), absl::OkStatus());
    const auto inode = DecodeInode(inode_at(root.data_off), root, /*indexed=*/false);
    ASSERT_TRUE(inode.ok()) << inode.status();
    const std::string label(inode->name());
    SCOPED_TRACE(label);
    labels.insert(label);
    ids.insert({inode->meta.pfs_clid, inode->meta.pfs_fsid});
    EXPECT_EQ(root.key, Dirhash(label));
    EXPECT_EQ(inode->meta.name_key, root.key);
    EXPECT_EQ(inode->meta.pfs_inum, 16u);
    const bool boot = label == "Boot";
    EXPECT_EQ(inode->meta.comp_algo, boot ? 0x01 : 0x73);
    EXPECT_EQ(inode->meta.check_method(), boot ? CheckMethod::kXxhash64 : CheckMethod::kSha192);
  }
  EXPECT_EQ(labels, (std::set<std::string>{"LOCAL", "ROOT", "DATA", "Boot"}));
  EXPECT_EQ(ids.size(), 3u + 8u) << "every id is its own";
}

// newfs's first inodes are never reused, so that the reference's images still hold them.
TEST(Format, InodesAreThoseOfTheReference) {
  const auto image = LoadFixture("f01-basic-2g");
  if (!image.ok()) return SkipLoudly("the reference's own static inodes");
  Disks disks({2 * kGiB});
  ASSERT_TRUE(disks.Format({}).ok());
  const uint64_t aux_end = disks.Header(0, 0)->aux_end;
  AlignedBuffer theirs(kPbufBytes);
  image->Read(aux_end, theirs.span());
  const AlignedBuffer ours = disks.Buffer(0, aux_end);

  // What may differ: times, random ids, and the check codes over them.
  const auto normal = [](const AlignedBuffer& block, size_t i) {
    auto inode = LoadAs<InodeData>(block.span(), i * kInodeBytes);
    inode.meta.ctime = inode.meta.mtime = inode.meta.btime = 0;
    inode.meta.pfs_clid = inode.meta.pfs_fsid = {};
    for (int b = 0; b < kBlocksetCount; ++b) {
      Blockref bref = inode.blockset(b);
      bref.check.fill(std::byte{0});
      inode.set_blockset(b, bref);
    }
    return inode;
  };
  for (size_t i = 0; i < 3; ++i) {
    SCOPED_TRACE(absl::StrCat("inode ", i));
    const InodeData a = normal(theirs, i), b = normal(ours, i);
    EXPECT_EQ(std::string(b.name()), std::string(a.name()));
    EXPECT_EQ(b.meta, a.meta);
    for (int e = 0; e < kBlocksetCount; ++e) EXPECT_EQ(b.blockset(e), a.blockset(e)) << e;
    EXPECT_EQ(std::memcmp(&a, &b, sizeof a), 0);
  }
}

// --- what is cleared
// ---------------------------------------------------------------------------------

TEST(Format, ClearsReservedAreasAndStaleHeaders) {
  Disks disks({7 * kGiB + 4 * kMiB});
  FormatOptions options;
  ASSERT_TRUE(disks.Format(options).ok());
  ASSERT_EQ(CheckVolumeHeader(*disks.Header(0, 3)), absl::OkStatus());
  AlignedBuffer junk(kPbufBytes);
  std::memset(junk.data(), 0xee, junk.size());
  const uint64_t device_end = 7 * kGiB + 4 * kMiB;
  for (const uint64_t at : {uint64_t{0x10000}, uint64_t{0x3f0000}, uint64_t{0x400000},
                            uint64_t{0x143f0000}, 7 * kGiB - kPbufBytes, device_end - kPbufBytes}) {
    ASSERT_EQ(disks[0].Write(ByteOff(at), junk.span()), absl::OkStatus());
  }
  options.force = true;
  ASSERT_TRUE(disks.Format(options).ok());
  for (uint64_t at = kPbufBytes; at < 0x14400000; at += kPbufBytes) {
    ASSERT_TRUE(IsAllZero(disks.Buffer(0, at).span())) << at;
  }
  EXPECT_TRUE(IsAllZero(disks.Buffer(0, 7 * kGiB - kPbufBytes).span()));
  EXPECT_TRUE(IsAllZero(disks.Buffer(0, device_end - kPbufBytes).span()));
}

// A header behind the end of a smaller volume would be chosen at mount if it stayed.
TEST(Format, ClearsHeadersBehindTheEndOfTheVolume) {
  Disks disks({3 * kGiB + 512 * kMiB, 1 * kGiB});
  AlignedBuffer stale(kVolumeHeaderBytes);
  std::memset(stale.data(), 0xee, stale.size());
  ASSERT_EQ(disks[0].Write(ByteOff(2 * kGiB), stale.span()), absl::OkStatus());
  // Not the last: 3 GiB are used. As the last one with an odd end: everything.
  ASSERT_TRUE(disks.Format({}).ok());
  EXPECT_EQ(CheckVolumeHeader(*disks.Header(0, 1)), absl::OkStatus());

  Disks small({2 * kGiB + 4 * kMiB});
  ASSERT_EQ(small[0].Write(ByteOff(2 * kGiB), stale.span()), absl::OkStatus());
  const auto report = small.Format({});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->total_size, 2 * kGiB);
  EXPECT_EQ(report->header_slots, 1);
  EXPECT_TRUE(IsAllZero(small.Buffer(0, 2 * kGiB).span()));
}

// What is zero already is not written: a fresh image file stays sparse.
TEST(Format, FreshImageStaysSparse) {
  Disks disks({8 * kGiB});
  ASSERT_TRUE(disks.Format({}).ok());
  EXPECT_LE(disks[0].Snapshot().pages().size(), 6u);
}

// --- refusals
// ----------------------------------------------------------------------------------------

TEST(Format, RefusesForeignContentUnlessForced) {
  Disks disks({64 * kMiB});
  AlignedBuffer boot_sector = AlignedBuffer::Zeroed(4096);
  boot_sector.span()[510] = std::byte{0x55};
  boot_sector.span()[511] = std::byte{0xaa};
  StoreAs(boot_sector.span(), uint16_t{0xEF53}, 1024 + 56);  // ext4
  ASSERT_EQ(disks[0].Write(ByteOff(0), boot_sector.span()), absl::OkStatus());
  const SparseImage before = disks[0].Snapshot();
  const absl::Status refused = disks.Format({}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(refused), kReasonForeignSignature);
  EXPECT_EQ(disks[0].Snapshot(), before);
  FormatOptions options;
  options.force = true;
  EXPECT_TRUE(disks.Format(options).ok());
  // Now it carries a volume.
  EXPECT_EQ(ReasonOf(disks.Format({}).status()), kReasonForeignSignature);
}

TEST(Format, RefusesReadOnlyDevices) {
  Disks disks({64 * kMiB});
  disks[0].set_read_only(true);
  EXPECT_EQ(ReasonOf(disks.Format({}).status()), kReasonReadOnly);
}

TEST(Format, SizesThatAreNotLegal) {
  const auto code = [](std::initializer_list<uint64_t> sizes, uint32_t version = 2) {
    FormatOptions options;
    options.version = version;
    return Disks(sizes).Format(options).status().code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({}), kInvalid);
  EXPECT_EQ(code({4 * kMiB}), kInvalid);
  EXPECT_EQ(code({24 * kMiB}), kInvalid) << "no segment would be left";
  EXPECT_EQ(code({32 * kMiB}), absl::StatusCode::kOk);
  EXPECT_EQ(code({1 * kGiB - 1 * kMiB, 1 * kGiB}), kInvalid) << "only the last may be small";
  EXPECT_EQ(code({1 * kGiB, 8 * kMiB}), absl::StatusCode::kOk);
  EXPECT_EQ(code({1 * kGiB, 1 * kGiB}, 1), kInvalid) << "version 1 has one volume";
  EXPECT_EQ(code({1 * kGiB}, 3), kInvalid);
}

TEST(Format, OptionsThatAreNotLegal) {
  const auto refused = [](absl::string_view part,
                          const std::function<void(FormatOptions&)>& change) {
    Disks disks({2 * kGiB});
    FormatOptions options;
    change(options);
    const absl::Status status = disks.Format(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << part;
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(part)));
    EXPECT_TRUE(disks[0].Snapshot().pages().empty()) << "nothing may be written";
  };
  using O = FormatOptions;
  refused("at most 3", [](O& o) { o.labels = {"A", "B", "C", "D"}; });
  refused("twice", [](O& o) { o.labels = {"A", "A"}; });
  refused("always made", [](O& o) { o.labels = {"LOCAL"}; });
  refused("hash", [](O& o) { o.labels = {"c.b.f.h.e.a.g.d", "a.c.b.h.f.e.d.g"}; });
  refused("PFS label", [](O& o) { o.labels = {""}; });
  refused("PFS label", [](O& o) { o.labels = {"a/b"}; });
  refused("PFS label", [](O& o) { o.labels = {std::string("a\0b", 3)}; });
  refused("PFS label", [](O& o) { o.labels = {std::string(256, 'x')}; });
  refused("check method", [](O& o) { o.check = CheckMethod::kNone; });
  refused("check method", [](O& o) { o.check = CheckMethod::kDisabled; });
  refused("level", [](O& o) { o.comp_level = 6; });
  refused("level", [](O& o) { o.comp = CompMethod::kZlib, o.comp_level = 5; });
  refused("level", [](O& o) { o.comp = CompMethod::kZlib, o.comp_level = 10; });
  refused("boot", [](O& o) { o.boot_bytes = 8 * kMiB + 1; });
  refused("boot", [](O& o) { o.boot_bytes = 0; });
  refused("boot", [](O& o) { o.boot_bytes = 264 * kMiB; });
  refused("aux", [](O& o) { o.aux_bytes = 1032 * kMiB; });
  refused("aux", [](O& o) { o.aux_bytes = 1024 * kMiB; });
}

TEST(Format, NoLabelsAndExplicitAreas) {
  Disks disks({2 * kGiB});
  FormatOptions options;
  options.labels.clear();
  options.boot_bytes = 16 * kMiB;
  options.aux_bytes = 640 * kMiB;
  const auto report = disks.Format(options);
  ASSERT_TRUE(report.ok()) << report.status();
  const auto header = disks.Header(0, 0);
  EXPECT_EQ(header->aux_end, 660 * kMiB);
  EXPECT_EQ(header->allocator_beg, header->aux_end + 2 * 1024);
  EXPECT_EQ(report->allocator_size, 2 * kGiB - 8 * kMiB - 656 * kMiB);
}

// --- faults
// ------------------------------------------------------------------------------------------

// Shared by all devices of a volume: one log, one count of calls.
struct Script {
  int fail_at = 0;  // this call and all later ones fail; 0: none
  int calls = 0;
  std::vector<std::string> log;  // "W<device>@<offset>" and "S<device>"
  bool Fails() { return ++calls >= fail_at && fail_at != 0; }
};

class ScriptedDevice final : public ForwardingDevice {
 public:
  ScriptedDevice(BlockDevice& inner, size_t number, Script& script)
      : ForwardingDevice(inner), number_(number), script_(script) {}
  absl::Status Write(ByteOff off, ConstByteSpan from) override {
    if (script_.Fails()) return absl::UnavailableError("injected");
    script_.log.push_back(absl::StrCat("W", number_, "@", off.v));
    return inner_.Write(off, from);
  }
  absl::Status Sync() override {
    if (script_.Fails()) return absl::UnavailableError("injected");
    script_.log.push_back(absl::StrCat("S", number_));
    return inner_.Sync();
  }
  bool read_only() const override { return false; }

 private:
  const size_t number_;
  Script& script_;
};

absl::Status FormatScripted(Disks& disks, size_t count, Script& script) {
  Devices devices;
  for (size_t i = 0; i < count; ++i) {
    devices.push_back(std::make_unique<ScriptedDevice>(disks[i], i, script));
  }
  FormatOptions options;
  options.force = true;
  FixedClock clock;
  SeededRandom random(2);
  return Format(devices, options, clock, random).status();
}

TEST(Format, HeadersComeAfterABarrierOnEveryDevice) {
  Disks disks({3 * kGiB, 1 * kGiB});
  ASSERT_TRUE(disks.Format({}).ok());
  Script script;
  ASSERT_EQ(FormatScripted(disks, 2, script), absl::OkStatus());
  const std::vector<std::string> end = {"S0", "S1", "W0@0", "W0@2147483648", "W1@0", "S0", "S1"};
  ASSERT_GE(script.log.size(), end.size());
  EXPECT_EQ(std::vector<std::string>(script.log.end() - static_cast<std::ptrdiff_t>(end.size()),
                                     script.log.end()),
            end);
  // The old headers are gone for good before anything else is written.
  const std::vector<std::string> begin = {"W0@0", "W0@2147483648", "W1@0", "S0", "S1"};
  EXPECT_EQ(std::vector<std::string>(
                script.log.begin(), script.log.begin() + static_cast<std::ptrdiff_t>(begin.size())),
            begin);
}

// Wherever formatting over an old volume stops: what a valid header names is there.
TEST(Format, StoppedAnywhereItLeavesNoHeaderWithoutItsInodes) {
  for (int fail_at = 1;; ++fail_at) {
    SCOPED_TRACE(absl::StrCat("call ", fail_at));
    Disks disks({3 * kGiB, 1 * kGiB});
    ASSERT_TRUE(disks.Format({}).ok());
    Script script;
    script.fail_at = fail_at;
    const absl::Status status = FormatScripted(disks, 2, script);
    if (script.calls < fail_at) {
      EXPECT_EQ(status, absl::OkStatus());
      EXPECT_GT(fail_at, 10);
      break;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    for (int slot = 0; slot < 2; ++slot) {
      const auto header = disks.Header(0, slot);
      if (!CheckVolumeHeader(*header).ok()) continue;
      const AlignedBuffer block = disks.Buffer(0, header->aux_end);
      EXPECT_EQ(VerifyCheck(header->sroot_blockset[0], block.span().first(kInodeBytes)),
                absl::OkStatus());
    }
  }
}

}  // namespace
}  // namespace h2bd
