// The ring of volume headers: which slot is confirmed, which comes next, and the write itself (spec
// 01 section 2.8, spec 04 sections 6.1 and 6.4).
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "core/base/log.h"
#include "core/base/metrics.h"
#include "core/media/volume_data.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {

// One header that is, or may be, on the media; what it references must not be overwritten.
struct RingEntry {
  int slot = 0;
  bool shadow = false;     // the copy in the aux area, of slot 0
  bool confirmed = false;  // its barrier completed; else the outcome of its write is unknown
  Tid mirror_tid;
  std::array<Blockref, 4> freemap_blockset{};
};

// Used by one thread at a time (the flusher), except slot_count(), which any thread may call at any
// time, and entries() and confirmed_slot(), which any thread may call between publishes.
//
// A volume with one slot only (smaller than 2 GiB + 4 MiB) has its header written twice: first,
// with a barrier of its own, into the last 64 KiB of the aux area (the shadow, ignored by other
// implementations), then into slot 0. A header that is torn in slot 0 is then found again in the
// shadow. Whichever of the two copies is not known to be whole is written first, so that one of
// them always is.
class HeaderRing {
 public:
  // Takes what AssembleVolumeSet found. `devices` outlives the ring.
  HeaderRing(DeviceSet& devices, const VolumeSet& set, Logger& logger);

  // Read-write open fence (F-218): makes durable what was read (it may still lie in a device cache,
  // of a server that was killed), invalidates every slot that did not validate at open (its first 4
  // KiB zeroed, barrier), restores slot 0 when the header came from the shadow, and brings the
  // shadow up to date. Must succeed before the first block is written. Idempotent. Errors are those
  // of the device; then refuse read-write.
  absl::Status Fence();

  // P10 and P11: writes `header` (sealed by SealVolumeData) into the next slot and issues the
  // barrier after it. Barrier 1 (all devices) is the caller's and must have completed. On success
  // the slot is confirmed. On failure the outcome is unknown: the entry stays in entries()
  // unconfirmed and the confirmed slot stays what it was. The next call tries the same slot again,
  // after two failures the next one that is not the confirmed slot (F-214); kFailedPrecondition
  // with reason READ_ONLY_FAILSTOP when none is left.
  struct PublishTimes {
    absl::Duration header, barrier2;  // barrier2 is zero when no barrier was tried
    bool barrier_failed = false;      // after an error: it was a barrier, not a write
  };
  absl::StatusOr<int> Publish(const VolumeData& header, PublishTimes* times);

  // A slot that could not be read at open: it may hold a header newer than the chosen one, which
  // somebody was told is durable. The fence would make that header invalid.
  std::optional<int> UnreadSlotThatMayBeNewest() const;

  int confirmed_slot() const { return confirmed_slot_; }
  // Every header a future mount might choose.
  const std::vector<RingEntry>& entries() const { return entries_; }
  // Highest plausible mirror_tid seen in any slot, valid or not (F-218), or tried since (F-216).
  Tid highest_tid_seen() const { return highest_tid_; }
  bool has_shadow() const { return shadow_.has_value(); }
  // Bytes of headers written to the root device since the ring was made.
  uint64_t written_bytes() const { return written_bytes_.value(); }
  int slot_count() const { return slot_count_.load(std::memory_order_relaxed); }

  // Offset of the shadow on a volume with this header, or nullopt where it has none (several slots,
  // or no aux area of at least 64 KiB).
  static std::optional<ByteOff> ShadowPlace(const VolumeData& header);

 private:
  // Where a copy of the header lies on the root device.
  struct Place {
    int slot = 0;
    bool shadow = false;
  };
  bool MustInvalidate(const HeaderProbe& probe, uint64_t volu_size) const;
  Tid HighestTid(const VolumeSet& set) const;
  ByteOff OffsetOf(const Place& place) const;
  void SetWhole(const Place& place, bool whole);
  absl::StatusOr<int> ChooseSlot(uint64_t volu_size) const;
  // One copy and its barrier. The entry of the copy is unconfirmed until both have succeeded.
  absl::Status WriteCopy(const Place& place, const VolumeData& header, PublishTimes* times);
  absl::Status WriteSlotAndShadow(const VolumeData& header, PublishTimes* times);
  absl::Status Invalidate(ByteOff off);
  // A header of unknown outcome keeps its freemap copies named until its slot is written again.
  // Once another slot is confirmed such slots are zeroed; one that cannot be is given up.
  void ClearUnknownSlots();
  // A volume that has grown to several slots needs its shadow no more.
  void DropShadow();

  DeviceSet& devices_;
  Logger& logger_;
  std::atomic<int> slot_count_{1};
  int confirmed_slot_ = 0;
  bool fenced_ = false;
  std::optional<ByteOff> shadow_;
  // Of the two copies on a volume with a shadow: which is known to be good. Never neither.
  bool slot_zero_whole_ = false;
  bool shadow_whole_ = false;
  std::unique_ptr<VolumeData> shadow_header_;  // what the shadow holds, once fenced
  std::vector<int> damaged_slots_;             // unread ones among them
  std::vector<int> unread_slots_;
  std::vector<RingEntry> entries_;
  std::array<int, kVolumeHeaderSlots> failures_{};   // of each slot since the last success
  std::array<bool, kVolumeHeaderSlots> given_up_{};  // not written while there is another slot
  Tid highest_tid_;
  Counter written_bytes_;
};

}  // namespace h2bd
