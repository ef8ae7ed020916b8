// Orphans on volumes of h2bd: they get a name in a root directory whose table is full, or go, and
// the engine takes the volume as it is then.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/fsck/repair.h"
#include "core/volhdr/volume_set.h"
#include "tests/fsck/image_editor.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

using Node = ImageEditor::Node;

// `disks` disks named d0, d1 … with their name as contents.
SparseImage Disks(int disks) {
  MemoryDevice memory(*FormattedImage(1 * kGiB));
  {
    const auto volume = OpenOn(memory, ManualOptions());
    EXPECT_TRUE(volume.ok()) << volume.status();
    for (int i = 0; i < disks; ++i) {
      const DiskName name{"DATA", absl::StrCat("d", i)};
      EXPECT_TRUE((*volume)->CreateDisk(name, {.size_bytes = kMiB}).ok());
      const auto disk = (*volume)->OpenDisk(name);
      EXPECT_EQ(WriteText(**volume, *disk, 0, name.path), absl::OkStatus());
    }
    EXPECT_EQ((*volume)->Close(), absl::OkStatus());
  }
  return memory.Snapshot();
}

// The entry `from` leads to the inode that `to` leads to: the inode of `from` is an orphan, and no
// slot of the table gets free.
SparseImage WithOrphan(const SparseImage& image, const std::string& from, const std::string& to) {
  ImageEditor editor(image);
  const auto entry = [&](const std::string& name) {
    return editor.Find([&](const Node& n) {
      return n.bref.type == BrefType::kDirent && InlineDirentName(n.bref) == name;
    });
  };
  const Inum inum = editor.nodes()[static_cast<size_t>(entry(to))].bref.dirent_inum();
  editor.EditBref(entry(from),
                  [&](Blockref& b) { b.set_dirent(inum, b.dirent_namlen(), b.dirent_type()); });
  return editor.image();
}

std::string TextOf(Volume& volume, const DiskName& name, size_t length) {
  const auto disk = volume.OpenDisk(name);
  if (!disk.ok()) return disk.status().ToString();
  std::string text(length, ' ');
  const absl::Status read =
      volume.Read(*disk, 0, ByteSpan(reinterpret_cast<std::byte*>(text.data()), text.size()), {});
  return read.ok() ? text : read.ToString();
}

void RepairAll(MemoryDevice& memory) {
  BlockDevice* const devices[] = {&memory};
  const auto repair = Repair::Plan(devices, {});
  ASSERT_TRUE(repair.ok()) << repair.status();
  EXPECT_TRUE((*repair)->after().clean()) << (*repair)->after().ToString();
  ASSERT_EQ((*repair)->Write(), absl::OkStatus());
}

// Two disks fill the four slots of the root's own table; 300 make tables below it.
TEST(RepairNames, AnOrphanGetsANameWhereTheTableIsFull) {
  for (const int disks : {2, 3, 40, 300}) {
    SCOPED_TRACE(disks);
    const SparseImage image = Disks(disks);
    MemoryDevice memory(WithOrphan(image, "d1", "d0"));
    RepairAll(memory);
    const auto volume = OpenOn(memory, ManualOptions());
    ASSERT_TRUE(volume.ok()) << volume.status();
    const std::string found = absl::StrCat("lost+found-", kInodeStart + 1);
    EXPECT_EQ(TextOf(**volume, {"DATA", found}, 2), "d1");
    EXPECT_EQ(TextOf(**volume, {"DATA", "d1"}, 2), "d0") << "it leads where it led";
    for (int i = 2; i < disks; ++i) {
      const std::string name = absl::StrCat("d", i);
      EXPECT_EQ(TextOf(**volume, {"DATA", name}, name.size()), name);
    }
    // The engine goes on from there.
    ASSERT_EQ((*volume)->DeleteDisk({"DATA", found}), absl::OkStatus());
    ASSERT_TRUE((*volume)->CreateDisk({"DATA", "new"}, {.size_bytes = kMiB}).ok());
    ASSERT_EQ((*volume)->Close(), absl::OkStatus());
    ExpectClean(memory);
  }
}

// One without links is what an interrupted deletion leaves: it goes, and its space with the header
// that still has it.
TEST(RepairNames, AnOrphanWithoutLinksGoes) {
  ImageEditor editor(WithOrphan(Disks(3), "d1", "d0"));
  editor.EditInode(editor.FindInode([](const InodeData& inode, const Node&) {
    return inode.meta.inum.v == kInodeStart + 1;
  }),
                   [](InodeData& inode) { inode.meta.nlinks = 0; });
  MemoryDevice memory(editor.image());
  RepairAll(memory);
  const auto volume = OpenOn(memory, ManualOptions());
  ASSERT_TRUE(volume.ok()) << volume.status();
  const auto list = (*volume)->ListDisks("DATA", 100, "");
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->disks.size(), 3u);
  for (const DiskInfo& disk : list->disks) EXPECT_NE(disk.inum.v, kInodeStart + 1);
  ASSERT_EQ((*volume)->Close(), absl::OkStatus());
  ExpectClean(memory);
}

}  // namespace
}  // namespace h2bd
