#include "core/volhdr/header_ring.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/media/check_code.h"
#include "core/media/decode.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

// What is zeroed to make a slot invalid (F-218): the magic, all tree roots and two of the checked
// sectors.
constexpr uint64_t kInvalidatedBytes = 4096;
constexpr int kTriesPerSlot = 2;  // F-214

// How far above the newest valid header the tid of a damaged one is believed.
constexpr uint64_t kPlausibleTidGap = uint64_t{1} << 20;

ConstByteSpan BytesOf(const VolumeData& header) { return std::as_bytes(std::span(&header, 1)); }

bool SameBytes(const VolumeData& a, const VolumeData& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

RingEntry EntryOf(const VolumeData& header, int slot, bool shadow, bool confirmed) {
  return {.slot = slot,
          .shadow = shadow,
          .confirmed = confirmed,
          .mirror_tid = header.mirror_tid,
          .freemap_blockset = header.freemap_blockset};
}

}  // namespace

std::optional<ByteOff> HeaderRing::ShadowPlace(const VolumeData& header) {
  const bool has_room = header.aux_beg >= kZoneSegBytes && header.aux_end > header.aux_beg &&
                        header.aux_end - header.aux_beg >= kVolumeHeaderBytes &&
                        header.aux_end % kVolumeHeaderBytes == 0 &&
                        header.aux_end < kFreemapLeafSpan && header.aux_end <= header.volu_size;
  if (!has_room || header.volu_id != 0 || HeaderSlotCount(header.volu_size) != 1) {
    return std::nullopt;
  }
  return ByteOff(header.aux_end - kVolumeHeaderBytes);
}

HeaderRing::HeaderRing(DeviceSet& devices, const VolumeSet& set, Logger& logger)
    : devices_(devices),
      logger_(logger),
      slot_count_(HeaderSlotCount(set.header->volu_size)),
      confirmed_slot_(set.slot),
      shadow_(ShadowPlace(*set.header)),
      slot_zero_whole_(!set.from_shadow),
      shadow_whole_(set.shadow != nullptr && SameBytes(*set.shadow, *set.header)) {
  if (shadow_.has_value()) shadow_header_ = std::make_unique<VolumeData>(*set.header);
  for (const HeaderProbe& probe : set.root_probes) {
    if (!probe.present) continue;
    if (probe.status.ok()) {
      entries_.push_back(EntryOf(*probe.header, probe.slot, /*shadow=*/false, /*confirmed=*/true));
    } else if (MustInvalidate(probe, set.header->volu_size)) {
      damaged_slots_.push_back(probe.slot);
      if (probe.header == nullptr) unread_slots_.push_back(probe.slot);
    }
  }
  if (set.shadow != nullptr) {
    entries_.push_back(EntryOf(*set.shadow, /*slot=*/0, /*shadow=*/true, /*confirmed=*/true));
  }
  highest_tid_ = HighestTid(set);
}

std::optional<int> HeaderRing::UnreadSlotThatMayBeNewest() const {
  // The order of the slots proves nothing: a slot that fails is passed over.
  if (unread_slots_.empty()) return std::nullopt;
  return unread_slots_.front();
}

bool HeaderRing::MustInvalidate(const HeaderProbe& probe, uint64_t volu_size) const {
  if (probe.header == nullptr) return true;  // unreadable now; nobody knows what it will be
  // A mount looks at slots up to the end of the device. What lies past the volume and never was a
  // header is not ours to erase.
  if (HeaderSlotOffset(probe.slot).v >= volu_size) return probe.header->magic == kVolumeMagic;
  return !IsAllZero(BytesOf(*probe.header).first(kInvalidatedBytes));
}

