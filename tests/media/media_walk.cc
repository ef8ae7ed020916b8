#include "tests/media/media_walk.h"

#include "core/media/check_code.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

class Walker {
 public:
  Walker(const SparseImage& image, uint64_t total_size,
         absl::FunctionRef<absl::Status(const MediaBlock&)> visit)
      : image_(image), total_size_(total_size), visit_(visit) {}

  absl::Status Table(ConstByteSpan raw, TableKind kind, Key key, unsigned keybits) {
    H2_ASSIGN_OR_RETURN(const std::vector<Blockref> table,
                        DecodeTable(raw, kind, key, keybits, total_size_));
    for (const Blockref& bref : table) {
      H2_RETURN_IF_ERROR(Entry({bref, kind, key, keybits, {}}));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Entry(MediaBlock at) {
    AlignedBuffer block(at.bref.data_off.bytes());
    if (!block.empty()) {
      image_.Read(at.bref.data_off.offset().v, block.span());
      H2_RETURN_IF_ERROR(VerifyCheck(at.bref, block.span()));
    }
    at.bytes = block.span();
    H2_RETURN_IF_ERROR(visit_(at));
    switch (at.bref.type) {
      case BrefType::kInode:
        return Inode(at);
      case BrefType::kIndirect:
      case BrefType::kFreemapNode:
        return Table(at.bytes, at.kind, at.bref.key, at.bref.keybits);
      default:
        return absl::OkStatus();
    }
  }

  absl::Status Inode(const MediaBlock& at) {
    H2_ASSIGN_OR_RETURN(const InodeData inode,
                        DecodeInode(at.bytes, at.bref, IsIndexed(at.bref, at.kind)));
    if (inode.meta.directdata()) return absl::OkStatus();
    return Table(inode.u, TableKindOf(inode), Key(0), 64);
  }

  const SparseImage& image_;
  const uint64_t total_size_;
  const absl::FunctionRef<absl::Status(const MediaBlock&)> visit_;
};

}  // namespace

std::unique_ptr<VolumeData> ReadHeader(const SparseImage& image, int slot) {
  auto header = std::make_unique<VolumeData>();
  image.Read(HeaderSlotOffset(slot).v, std::as_writable_bytes(std::span(header.get(), 1)));
  return header;
}

absl::Status WalkMedia(const SparseImage& image, const VolumeData& header,
                       absl::FunctionRef<absl::Status(const MediaBlock&)> visit) {
  Walker walker(image, header.address_space(), visit);
  H2_RETURN_IF_ERROR(walker.Table(std::as_bytes(std::span(header.sroot_blockset)),
                                  TableKind::kSuperRootSet, Key(0), 64));
  return walker.Table(std::as_bytes(std::span(header.freemap_blockset)), TableKind::kFreemap,
                      Key(0), 64);
}

bool IsIndexed(const Blockref& bref, TableKind kind) {
  return kind == TableKind::kPfsRoot && (bref.key.v & kDirhashVisible) == 0;
}

}  // namespace h2bd
