#include "core/volume/format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/media/check_code.h"
#include "core/media/dirhash.h"
#include "core/media/placement.h"
#include "core/media/volume_data.h"
#include "core/pfs/pfs.h"

namespace h2bd {
namespace {

using Devices = std::vector<std::unique_ptr<BlockDevice>>;

constexpr char kLocalLabel[] = "LOCAL";  // the first PFS of every volume
constexpr size_t kLabelsMax = 3;        // besides LOCAL; the super-root's blockset has four entries
constexpr uint8_t kCopyidLocal = 0xff;  // what newfs writes into its blockrefs
constexpr uint8_t kPeerType = 3;
constexpr uint64_t kNewfsInodeCounter = 16;
constexpr uint64_t kZeroStepBytes = 1 * kMiB;

// Everything that is decided before the first write.
struct Layout {
  std::vector<uint64_t> start, bytes;  // of each volume
  uint64_t total = 0;
  AreaSizes areas;
  uint64_t allocator_size = 0;
  std::vector<std::string> labels;  // LOCAL first

  uint64_t boot_beg() const { return kZoneSegBytes; }
  uint64_t aux_beg() const { return boot_beg() + areas.boot; }
  uint64_t aux_end() const { return aux_beg() + areas.aux; }
  // Static inodes: the super-root, then the PFS roots.
  DataOff inode_place(size_t i) const {
    return DataOff::Make(ByteOff(aux_end() + i * kInodeBytes), kInodeRadix);
  }
  uint64_t allocator_beg() const { return aux_end() + kInodeBytes * (1 + labels.size()); }
};

// --- what is legal
// -----------------------------------------------------------------------------------

absl::Status CheckMethods(const FormatOptions& options) {
  if (options.check != CheckMethod::kIscsi32 && options.check != CheckMethod::kXxhash64 &&
      options.check != CheckMethod::kSha192) {
    return absl::InvalidArgumentError(
        absl::StrCat("check method ", Name(options.check), ", legal: iscsi32, xxhash64, sha192"));
  }
  if (options.comp > CompMethod::kZlib) {
    return absl::InvalidArgumentError(absl::StrCat("compression method ",
                                                   static_cast<int>(options.comp),
                                                   ", legal: none, autozero, lz4, zlib"));
  }
  const bool level_is_legal =
      options.comp_level == 0 ||
      (options.comp == CompMethod::kZlib && options.comp_level >= 6 && options.comp_level <= 9);
  if (!level_is_legal) {
    return absl::InvalidArgumentError(absl::StrCat("compression level ", options.comp_level,
                                                   " for ", Name(options.comp),
                                                   ", legal: 0, and 6 to 9 with zlib"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> CheckLabels(const FormatOptions& options) {
  if (options.labels.size() > kLabelsMax) {
    return absl::InvalidArgumentError(absl::StrCat(options.labels.size(),
                                                   " PFS labels, legal: at most ", kLabelsMax,
                                                   " besides ", kLocalLabel));
  }
  std::vector<std::string> labels = {kLocalLabel};
  for (const std::string& label : options.labels) {
    H2_RETURN_IF_ERROR(CheckName(label, "PFS label"));
    for (const std::string& other : labels) {
      if (label == other) {
        return absl::InvalidArgumentError(
            absl::StrCat("PFS label ", label, " is given twice",
                         label == kLocalLabel ? " (it is always made)" : ""));
      }
      // newfs puts each PFS exactly at its hash, so that there is no key for a second one.
      if (Dirhash(label) == Dirhash(other)) {
        return absl::InvalidArgumentError(
            absl::StrCat("PFS labels ", label, " and ", other, " have the same directory hash"));
      }
    }
    labels.push_back(label);
  }
  return labels;
}

absl::StatusOr<uint64_t> AreaBytes(absl::string_view what, std::optional<uint64_t> wanted,
                                   uint64_t standard, uint64_t min, uint64_t max) {
  if (!wanted.has_value()) return standard;
  if (*wanted % kVolumeAlign != 0 || *wanted < min || *wanted > max) {
    return absl::InvalidArgumentError(absl::StrCat(what, " area of ", *wanted,
                                                   " bytes, legal: a multiple of 8 MiB from ",
                                                   FormatBytes(min), " to ", FormatBytes(max)));
  }
  return *wanted;
}

absl::Status LayOutVolumes(const Devices& devices, const FormatOptions& options, Layout& layout) {
  if (options.version != kVolumeVersionSingle && options.version != kVolumeVersionMulti) {
    return absl::InvalidArgumentError(
        absl::StrCat("volume version ", options.version, ", legal: 1 and 2"));
  }
  const size_t max = options.version == kVolumeVersionSingle ? 1 : size_t{kMaxVolumes};
  if (devices.empty() || devices.size() > max) {
    return absl::InvalidArgumentError(absl::StrCat(devices.size(), " devices for volume version ",
                                                   options.version, ", legal: 1 to ", max));
  }
  for (size_t i = 0; i < devices.size(); ++i) {
    const bool last = i + 1 == devices.size();
    const uint64_t align = last ? kVolumeAlign : kFreemapLeafSpan;
    const uint64_t bytes = RoundDown(devices[i]->size_bytes(), align);
    if (bytes == 0 || bytes > kMaxVolumeBytes - layout.total) {
      return absl::InvalidArgumentError(absl::StrCat(
          devices[i]->name(), ": size ", devices[i]->size_bytes(), ", legal: at least ",
          FormatBytes(align), last ? "" : " for any but the last device", ", together below 2^63"));
    }
    layout.start.push_back(layout.total);
    layout.bytes.push_back(bytes);
    layout.total += bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<Layout> LayOut(const Devices& devices, const FormatOptions& options) {
  H2_RETURN_IF_ERROR(CheckMethods(options));
  Layout layout;
  H2_ASSIGN_OR_RETURN(layout.labels, CheckLabels(options));
  H2_RETURN_IF_ERROR(LayOutVolumes(devices, options, layout));
  const AreaSizes standard = DefaultAreas(layout.total);
  H2_ASSIGN_OR_RETURN(layout.areas.boot,
                      AreaBytes("boot", options.boot_bytes, standard.boot, kBootMin, kBootMax));
  H2_ASSIGN_OR_RETURN(layout.areas.aux,
                      AreaBytes("aux", options.aux_bytes, standard.aux, kAuxMin, kAuxMax));
  // The static inodes must not come to lie in the reserved head of the second GiB.
  if (layout.aux_end() >= kFreemapLeafSpan) {
    return absl::InvalidArgumentError(absl::StrCat("boot and aux areas end at ", layout.aux_end(),
                                                   ", legal: below ", kFreemapLeafSpan));
  }
  const uint64_t not_data = ReservedBytes(layout.total) + layout.areas.boot + layout.areas.aux;
  if (RoundUp(layout.allocator_beg(), kSegBytes) >= layout.total || not_data >= layout.total) {
    return absl::InvalidArgumentError(
        absl::StrCat("a volume of ", FormatBytes(layout.total), " has no room for data behind ",
                     FormatBytes(layout.areas.boot), " of boot and ", FormatBytes(layout.areas.aux),
                     " of aux area; the smallest is 32 MiB"));
  }
  layout.allocator_size = layout.total - not_data;
  return layout;
}

absl::Status CheckDevice(BlockDevice& device, bool force) {
  if (device.read_only()) {
    return WithReason(absl::FailedPreconditionError(absl::StrCat(device.name(), ": is read-only")),
                      kReasonReadOnly);
  }
  if (force) return absl::OkStatus();
  H2_ASSIGN_OR_RETURN(const std::string found, DetectSignature(device));
  if (found.empty()) return absl::OkStatus();
  return WithReason(absl::FailedPreconditionError(absl::StrCat(device.name(), ": carries ", found,
                                                               "; formatting it must be forced")),
                    kReasonForeignSignature);
}

// --- what is written
// ---------------------------------------------------------------------------------

Blockref StaticInodeBref(const Layout& layout, size_t i, Key key, const InodeData& inode) {
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.copyid = kCopyidLocal;
  bref.vradix = kInodeRadix;
  bref.key = key;
  bref.mirror_tid = kFormatTid;
  bref.data_off = layout.inode_place(i);
  bref.set_methods(CheckMethod::kXxhash64, CompMethod::kNone);
  SetCheck(bref, std::as_bytes(std::span(&inode, 1)));
  return bref;
}

InodeData FormatPfsRoot(const std::string& label, const FormatOptions& options, absl::Time now,
                        RandomSource& random) {
  InodeData inode = NewPfsRootInode(label, Dirhash(label), now, random);
  // What newfs sets differently from a PFS that is made later (spec 01 sections 10.2 and 10.4).
  inode.meta.iparent = Inum(0);
  inode.meta.pfs_inum = kNewfsInodeCounter;
  // A PFS that is called "boot" keeps what boot loaders can read.
  if (!absl::EqualsIgnoreCase(label, "boot")) {
    inode.meta.comp_algo =
        static_cast<uint8_t>(options.comp_level << 4 | static_cast<int>(options.comp));
    inode.meta.check_algo = static_cast<uint8_t>(options.check);
  }
  return inode;
}

InodeData SuperRoot(absl::Time now, RandomSource& random) {
  InodeData inode;
  InodeMeta& meta = inode.meta;
  meta.ctime = meta.mtime = meta.btime = ToMediaTime(now);
  meta.type = ObjectType::kDirectory;
  meta.mode = 0700;
  meta.inum = kInumSuperRoot;
  meta.nlinks = 2;
  meta.comp_algo = static_cast<uint8_t>(CompMethod::kAutozero);
  meta.check_algo = static_cast<uint8_t>(CheckMethod::kXxhash64);
  meta.pfs_type = kPfsTypeSuproot;
  meta.pfs_clid = NewUuid(random);
  meta.pfs_fsid = NewUuid(random);
  inode.set_name("SUPROOT");
  return inode;
}

// The static inodes in one device buffer, and the blockref of the first, the super-root.
struct StaticInodes {
  AlignedBuffer image = AlignedBuffer::Zeroed(kPbufBytes);
  Blockref super_root;
};

StaticInodes MakeStaticInodes(const Layout& layout, const FormatOptions& options, absl::Time now,
                              RandomSource& random) {
  StaticInodes made;
  InodeData super_root = SuperRoot(now, random);
  std::vector<Blockref> roots;
  for (size_t i = 0; i < layout.labels.size(); ++i) {
    const InodeData root = FormatPfsRoot(layout.labels[i], options, now, random);
    StoreAs(made.image.span(), root, (i + 1) * kInodeBytes);
    roots.push_back(StaticInodeBref(layout, i + 1, root.meta.name_key, root));
    roots.back().flags = kBrefFlagPfsroot;
  }
  std::sort(roots.begin(), roots.end(),
            [](const Blockref& a, const Blockref& b) { return a.key < b.key; });
  for (size_t i = 0; i < roots.size(); ++i) super_root.set_blockset(static_cast<int>(i), roots[i]);
  StoreAs(made.image.span(), super_root);
  made.super_root = StaticInodeBref(layout, 0, Key(0), super_root);
  made.super_root.set_methods(CheckMethod::kXxhash64, CompMethod::kAutozero);
  return made;
}

std::unique_ptr<VolumeData> MakeHeader(const Layout& layout, size_t volume, uint32_t version,
                                       const Uuid& fsid, const Blockref& super_root) {
  auto header = std::make_unique<VolumeData>();
  header->volu_size = layout.bytes[volume];
  header->version = version;
  header->peer_type = kPeerType;
  header->fsid = fsid;
  header->fstype = kFstypeUuid;
  header->allocator_size = layout.allocator_size;
  header->mirror_tid = header->freemap_tid = kFormatTid;
  if (version >= kVolumeVersionMulti) {
    header->volu_id = static_cast<uint8_t>(volume);
    header->nvolumes = static_cast<uint8_t>(layout.bytes.size());
    header->total_size = layout.total;
    header->volu_loff.fill(UINT64_MAX);
    std::copy(layout.start.begin(), layout.start.end(), header->volu_loff.begin());
  }
  if (volume == 0) {
    header->boot_beg = layout.boot_beg();
    header->boot_end = header->aux_beg = layout.aux_beg();
    header->aux_end = layout.aux_end();
    header->allocator_free = layout.allocator_size;
    header->allocator_beg = layout.allocator_beg();
    header->sroot_blockset[0] = super_root;
  } else {
    for (Blockref& bref : header->sroot_blockset) bref.type = BrefType::kInvalid;
  }
  SealVolumeData(*header);
  return header;
}

// --- writing
// -----------------------------------------------------------------------------------------

// Makes [begin, end) of the device zeros. What reads as zeros already is not written, so that a
// sparse file stays sparse.
absl::Status Zero(BlockDevice& device, uint64_t begin, uint64_t end) {
  AlignedBuffer found(kZeroStepBytes);
  AlignedBuffer zeros;
  for (uint64_t at = begin; at < end; at += kZeroStepBytes) {
    const ByteSpan step = found.span().first(std::min(kZeroStepBytes, end - at));
    // A range that cannot be read may still be writable.
    if (device.Read(ByteOff(at), step).ok() && IsAllZero(step)) continue;
    if (zeros.empty()) zeros = AlignedBuffer::Zeroed(kZeroStepBytes);
    H2_RETURN_IF_ERROR(device.Write(ByteOff(at), ConstByteSpan(zeros.span()).first(step.size())));
  }
  return absl::OkStatus();
}

absl::Status SyncAll(const Devices& devices) {
  absl::Status status;
  for (const std::unique_ptr<BlockDevice>& device : devices) status.Update(device->Sync());
  return status;
}

// Every place where any implementation looks for a header, on the whole device: a stale one behind
// the volume's end would win by its mirror_tid (spec 01 section 2.7).
absl::Status ClearHeaders(const Devices& devices) {
  for (const std::unique_ptr<BlockDevice>& device : devices) {
    for (int slot = 0; slot < kVolumeHeaderSlots; ++slot) {
      const uint64_t begin = HeaderSlotOffset(slot).v;
      if (begin >= device->size_bytes()) break;
      const uint64_t end = std::min(begin + kVolumeHeaderBytes, device->size_bytes());
      H2_RETURN_IF_ERROR(Zero(*device, begin, end));
    }
  }
  return SyncAll(devices);
}

// The last 64 KiB before `end`: shows that it can be written, and removes signatures that are kept
// there.
absl::Status WriteZeroedTail(BlockDevice& device, uint64_t end) {
  const AlignedBuffer zeros = AlignedBuffer::Zeroed(kPbufBytes);
  return device.Write(ByteOff(end - kPbufBytes), zeros.span());
}

absl::Status WriteData(const Devices& devices, const Layout& layout, const StaticInodes& inodes) {
  BlockDevice& root = *devices.front();
  H2_RETURN_IF_ERROR(Zero(root, 0, layout.aux_end()));  // reserved segment, boot and aux area
  for (size_t i = 0; i < devices.size(); ++i) {
    H2_RETURN_IF_ERROR(WriteZeroedTail(*devices[i], layout.bytes[i]));
    H2_RETURN_IF_ERROR(WriteZeroedTail(*devices[i], devices[i]->size_bytes()));
  }
  H2_RETURN_IF_ERROR(root.Write(ByteOff(layout.aux_end()), inodes.image.span()));
  return SyncAll(devices);
}

absl::Status WriteHeaders(const Devices& devices, const Layout& layout, uint32_t version,
                          const Uuid& fsid, const Blockref& super_root) {
  for (size_t i = 0; i < devices.size(); ++i) {
    const auto header = MakeHeader(layout, i, version, fsid, super_root);
    const AlignedBuffer image = AlignedBuffer::CopyOf(std::as_bytes(std::span(header.get(), 1)));
    for (int slot = 0; slot < HeaderSlotCount(layout.bytes[i]); ++slot) {
      H2_RETURN_IF_ERROR(devices[i]->Write(HeaderSlotOffset(slot), image.span()));
    }
  }
  return SyncAll(devices);
}

}  // namespace

absl::StatusOr<FormatReport> Format(const std::vector<std::unique_ptr<BlockDevice>>& devices,
                                    const FormatOptions& options, Clock& clock,
                                    RandomSource& random) {
  H2_ASSIGN_OR_RETURN(const Layout layout, LayOut(devices, options));
  for (const std::unique_ptr<BlockDevice>& device : devices) {
    H2_RETURN_IF_ERROR(CheckDevice(*device, options.force));
  }
  const Uuid fsid = NewUuid(random);
  const StaticInodes inodes = MakeStaticInodes(layout, options, clock.WallNow(), random);

  // The order makes a format that is cut short a device without a volume: what was there is gone
  // before anything overwrites it, and no header is there before what it names.
  H2_RETURN_IF_ERROR(ClearHeaders(devices));
  H2_RETURN_IF_ERROR(WriteData(devices, layout, inodes));
  H2_RETURN_IF_ERROR(WriteHeaders(devices, layout, options.version, fsid, inodes.super_root));

  FormatReport report;
  report.total_size = layout.total;
  report.allocator_size = layout.allocator_size;
  report.boot_bytes = layout.areas.boot;
  report.aux_bytes = layout.areas.aux;
  report.header_slots = HeaderSlotCount(layout.bytes.front());
  report.fsid = fsid;
  return report;
}

}  // namespace h2bd