Tid HeaderRing::HighestTid(const VolumeSet& set) const {
  Tid highest = set.header->mirror_tid;
  if (set.shadow != nullptr) highest = std::max(highest, set.shadow->mirror_tid);
  for (const HeaderProbe& probe : set.root_probes) {
    if (probe.header == nullptr) continue;
    const VolumeData& h = *probe.header;
    if (h.magic != kVolumeMagic || h.fsid != set.header->fsid || h.mirror_tid.v >= kTidLimit) {
      continue;
    }
    const bool sector_whole = Icrc32(BytesOf(h).first(508)) == h.icrc_sects[7];
    if (sector_whole || h.mirror_tid.v < set.header->mirror_tid.v + kPlausibleTidGap) {
      highest = std::max(highest, h.mirror_tid);
    }
  }
  return highest;
}

absl::Status HeaderRing::Fence() {
  if (fenced_) return absl::OkStatus();
  H2_RETURN_IF_ERROR(devices_.SyncAll());
  for (; !damaged_slots_.empty(); damaged_slots_.pop_back()) {
    const int slot = damaged_slots_.back();
    // Slot 0 of a volume that was saved by its shadow is rewritten below; until then a torn header
    // there is no worse than zeros.
    if (slot == 0 && !slot_zero_whole_) continue;
    H2_RETURN_IF_ERROR(Annotate(Invalidate(HeaderSlotOffset(slot)),
                                absl::StrCat("invalidating damaged header slot ", slot)));
    logger_.Warning("damaged header slot invalidated",
                    {{"device", devices_.root().name()}, {"slot", absl::StrCat(slot)}});
  }
  if (shadow_.has_value()) {
    // At least one of the two is whole: the other one may be written.
    if (!slot_zero_whole_) {
      H2_RETURN_IF_ERROR(WriteCopy({.slot = 0}, *shadow_header_, nullptr));
      logger_.Warning("header slot 0 restored from its shadow",
                      {{"device", devices_.root().name()}});
    }
    if (!shadow_whole_) {
      H2_RETURN_IF_ERROR(WriteCopy({.slot = 0, .shadow = true}, *shadow_header_, nullptr));
    }
  }
  fenced_ = true;
  return absl::OkStatus();
}

absl::Status HeaderRing::Invalidate(ByteOff off) {
  H2_RETURN_IF_ERROR(devices_.root().Write(off, AlignedBuffer::Zeroed(kInvalidatedBytes).span()));
  return devices_.root().Sync();
}

ByteOff HeaderRing::OffsetOf(const Place& place) const {
  return place.shadow ? *shadow_ : HeaderSlotOffset(place.slot);
}

void HeaderRing::SetWhole(const Place& place, bool whole) {
  if (place.slot == 0) (place.shadow ? shadow_whole_ : slot_zero_whole_) = whole;
}

absl::Status HeaderRing::WriteCopy(const Place& place, const VolumeData& header,
                                   PublishTimes* times) {
  SetWhole(place, false);
  highest_tid_ = std::max(highest_tid_, header.mirror_tid);
  // What the place held may survive a failed write: its entries stay until this one is confirmed.
  entries_.push_back(EntryOf(header, place.slot, place.shadow, /*confirmed=*/false));

  const AlignedBuffer image = AlignedBuffer::CopyOf(BytesOf(header));
  const absl::Duration began = SystemClock().MonotonicNow();
  absl::Status status = devices_.root().Write(OffsetOf(place), image.span());
  written_bytes_.Add(image.size());
  const absl::Duration written = SystemClock().MonotonicNow();
  if (times != nullptr) times->header += written - began;
  H2_RETURN_IF_ERROR(status);
  status = devices_.root().Sync();
  if (times != nullptr) {
    times->barrier2 += SystemClock().MonotonicNow() - written;
    times->barrier_failed = !status.ok();
  }
  H2_RETURN_IF_ERROR(status);

  std::erase_if(entries_, [&](const RingEntry& entry) {
    return entry.slot == place.slot && entry.shadow == place.shadow;
  });
  entries_.push_back(EntryOf(header, place.slot, place.shadow, /*confirmed=*/true));
  SetWhole(place, true);
  return absl::OkStatus();
}

