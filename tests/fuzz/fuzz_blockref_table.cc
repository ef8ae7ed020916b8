// A table of arbitrary blockrefs, for any kind of owner and range: refused, or everything that a
// walker relies on holds.
#include <algorithm>
#include <vector>

#include "core/media/decode.h"
#include "tests/fuzz/fuzz_input.h"

namespace h2bd {
namespace {

constexpr unsigned kTableKinds = 7;

void CheckEntry(const Blockref& bref, const TableHead& head) {
  H2_ASSERT(!bref.empty() && !Describe(bref).empty());
  H2_ASSERT(bref.key.v >= head.table_key && bref.last_key() >= bref.key);
  if (bref.data_off.radix() == 0) {
    H2_ASSERT(bref.type == BrefType::kDirent);
    H2_ASSERT(InlineDirentName(bref).size() == bref.dirent_namlen());
    return;
  }
  const uint64_t off = bref.data_off.offset().v;
  const uint64_t bytes = bref.data_off.bytes();
  H2_ASSERT(bytes >= kAllocMin && bytes <= kAllocMax);
  H2_ASSERT(off >= kPbufBytes && off + bytes > off && off + bytes <= head.total_size);
  H2_ASSERT(off / kPbufBytes == (off + bytes - 1) / kPbufBytes);
}

void Run(TableHead head, ConstByteSpan body) {
  const auto kind = static_cast<TableKind>(head.kind % kTableKinds);
  head.table_keybits %= 65;
  head.total_size &= kMaxVolumeBytes;
  head.table_key =
      head.table_keybits == 64 ? 0 : RoundDown(head.table_key, uint64_t{1} << head.table_keybits);
  const size_t size = std::min<size_t>(body.size(), kIndirectBytesMax);
  const ConstByteSpan raw = body.first(size - size % kBlockrefBytes);

  const Key key(head.table_key);
  const auto table = DecodeTable(raw, kind, key, head.table_keybits, head.total_size);
  if (!table.ok()) {
    H2_ASSERT(absl::IsDataLoss(table.status()) && !table.status().message().empty());
    return;
  }
  for (size_t i = 0; i < table->size(); ++i) {
    CheckEntry((*table)[i], head);
    H2_ASSERT(i == 0 || (*table)[i].key > (*table)[i - 1].last_key());
  }
  // A compacted table is the same table.
  const auto again =
      DecodeTable(std::as_bytes(std::span(*table)), kind, key, head.table_keybits, head.total_size);
  H2_ASSERT(again.ok() && *again == *table);
}

}  // namespace
}  // namespace h2bd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = h2bd::SplitInput<h2bd::TableHead>(data, size);
  if (input.has_value()) h2bd::Run(input->first, input->second);
  return 0;
}
