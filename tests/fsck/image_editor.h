// Damages an image at one place and makes the check codes above it right again, so that nothing but
// that place is wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/media/blockref.h"
#include "core/media/freemap_data.h"
#include "core/media/inode_data.h"
#include "core/media/volume_data.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// Knows the trees of one header of a volume on one device. Blocks that several blockrefs share are
// known once per blockref, and an edit mends one way up only: choose images without sharing where
// that matters.
class ImageEditor {
 public:
  // A blockref, where it lies, and what it leads to.
  struct Node {
    uint64_t bref_at = 0;  // byte offset of the 128 bytes on the device
    Blockref bref;
    int parent = -1;  // -1: in the header
    int slot = 0;     // in its table
    int inode = -1;  // the inode whose table this is in, -1 above the super-root and in the freemap
    std::optional<InodeData> data;  // of an INODE
  };

  // `slot` must hold a valid header.
  explicit ImageEditor(SparseImage image, int slot = 0);

  const std::vector<Node>& nodes() const { return nodes_; }
  // The first node that `matches`; the image must have one.
  int Find(const std::function<bool(const Node&)>& matches) const;
  int Find(BrefType type, int nth = 0) const;
  // The first inode whose metadata `matches`.
  int FindInode(const std::function<bool(const InodeData&, const Node&)>& matches) const;
  // The nodes in the table of `parent` that are in use, in slot order.
  std::vector<int> ChildrenOf(int parent) const;

  // Changes and mends. An edited blockref keeps its check code unless `change` sets it.
  void EditHeader(const std::function<void(VolumeData&)>& change);
  void EditBref(int node, const std::function<void(Blockref&)>& change);
  void EditBlock(int node, const std::function<void(ByteSpan)>& change);
  void EditInode(int node, const std::function<void(InodeData&)>& change);
  void EditLeaf(int node, const std::function<void(FreemapLeafData&)>& change);
  // Writes into an empty slot of the table of `parent`.
  void AddBref(int parent, const Blockref& bref);
  // Without mending anything.
  void Smash(uint64_t off, ConstByteSpan bytes) { image_.Write(off, bytes); }

  std::vector<std::byte> BlockOf(int node) const;
  const VolumeData& header() const { return *header_; }
  const SparseImage& image() const { return image_; }

 private:
  void Walk(uint64_t table_at, uint64_t bytes, int parent, int inode);
  void MendAbove(int node);  // the block of `node` changed
  void WriteHeader();
  uint64_t HeaderAt() const;

  SparseImage image_;
  const int slot_;
  std::unique_ptr<VolumeData> header_;
  std::vector<Node> nodes_;
};

}  // namespace h2bd
