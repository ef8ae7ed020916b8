#include "tests/fsck/mutations.h"

#include <algorithm>

#include "core/media/check_code.h"
#include "core/media/placement.h"
#include "tests/fsck/volume_fixture.h"

namespace h2bd {
namespace {

using Node = ImageEditor::Node;
using C = FindingCode;

const Node& At(const ImageEditor& e, int node) { return e.nodes()[static_cast<size_t>(node)]; }

// --- finding a place ------------------------------------------------------------------------

// A file with at least two blocks in its inode's own table.
int FileWithBlocks(const ImageEditor& e) {
  return e.FindInode([&](const InodeData& inode, const Node&) {
    return inode.meta.type == ObjectType::kRegfile && !inode.meta.directdata() &&
           inode.blockset(0).type == BrefType::kData && inode.blockset(1).type == BrefType::kData;
  });
}
int EmbeddedFile(const ImageEditor& e) {
  return e.FindInode([](const InodeData& inode, const Node&) {
    return inode.meta.type == ObjectType::kRegfile && inode.meta.directdata();
  });
}
int Directory(const ImageEditor& e, int nth = 0) {
  return e.FindInode([&](const InodeData& inode, const Node&) {
    return inode.meta.type == ObjectType::kDirectory && inode.meta.inum.v >= kInodeStart &&
           nth-- == 0;
  });
}
int SuperRoot(const ImageEditor&) { return 0; }
int Pfs(const ImageEditor& e, absl::string_view name) {
  return e.FindInode([&](const InodeData& inode, const Node&) {
    return inode.meta.pfsroot() && inode.name() == name;
  });
}
int Data(const ImageEditor& e) { return e.Find(BrefType::kData); }
int DataWith(const ImageEditor& e, CompMethod comp) {
  return e.Find([&](const Node& node) {
    return node.bref.type == BrefType::kData && node.bref.comp_method() == comp;
  });
}
// An entry in the own table of a directory that is not a PFS root.
int DirentOfDirectory(const ImageEditor& e) {
  return e.Find([&](const Node& node) {
    return node.bref.type == BrefType::kDirent && node.parent == node.inode &&
           At(e, node.inode).data->meta.inum.v >= kInodeStart;
  });
}
int Leaf(const ImageEditor& e) { return e.Find(BrefType::kFreemapLeaf); }
int DirentTo(const ImageEditor& e, ObjectType type, int nth = 0) {
  return e.Find([&](const Node& node) {
    return node.bref.type == BrefType::kDirent &&
           node.bref.dirent_type() == static_cast<uint8_t>(type) && nth-- == 0;
  });
}

// --- changing it ----------------------------------------------------------------------------

using Change = Mutation::Change;
using Pick = std::function<int(const ImageEditor&)>;

Change Bref(Pick pick, std::function<void(Blockref&)> change) {
  return [=](ImageEditor& e) { e.EditBref(pick(e), change); };
}
Change Inode(Pick pick, std::function<void(InodeData&)> change) {
  return [=](ImageEditor& e) { e.EditInode(pick(e), change); };
}
Change Header(std::function<void(VolumeData&)> change) {
  return [=](ImageEditor& e) { e.EditHeader(change); };
}
// The leaf's entry for the segment of a DATA block, and the block's place in it.
Change SegmentOfData(std::function<void(BmapData&, int chunk)> change) {
  return [=](ImageEditor& e) {
    const uint64_t off = At(e, Data(e)).bref.data_off.offset().v;
    e.EditLeaf(Leaf(e), [&](FreemapLeafData& leaf) {
      change(leaf[off % kFreemapLeafSpan / kSegBytes],
             static_cast<int>(off % kSegBytes / kChunkBytes));
    });
  };
}
Change Place(uint64_t off) {
  return Bref(Data, [=](Blockref& b) { b.data_off = DataOff{off | b.data_off.radix()}; });
}
Change SwapFirstTwo() {
  return Inode(FileWithBlocks, [](InodeData& inode) {
    const Blockref first = inode.blockset(0);
    inode.set_blockset(0, inode.blockset(1));
    inode.set_blockset(1, first);
  });
}
// Makes the second block of a file refer to `data_off`, uncompressed and with the check code of
// what lies there.
void PointSecondBlockAt(ImageEditor& e, DataOff data_off, CheckMethod check) {
  const int second = e.ChildrenOf(FileWithBlocks(e))[1];
  std::vector<std::byte> there(data_off.bytes());
  e.image().Read(data_off.offset().v, there);
  e.EditBref(second, [&](Blockref& b) {
    b.data_off = data_off;
    b.set_methods(check, CompMethod::kNone);
    SetCheck(b, there);
  });
}
void ShareUncheckedBlock(ImageEditor& e) {
  const auto unchecked = [](const Node& node) {
    return node.bref.type == BrefType::kData && node.bref.check_method() == CheckMethod::kNone;
  };
  const int first = e.Find(unchecked);
  const int second =
      e.Find([&](const Node& node) { return unchecked(node) && &node != &At(e, first); });
  const Blockref shared = At(e, first).bref;
  e.EditBref(second, [&](Blockref& b) {
    b.data_off = shared.data_off;
    b.methods = shared.methods;
  });
}
void RenameToNeighbour(ImageEditor& e) {
  for (size_t i = 1; i < e.nodes().size(); ++i) {
    const Blockref &a = e.nodes()[i - 1].bref, &b = e.nodes()[i].bref;
    const bool neighbours = a.type == BrefType::kDirent && b.type == BrefType::kDirent &&
                            a.dirent_namlen() <= kDirentInlineNameMax &&
                            b.dirent_namlen() <= kDirentInlineNameMax &&
                            ((a.key.v ^ b.key.v) & ~kDirhashLoMask) == 0;
    if (!neighbours) continue;
    e.EditBref(static_cast<int>(i), [a](Blockref& dirent) {
      dirent.check = a.check;
      dirent.set_dirent(dirent.dirent_inum(), a.dirent_namlen(), dirent.dirent_type());
    });
    return;
  }
  H2_ASSERT(!"two names share a bucket");
}
void GiveDirectoryASecondName(ImageEditor& e) {
  const Inum first = At(e, DirentTo(e, ObjectType::kDirectory, 0)).bref.dirent_inum();
  e.EditBref(DirentTo(e, ObjectType::kDirectory, 1),
             [&](Blockref& b) { b.set_dirent(first, b.dirent_namlen(), b.dirent_type()); });
}
void ShrinkIndirectTo8KiB(ImageEditor& e) {
  const int indirect = e.Find([](const Node& n) {
    return n.bref.type == BrefType::kIndirect && n.bref.data_off.radix() == 14;
  });
  std::vector<std::byte> half = e.BlockOf(indirect);
  half.resize(8192);
  e.EditBref(indirect, [&](Blockref& b) {
    b.data_off = DataOff::Make(b.data_off.offset(), 13);
    SetCheck(b, half);
  });
}
void SmashBlock(ImageEditor& e, int node) {
  const Blockref& bref = At(e, node).bref;
  const std::byte wrong[4] = {std::byte{0x5a}, std::byte{0xa5}, std::byte{0x3c}, std::byte{0xc3}};
  e.Smash(bref.data_off.offset().v + 16, wrong);
}

constexpr char kF01[] = "f01-basic-2g", kF02[] = "f02-default-8g-slot3", kF06[] = "f06-indirect";

}  // namespace

std::vector<Mutation> TableMutations() {
  return {
      {"entries_swapped", kF01, C::kTableOrder, SwapFirstTwo()},
      {"key_twice", kF01, C::kTableOverlap,
       Inode(FileWithBlocks, [](InodeData& i) { i.set_blockset(1, i.blockset(0)); })},
      {"key_unaligned", kF01, C::kBrefKey, Bref(Data, [](Blockref& b) { b.key.v += 4096; })},
      {"name_key_without_bit_63", kF01, C::kBrefKey,
       Bref(DirentOfDirectory, [](Blockref& b) { b.key.v &= ~kDirhashVisible; })},
      {"data_keybits_12", kF01, C::kBrefKeybits, Bref(Data, [](Blockref& b) { b.keybits = 12; })},
      {"indirect_keybits_64", kF06, C::kBrefKeybits,
       Bref([](const ImageEditor& e) { return e.Find(BrefType::kIndirect); },
            [](Blockref& b) { b.keybits = 64; })},
      {"outside_its_table", kF06, C::kBrefRange,
       Bref(
           [](const ImageEditor& e) {
             return e.Find([&](const Node& n) {
               return n.bref.type == BrefType::kData && At(e, n.parent).bref.keybits == 23;
             });
           },
           [](Blockref& b) { b.key.v += kGiB; })},
      {"dirent_among_data", kF01, C::kBrefType,
       Bref(Data, [](Blockref& b) { b.type = BrefType::kDirent; })},
      {"type_7", kF01, C::kBrefType, Bref(Data, [](Blockref& b) { b.type = BrefType::kInvalid; })},
      {"empty_slot_with_place", kF01, C::kBrefType,
       Bref(Data, [](Blockref& b) { b.type = BrefType::kEmpty; })},
      {"empty_slot_with_rubbish", kF01, C::kReserved,
       Bref(Data,
            [](Blockref& b) {
              b = Blockref{};
              b.check[5] = std::byte{1};
            })},
      {"data_radix_9", kF01, C::kBrefSize,
       Bref(Data, [](Blockref& b) { b.data_off.raw = b.data_off.offset().v | 9; })},
      {"inode_radix_11", kF01, C::kBrefSize,
       Bref(EmbeddedFile, [](Blockref& b) { b.data_off.raw = b.data_off.offset().v | 11; })},
      {"in_reserved_segment", kF01, C::kBrefPlace, Place(kGiB + 128 * kKiB)},
      {"in_first_64_kib", kF01, C::kBrefPlace, Place(0)},
      {"past_the_end", kF01, C::kBrefPlace, Place(2 * kGiB)},
      {"in_the_boot_area", kF01, C::kBrefPlace,
       Bref(Data,
            [](Blockref& b) {
              b.data_off = DataOff::Make(ByteOff(8 * kMiB), 10);
              b.set_methods(CheckMethod::kNone, CompMethod::kNone);
            })},
      {"across_a_buffer", kF01, C::kBrefPlace,
       Bref([](const ImageEditor& e) { return DataWith(e, CompMethod::kNone); },
            [](Blockref& b) { b.data_off.raw += 32 * kKiB; })},
      {"off_the_1_kib_grid", kF01, C::kBrefPlace,
       Bref(Data, [](Blockref& b) { b.data_off.raw += 512; })},
      {"indirect_of_8_kib", kF06, C::kIndirectSize, ShrinkIndirectTo8KiB},
      {"comp_autozero", kF01, C::kCompMethod,
       Bref(Data, [](Blockref& b) { b.set_methods(b.check_method(), CompMethod::kAutozero); })},
      {"check_method_7", kF01, C::kCheckMethod, Bref(Data, [](Blockref& b) { b.methods = 0x72; })},
      {"wrong_data", kF01, C::kCheckCode, [](ImageEditor& e) { SmashBlock(e, Data(e)); }},
      {"wrong_inode", kF01, C::kCheckCode, [](ImageEditor& e) { SmashBlock(e, EmbeddedFile(e)); }},
      {"wrong_long_name", "f07-bigdir", C::kCheckCode,
       [](ImageEditor& e) {
         SmashBlock(e, e.Find([](const Node& n) {
           return n.bref.type == BrefType::kDirent && n.bref.data_off.radix() != 0;
         }));
       }},
      {"lz4_length", kF01, C::kPayload,
       [](ImageEditor& e) {
         e.EditBlock(DataWith(e, CompMethod::kLz4),
                     [](ByteSpan block) { StoreAs(block, uint32_t{70000}); });
       }},
      {"zlib_cut_short", "f05-zlib-levels", C::kPayload,
       [](ImageEditor& e) {
         e.EditBlock(DataWith(e, CompMethod::kZlib), [](ByteSpan block) {
           std::fill(block.begin() + 20, block.end(), std::byte{0});
         });
       }},
      {"blocks_overlap", kF01, C::kBlockOverlap,
       [](ImageEditor& e) {
         const DataOff first = At(e, e.ChildrenOf(FileWithBlocks(e))[0]).bref.data_off;
         const int big = DataWith(e, CompMethod::kNone);
         const uint64_t inside = At(e, big).bref.data_off.offset().v + 4 * kKiB;
         H2_ASSERT(first.offset().v != inside);
         PointSecondBlockAt(e, DataOff::Make(ByteOff(inside), 10), CheckMethod::kXxhash64);
       }},
      {"same_start_other_size", kF01, C::kBlockOverlap,
       [](ImageEditor& e) {
         const DataOff big = At(e, DataWith(e, CompMethod::kNone)).bref.data_off;
         PointSecondBlockAt(e, DataOff::Make(big.offset(), 10), CheckMethod::kXxhash64);
       }},
      {"data_is_an_inode", kF01, C::kBlockTypes,
       [](ImageEditor& e) {
         PointSecondBlockAt(e, At(e, EmbeddedFile(e)).bref.data_off, CheckMethod::kXxhash64);
       }},
      {"unchecked_block_shared", "f13-check-none-disabled", C::kSharedUnchecked,
       ShareUncheckedBlock},
      {"child_newer_than_parent", kF01, C::kMirrorTid,
       Bref(Data, [](Blockref& b) { b.mirror_tid.v += 100; })},
      {"modify_tid_above_the_root", kF01, C::kModifyTid,
       Bref(Data, [](Blockref& b) { b.modify_tid.v += 1000000; })},
      {"data_count", kF01, C::kStatistics,
       Bref(FileWithBlocks, [](Blockref& b) { b.set_data_count(b.data_count() + 1024); })},
      {"pfsroot_flag_missing", kF01, C::kBrefFlags,
       Bref([](const ImageEditor& e) { return Pfs(e, "DATA"); }, [](Blockref& b) { b.flags = 0; })},
      {"unknown_flag", kF01, C::kBrefFlags, Bref(Data, [](Blockref& b) { b.flags = 0x80; })},
      {"update_tid", kF01, C::kReserved, Bref(Data, [](Blockref& b) { b.update_tid = Tid(1); })},
  };
}

std::vector<Mutation> InodeMutations() {
  const Pick data_pfs = [](const ImageEditor& e) { return Pfs(e, "DATA"); };
  return {
      {"inode_version", kF01, C::kInodeFields,
       Inode(EmbeddedFile, [](InodeData& i) { i.meta.version = 2; })},
      {"inode_type", kF01, C::kInodeFields,
       Inode(EmbeddedFile, [](InodeData& i) { i.meta.type = static_cast<ObjectType>(3); })},
      {"inode_name_key", kF01, C::kInodeFields,
       Inode(EmbeddedFile, [](InodeData& i) { i.meta.name_key.v += 1; })},
      {"inode_number", kF01, C::kInodeNumber,
       Inode(EmbeddedFile, [](InodeData& i) { i.meta.inum.v += 1; })},
      {"inode_reserved", kF01, C::kReserved,
       Inode(EmbeddedFile, [](InodeData& i) { i.meta.unused84 = 1; })},
      {"embedded_600_bytes", kF01, C::kDirectdata,
       Inode(EmbeddedFile, [](InodeData& i) { i.meta.size = 600; })},
      {"embedded_tail", kF01, C::kDirectdata,
       Inode(EmbeddedFile,
             [](InodeData& i) {
               i.meta.size = 100;
               i.u[200] = std::byte{1};
             })},
      {"embedded_directory", kF01, C::kDirectdata,
       Inode([](const ImageEditor& e) { return Directory(e); },
             [](InodeData& i) { i.meta.op_flags = kOpFlagDirectdata; })},
      {"block_past_the_end", kF01, C::kFileSize,
       Inode(FileWithBlocks, [](InodeData& i) { i.meta.size = 1000; })},
      {"directory_with_size", kF01, C::kFileSize,
       Inode([](const ImageEditor& e) { return Directory(e); },
             [](InodeData& i) { i.meta.size = 42; })},
      {"entry_removed", kF01, C::kInodeOrphan,
       Bref([](const ImageEditor& e) { return DirentTo(e, ObjectType::kRegfile); },
            [](Blockref& b) { b = Blockref{}; })},
      {"nlinks", kF01, C::kNlinks, Inode(EmbeddedFile, [](InodeData& i) { i.meta.nlinks = 7; })},
      {"iparent", kF01, C::kIparent,
       Inode([](const ImageEditor& e) { return Directory(e, 1); },
             [](InodeData& i) { i.meta.iparent = Inum(4711); })},
      {"name_with_slash", kF01, C::kDirentName,
       Bref([](const ImageEditor& e) { return DirentTo(e, ObjectType::kRegfile); },
            [](Blockref& b) { b.check[0] = std::byte{'/'}; })},
      {"name_of_0_bytes", kF01, C::kDirentName,
       Bref([](const ImageEditor& e) { return DirentTo(e, ObjectType::kRegfile); },
            [](Blockref& b) { b.set_dirent(b.dirent_inum(), 0, b.dirent_type()); })},
      {"name_changed", kF01, C::kDirentHash,
       Bref([](const ImageEditor& e) { return DirentTo(e, ObjectType::kRegfile); },
            [](Blockref& b) { b.check[0] ^= std::byte{1}; })},
      {"name_twice", "f07-bigdir", C::kDirentDuplicate, RenameToNeighbour},
      {"entry_without_inode", kF01, C::kDirentDangling,
       Bref([](const ImageEditor& e) { return DirentTo(e, ObjectType::kRegfile); },
            [](Blockref& b) { b.set_dirent(Inum(999999), b.dirent_namlen(), b.dirent_type()); })},
      {"entry_type", kF01, C::kDirentType,
       Bref([](const ImageEditor& e) { return DirentTo(e, ObjectType::kRegfile); },
            [](Blockref& b) { b.set_dirent(b.dirent_inum(), b.dirent_namlen(), 4); })},
      {"entry_of_unknown_type", kF01, C::kRefused,
       Bref([](const ImageEditor& e) { return DirentTo(e, ObjectType::kRegfile); },
            [](Blockref& b) { b.set_dirent(b.dirent_inum(), b.dirent_namlen(), 99); })},
      {"directory_with_two_names", kF01, C::kDirectoryLinks, GiveDirectoryASecondName},
      {"super_root_type", kF01, C::kSuperRoot,
       Inode(SuperRoot, [](InodeData& i) { i.meta.pfs_type = kPfsTypeMaster; })},
      {"pfs_nmasters", kF01, C::kPfsRoot,
       Inode(data_pfs, [](InodeData& i) { i.meta.pfs_nmasters = 2; })},
      {"pfs_clid_twice", kF01, C::kPfsClid,
       [](ImageEditor& e) {
         const Uuid clid = At(e, Pfs(e, "LOCAL")).data->meta.pfs_clid;
         e.EditInode(Pfs(e, "DATA"), [&](InodeData& i) { i.meta.pfs_clid = clid; });
       }},
      {"pfs_label", kF01, C::kPfsName, Inode(data_pfs, [](InodeData& i) { i.set_name("DATE"); })},
      {"pfs_inum", kF01, C::kPfsInum,
       Inode(data_pfs, [](InodeData& i) { i.meta.pfs_inum = 1030; })},
      {"inode_index_damaged", kF01, C::kPfsIncomplete,
       [](ImageEditor& e) { SmashBlock(e, e.ChildrenOf(Pfs(e, "DATA"))[0]); }},
  };
}

std::vector<Mutation> FreemapMutations() {
  return {
      {"leaf_keybits", kF01, C::kFreemapTree, Bref(Leaf, [](Blockref& b) { b.keybits = 31; })},
      {"leaf_called_node", kF01, C::kFreemapTree,
       Bref(Leaf, [](Blockref& b) { b.type = BrefType::kFreemapNode; })},
      {"leaf_methods", kF01, C::kFreemapTree, Bref(Leaf, [](Blockref& b) { b.methods = 0x30; })},
      {"leaf_place", kF01, C::kFreemapPlace,
       Bref(Leaf, [](Blockref& b) { b.data_off.raw += kPbufBytes; })},
      {"leaf_wrong", kF01, C::kCheckCode, [](ImageEditor& e) { SmashBlock(e, Leaf(e)); }},
      {"node_statistics", "f15-freemap-node", C::kStatistics,
       Bref([](const ImageEditor& e) { return e.Find(BrefType::kFreemapNode); },
            [](Blockref& b) { b.set_data_count(1); })},
      {"cell_01", kF01, C::kFreemapCell,
       SegmentOfData([](BmapData& s, int) { s.set_chunk(200, ChunkState::kReserved); })},
      {"avail", kF01, C::kFreemapAvail,
       SegmentOfData([](BmapData& s, int) { s.avail -= kChunkBytes; })},
      {"linear_past_the_segment", kF01, C::kFreemapLinear,
       SegmentOfData([](BmapData& s, int) { s.linear = kLinearOff + 1024; })},
      {"linear_before_a_block", kF01, C::kFreemapLinear,
       [](ImageEditor& e) {
         const int data = e.Find([](const Node& n) {
           return n.bref.type == BrefType::kData && n.bref.data_off.offset().v % kChunkBytes != 0;
         });
         const uint64_t off = At(e, data).bref.data_off.offset().v;
         e.EditLeaf(Leaf(e), [&](FreemapLeafData& leaf) {
           leaf[off % kFreemapLeafSpan / kSegBytes].linear = static_cast<int32_t>(off % kSegBytes);
         });
       }},
      {"reserved_segment_free", kF01, C::kFreemapReserved,
       [](ImageEditor& e) {
         e.EditLeaf(Leaf(e), [](FreemapLeafData& leaf) { leaf[0] = BmapData::Free(); });
       }},
      {"block_in_use_is_free", kF01, C::kFreemapUnmarked, SegmentOfData([](BmapData& s, int chunk) {
         s.set_chunk(chunk, ChunkState::kFree);
         s.avail += kChunkBytes;
       })},
      {"leaf_missing", kF01, C::kFreemapUnmarked, Bref(Leaf, [](Blockref& b) { b = Blockref{}; })},
      {"block_in_use_is_staged", kF01, C::kFreemapStaged,
       SegmentOfData([](BmapData& s, int chunk) { s.set_chunk(chunk, ChunkState::kStaged); })},
      {"free_chunk_marked", "f11-bulkfree", C::kAllocatorFree, SegmentOfData([](BmapData& s, int) {
         s.set_chunk(255, ChunkState::kAllocated);
         s.avail -= kChunkBytes;
       })},
      {"bmap_reserved", kF01, C::kReserved,
       SegmentOfData([](BmapData& s, int) { s.reserved20[3] = 9; })},
  };
}

std::vector<Mutation> HeaderMutations() {
  const auto smash_slot_1 = [](ImageEditor& e) {
    const std::vector<std::byte> rubbish(512, std::byte{0x77});
    e.Smash(HeaderSlotOffset(1).v + 0x300, rubbish);
  };
  return {
      {"boot_behind_aux", kF01, C::kHeaderField,
       Header([](VolumeData& h) { std::swap(h.boot_end, h.aux_end); })},
      {"aux_end_unaligned", kF01, C::kHeaderField,
       Header([](VolumeData& h) { h.aux_end -= 1024; })},
      {"peer_type", kF01, C::kReserved, Header([](VolumeData& h) { h.peer_type = 1; })},
      {"header_reserved", kF01, C::kReserved,
       Header([](VolumeData& h) { h.reserved9000[77] = std::byte{1}; })},
      {"allocator_size", kF01, C::kAllocatorSize,
       Header([](VolumeData& h) { h.allocator_size += kSegBytes; })},
      {"allocator_free", kF01, C::kAllocatorFree,
       Header([](VolumeData& h) { h.allocator_free += kChunkBytes; })},
      {"freemap_tid_behind", kF01, C::kHeaderTid,
       Header([](VolumeData& h) { h.freemap_tid.v -= 1; })},
      {"blocks_newer_than_freemap_tid", kF01, C::kFreemapLag,
       Header([](VolumeData& h) { h.freemap_tid.v -= 1; })},
      {"freemap_tid_ahead", kF01, C::kMirrorTid,
       Header([](VolumeData& h) { h.freemap_tid.v += 1; })},
      {"super_root_missing", kF01, C::kSuperRoot,
       Header([](VolumeData& h) { h.sroot_blockset[0] = Blockref{}; })},
      {"slot_damaged", kF02, C::kHeaderInvalid, smash_slot_1},
      {"slot_blank", kF02, C::kHeaderBlank,
       [](ImageEditor& e) {
         e.Smash(HeaderSlotOffset(1).v, std::vector<std::byte>(4096, std::byte{0}));
       }},
      {"slot_of_another_volume", kF02, C::kHeaderStale,
       Header([](VolumeData& h) { h.fsid[0] ^= std::byte{1}; })},
      {"no_header", kF01, C::kDevice,
       [](ImageEditor& e) { e.Smash(0x100, std::vector<std::byte>(64, std::byte{1})); }},
  };
}

}  // namespace h2bd
