// An inode of arbitrary bytes, reached through an arbitrary blockref: refused, or its name, kind
// and table can be used without another look.
#include <algorithm>
#include <array>

#include "core/media/check_code.h"
#include "core/media/decode.h"
#include "core/media/dirhash.h"
#include "tests/fuzz/fuzz_input.h"

namespace h2bd {
namespace {

void Run(const InodeHead& head, ConstByteSpan body) {
  std::array<std::byte, kInodeBytes> raw{};
  std::copy_n(body.begin(), std::min(body.size(), raw.size()), raw.begin());
  Blockref bref = head.bref;
  bref.data_off = DataOff::Make(ByteOff(kSegBytes), kInodeRadix);
  (void)VerifyCheck(bref, raw);

  const bool indexed = head.indexed % 2 == 1;
  const auto inode = DecodeInode(raw, bref, indexed);
  if (!inode.ok()) {
    H2_ASSERT(absl::IsDataLoss(inode.status()));
    return;
  }
  H2_ASSERT(inode->name().size() == inode->meta.name_len);
  (void)Dirhash(inode->name());
  (void)FromMediaTime(inode->meta.mtime);
  const TableKind kind = TableKindOf(*inode);
  H2_ASSERT((kind == TableKind::kSuperRoot) == (!indexed && bref.key.v == 0));
  H2_ASSERT(!indexed || inode->meta.inum.v == bref.key.v);
  if (inode->meta.directdata()) {
    H2_ASSERT(kind == TableKind::kFile && inode->meta.size <= kEmbeddedBytes);
    return;
  }
  const auto table = DecodeTable(inode->u, kind, Key(0), 64, head.total_size & kMaxVolumeBytes);
  H2_ASSERT(table.ok() ? table->size() <= kBlocksetCount : absl::IsDataLoss(table.status()));
  H2_ASSERT(!table.ok() || kind != TableKind::kOther || table->empty());
}

}  // namespace
}  // namespace h2bd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = h2bd::SplitInput<h2bd::InodeHead>(data, size);
  if (input.has_value()) h2bd::Run(input->first, input->second);
  return 0;
}
