#include "tests/fsck/image_editor.h"

#include "core/media/check_code.h"
#include "core/media/placement.h"

namespace h2bd {

ImageEditor::ImageEditor(SparseImage image, int slot)
    : image_(std::move(image)), slot_(slot), header_(std::make_unique<VolumeData>()) {
  image_.Read(HeaderAt(), std::as_writable_bytes(std::span(header_.get(), 1)));
  Walk(HeaderAt() + offsetof(VolumeData, sroot_blockset), kEmbeddedBytes, -1, -1);
  Walk(HeaderAt() + offsetof(VolumeData, freemap_blockset), kEmbeddedBytes, -1, -1);
}

uint64_t ImageEditor::HeaderAt() const { return HeaderSlotOffset(slot_).v; }

void ImageEditor::Walk(uint64_t table_at, uint64_t bytes, int parent, int inode) {
  for (uint64_t at = 0; at < bytes; at += kBlockrefBytes) {
    Node node{table_at + at};
    image_.Read(node.bref_at, std::as_writable_bytes(std::span(&node.bref, 1)));
    if (node.bref.empty()) continue;
    node.parent = parent;
    node.slot = static_cast<int>(at / kBlockrefBytes);
    node.inode = inode;
    const int self = static_cast<int>(nodes_.size());
    const uint64_t block = node.bref.data_off.offset().v;
    if (node.bref.type == BrefType::kInode) {
      node.data.emplace();
      image_.Read(block, std::as_writable_bytes(std::span(&*node.data, 1)));
    }
    nodes_.push_back(node);
    if (node.bref.type == BrefType::kInode && !node.data->meta.directdata()) {
      Walk(block + offsetof(InodeData, u), kEmbeddedBytes, self, self);
    } else if (node.bref.type == BrefType::kIndirect || node.bref.type == BrefType::kFreemapNode) {
      Walk(block, node.bref.data_off.bytes(), self, inode);
    }
  }
}

int ImageEditor::Find(const std::function<bool(const Node&)>& matches) const {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (matches(nodes_[i])) return static_cast<int>(i);
  }
  H2_ASSERT(!"the image has such a node");
  return -1;
}

int ImageEditor::Find(BrefType type, int nth) const {
  return Find([&](const Node& node) { return node.bref.type == type && nth-- == 0; });
}

int ImageEditor::FindInode(
    const std::function<bool(const InodeData&, const Node&)>& matches) const {
  return Find([&](const Node& node) { return node.data.has_value() && matches(*node.data, node); });
}

std::vector<int> ImageEditor::ChildrenOf(int parent) const {
  std::vector<int> children;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].parent == parent) children.push_back(static_cast<int>(i));
  }
  return children;
}

std::vector<std::byte> ImageEditor::BlockOf(int node) const {
  const DataOff data_off = nodes_[static_cast<size_t>(node)].bref.data_off;
  std::vector<std::byte> block(data_off.bytes());
  image_.Read(data_off.offset().v, block);
  return block;
}

void ImageEditor::WriteHeader() {
  SealVolumeData(*header_);
  image_.Write(HeaderAt(), std::as_bytes(std::span(header_.get(), 1)));
}

void ImageEditor::MendAbove(int node) {
  if (node < 0) {
    // Some blockref of the header has changed on the device.
    image_.Read(HeaderAt(), std::as_writable_bytes(std::span(header_.get(), 1)));
    WriteHeader();
    return;
  }
  Node& n = nodes_[static_cast<size_t>(node)];
  SetCheck(n.bref, BlockOf(node));
  image_.Write(n.bref_at, std::as_bytes(std::span(&n.bref, 1)));
  MendAbove(n.parent);
}

void ImageEditor::EditHeader(const std::function<void(VolumeData&)>& change) {
  change(*header_);
  WriteHeader();
}

void ImageEditor::EditBref(int node, const std::function<void(Blockref&)>& change) {
  Node& n = nodes_[static_cast<size_t>(node)];
  change(n.bref);
  image_.Write(n.bref_at, std::as_bytes(std::span(&n.bref, 1)));
  MendAbove(n.parent);
}

void ImageEditor::EditBlock(int node, const std::function<void(ByteSpan)>& change) {
  std::vector<std::byte> block = BlockOf(node);
  change(block);
  image_.Write(nodes_[static_cast<size_t>(node)].bref.data_off.offset().v, block);
  MendAbove(node);
}

void ImageEditor::EditInode(int node, const std::function<void(InodeData&)>& change) {
  EditBlock(node, [&](ByteSpan block) {
    auto inode = LoadAs<InodeData>(block);
    change(inode);
    StoreAs(block, inode);
  });
}

void ImageEditor::EditLeaf(int node, const std::function<void(FreemapLeafData&)>& change) {
  EditBlock(node, [&](ByteSpan block) {
    const auto leaf = std::make_unique<FreemapLeafData>(LoadAs<FreemapLeafData>(block));
    change(*leaf);
    StoreAs(block, *leaf);
  });
}

void ImageEditor::AddBref(int parent, const Blockref& bref) {
  const bool inode = nodes_[static_cast<size_t>(parent)].data.has_value();
  EditBlock(parent, [&](ByteSpan block) {
    for (size_t at = inode ? offsetof(InodeData, u) : 0; at < block.size(); at += kBlockrefBytes) {
      if (!LoadAs<Blockref>(block, at).empty()) continue;
      StoreAs(block, bref, at);
      return;
    }
    H2_ASSERT(!"the table has an empty slot");
  });
}

}  // namespace h2bd