absl::StatusOr<int> HeaderRing::ChooseSlot(uint64_t volu_size) const {
  for (const bool with_given_up : {false, true}) {
    int slot = confirmed_slot_;
    for (int i = 0; i < slot_count_; ++i) {
      slot = NextHeaderSlot(slot, volu_size);
      if (slot_count_ > 1 && slot == confirmed_slot_) continue;
      if (given_up_[static_cast<size_t>(slot)] && !with_given_up) continue;
      if (failures_[static_cast<size_t>(slot)] < kTriesPerSlot) return slot;
    }
  }
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          devices_.root().name(), ": no header slot is left that could be written; slot ",
          confirmed_slot_, " holds the last confirmed header")),
      kReasonReadOnlyFailstop);
}

absl::Status HeaderRing::WriteSlotAndShadow(const VolumeData& header, PublishTimes* times) {
  const Place slot{.slot = 0};
  const Place shadow{.slot = 0, .shadow = true};
  // After a failure in slot 0 the shadow is the only whole copy and must not be touched before slot
  // 0 holds the same. The new header must not go to slot 0 first either: no shadow is ever behind
  // slot 0, that is how a mount tells a stale one.
  if (!slot_zero_whole_) {
    H2_ASSERT(shadow_whole_);
    H2_RETURN_IF_ERROR(WriteCopy(slot, *shadow_header_, times));
  }
  H2_RETURN_IF_ERROR(WriteCopy(shadow, header, times));
  *shadow_header_ = header;
  return WriteCopy(slot, header, times);
}

absl::StatusOr<int> HeaderRing::Publish(const VolumeData& header, PublishTimes* times) {
  H2_ASSERT(fenced_);
  H2_ASSERT(CheckVolumeHeader(header).ok());
  slot_count_ = HeaderSlotCount(header.volu_size);
  H2_ASSIGN_OR_RETURN(const int slot, ChooseSlot(header.volu_size));
  const bool keeps_shadow = shadow_.has_value() && ShadowPlace(header) == shadow_;
  const absl::Status status =
      keeps_shadow ? WriteSlotAndShadow(header, times) : WriteCopy({.slot = slot}, header, times);
  if (!status.ok()) {
    ++failures_[static_cast<size_t>(slot)];
    return Annotate(status, absl::StrCat("writing volume header slot ", slot));
  }
  failures_.fill(0);
  confirmed_slot_ = slot;
  given_up_[static_cast<size_t>(slot)] = false;
  ClearUnknownSlots();
  if (shadow_.has_value() && !keeps_shadow) DropShadow();
  return slot;
}

void HeaderRing::ClearUnknownSlots() {
  for (int slot = 0; slot < slot_count_; ++slot) {
    if (slot == confirmed_slot_) continue;
    const auto in_slot = [&](const RingEntry& entry) {
      return entry.slot == slot && !entry.shadow;
    };
    const bool unknown = std::any_of(entries_.begin(), entries_.end(), [&](const RingEntry& entry) {
      return in_slot(entry) && !entry.confirmed;
    });
    if (!unknown) continue;
    const absl::Status status = Invalidate(HeaderSlotOffset(slot));
    given_up_[static_cast<size_t>(slot)] = !status.ok();
    if (status.ok()) {
      std::erase_if(entries_, in_slot);
    } else {
      logger_.Warning("a header slot is given up: it can be neither written nor zeroed",
                      {{"device", devices_.root().name()},
                       {"slot", absl::StrCat(slot)},
                       {"error", status.ToString()}});
    }
  }
}

void HeaderRing::DropShadow() {
  const absl::Status status = Invalidate(*shadow_);
  if (!status.ok()) {
    logger_.Warning("the old shadow of the volume header could not be erased",
                    {{"device", devices_.root().name()}, {"error", status.ToString()}});
  }
  std::erase_if(entries_, [](const RingEntry& entry) { return entry.shadow; });
  shadow_.reset();
  shadow_header_.reset();
}

}  // namespace h2bd
