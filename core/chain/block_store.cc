#include "core/chain/block_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/media/check_code.h"
#include "core/media/decode.h"
#include "core/media/placement.h"

namespace h2bd {

absl::StatusOr<AlignedBuffer> BlockStore::Load(const Blockref& bref) {
  H2_ASSERT(bref.data_off.radix() != 0);
  absl::Status status = CheckPlacement(bref.data_off, total_size());
  if (!status.ok()) return Annotate(status, Describe(bref));
  absl::StatusOr<AlignedBuffer> block = dio_.ReadBlock(bref.data_off);
  if (!block.ok()) return Annotate(block.status(), Describe(bref));
  status = VerifyCheck(bref, block->span());
  if (!status.ok()) return Annotate(status, Describe(bref));
  return block;
}

absl::Status BlockStore::Store(Blockref& bref, SharedBytes block, const FlushTids& tids) {
  const uint64_t bytes = block->size();
  const unsigned radix = RadixFor(bytes);
  H2_ASSERT(radix <= kRadixMax && bytes == uint64_t{1} << radix);
  absl::StatusOr<Allocation> place = allocator_.Allocate(bref.type, radix, bref.key);
  if (!place.ok()) return Annotate(place.status(), Describe(bref));

  Blockref stored = bref;
  stored.data_off = place->data_off;
  stored.mirror_tid = tids.mirror_tid;
  stored.modify_tid = tids.modify_tid;
  stored.flags &= static_cast<uint8_t>(~kBrefFlagEmergMip);  // it says "changed in place"
  stored.check.fill(std::byte{0});                           // no leftovers of a longer code
  SetCheck(stored, block->span());
  const absl::Status written =
      dio_.WriteBlock(stored.data_off, std::move(block), place->fresh_units);
  if (!written.ok()) {
    allocator_.Undo(place->data_off, bref.type);
    return Annotate(written, Describe(stored));
  }
  bref = stored;
  metrics_.Finalized(stored.type, bytes);
  return absl::OkStatus();
}

}  // namespace h2bd
