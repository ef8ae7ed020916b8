#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "core/media/decode.h"
#include "tests/media/sample_volume.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

// An inode, how it is reached, and whether by its number.
struct Placed {
  InodeData inode;
  Blockref bref;
  bool indexed = true;
};

Placed Hello() { return {SampleHelloInode(), SampleHelloBref(), true}; }

Placed PfsRoot() {
  Placed at{SamplePfsRoot(), SampleHelloBref(), false};
  at.bref.key = at.inode.meta.name_key;
  at.bref.flags = kBrefFlagPfsroot;
  return at;
}

Placed SuperRoot() {
  Placed at{InodeData{}, SampleHelloBref(), false};
  at.bref.key = Key(0);
  at.inode.meta.type = ObjectType::kDirectory;
  at.inode.meta.pfs_type = kPfsTypeSuproot;
  at.inode.set_name("SUPROOT");
  return at;
}

// An inode that is its own directory entry.
Placed LegacyEntry() {
  Placed at = Hello();
  at.indexed = false;
  at.bref.key = Key(kDirhashVisible | 7);
  at.inode.meta.name_key = at.bref.key;
  at.inode.set_name("old name");
  return at;
}

absl::StatusOr<InodeData> Decode(const Placed& at) {
  return DecodeInode(std::as_bytes(std::span(&at.inode, 1)), at.bref, at.indexed);
}

TEST(DecodeInode, AcceptsEachPlace) {
  for (const Placed& at : {Hello(), PfsRoot(), SuperRoot(), LegacyEntry()}) {
    EXPECT_TRUE(Decode(at).ok()) << Decode(at).status();
  }
}

TEST(DecodeInode, AcceptsWhatTheReferenceWrites) {
  Placed at = PfsRoot();
  at.bref.flags = 0;  // repaired by a read-write mount
  EXPECT_TRUE(Decode(at).ok()) << Decode(at).status();
  at.inode.meta.iparent = Inum(1);
  at.inode.meta.pfs_subtype = kPfsSubtypeSnapshot;
  at.inode.set_name(std::string(255, 'L'));
  EXPECT_TRUE(Decode(at).ok()) << Decode(at).status();

  at = SuperRoot();
  at.inode.meta.pfs_type = 0x68;  // the high nibble is a transition target
  EXPECT_TRUE(Decode(at).ok()) << Decode(at).status();

  at = Hello();
  at.inode.meta.size = 512;
  EXPECT_TRUE(Decode(at).ok()) << "DIRECTDATA filled to the brim";
  at.inode.meta.op_flags = 0;
  at.inode.meta.nlinks = 0;
  at.inode.meta.size = UINT64_MAX;
  at.inode.set_name("a real name of an old medium");
  EXPECT_TRUE(Decode(at).ok()) << Decode(at).status();
}

TEST(DecodeInode, RejectsEachBadField) {
  struct Case {
    const char* message;
    Placed at;
    std::function<void(Placed&)> damage;
  };
  const std::vector<Case> cases = {
      {"version=0x0, legal: 1", Hello(), [](Placed& p) { p.inode.meta.version = 0; }},
      {"version=0x2, legal: 1", Hello(), [](Placed& p) { p.inode.meta.version = 2; }},
      {"type=0x0, legal: 1, 2", Hello(), [](Placed& p) { p.inode.meta.type = ObjectType{0}; }},
      {"type=0x8, legal: 1, 2", Hello(), [](Placed& p) { p.inode.meta.type = ObjectType{8}; }},
      {"type=0xff, legal: 1, 2", Hello(), [](Placed& p) { p.inode.meta.type = ObjectType{255}; }},
      {"name_len=0x100, legal: 0..255", Hello(), [](Placed& p) { p.inode.meta.name_len = 256; }},
      {"op_flags=0x1, legal: DIRECTDATA only", Hello(),
       [](Placed& p) { p.inode.meta.type = ObjectType::kDirectory; }},
      {"op_flags=0x1, legal: DIRECTDATA only", Hello(),
       [](Placed& p) { p.inode.meta.type = ObjectType::kFifo; }},
      {"size=0x201, legal: 0..512", Hello(), [](Placed& p) { p.inode.meta.size = 513; }},
      {"inum=0x405, legal: the key", Hello(), [](Placed& p) { p.inode.meta.inum = Inum(0x405); }},
      {"name_key=0x8000000000000000", Hello(),
       [](Placed& p) { p.inode.meta.name_key = Key(kDirhashVisible); }},
      {"inum=0x1, legal: 2..2^63-1", Hello(),
       [](Placed& p) {
         p.inode.meta.inum = Inum(1);
         p.bref.key = Key(1);
       }},
      {"inum=0x8000000000000000, legal: 2..2^63-1", Hello(),
       [](Placed& p) {
         p.inode.meta.inum = Inum(kDirhashVisible);
         p.bref.key = Key(kDirhashVisible);
       }},
      {"op_flags=0x3, legal: PFSROOT only", Hello(),
       [](Placed& p) { p.inode.meta.op_flags |= kOpFlagPfsroot; }},
      {"inum=0x0, legal: 2..2^63-1", LegacyEntry(), [](Placed& p) { p.inode.meta.inum = Inum(0); }},
      {"type=0x2, legal: 1 directory", PfsRoot(),
       [](Placed& p) { p.inode.meta.type = ObjectType::kRegfile; }},
      {"inum=0x2, legal: 1 for", PfsRoot(), [](Placed& p) { p.inode.meta.inum = Inum(2); }},
      {"op_flags=0x0, legal: PFSROOT", PfsRoot(), [](Placed& p) { p.inode.meta.op_flags = 0; }},
      {"name_len=0x0, legal: 1..255", PfsRoot(), [](Placed& p) { p.inode.set_name(""); }},
      {"name_len=0x3, legal: the place", PfsRoot(), [](Placed& p) { p.inode.meta.name_len = 3; }},
      {"name_len=0x5, legal: the place", PfsRoot(), [](Placed& p) { p.inode.meta.name_len = 5; }},
      {"inum=0x1, legal: 0 for", SuperRoot(), [](Placed& p) { p.inode.meta.inum = Inum(1); }},
      {"type=0x2, legal: 1 directory", SuperRoot(),
       [](Placed& p) { p.inode.meta.type = ObjectType::kRegfile; }},
      {"pfs_type=0x6, legal: 8", SuperRoot(),
       [](Placed& p) { p.inode.meta.pfs_type = kPfsTypeMaster; }},
  };
  for (const Case& c : cases) {
    Placed at = c.at;
    c.damage(at);
    const absl::Status status = Decode(at).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << c.message << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(Describe(at.bref)));
  }
}

TEST(TableKindOf, FollowsTypeAndPlace) {
  EXPECT_EQ(TableKindOf(SuperRoot().inode), TableKind::kSuperRoot);
  EXPECT_EQ(TableKindOf(PfsRoot().inode), TableKind::kPfsRoot);
  InodeData inode = SampleHelloInode();
  struct Case {
    ObjectType type;
    TableKind kind;
  };
  for (const Case& c :
       {Case{ObjectType::kDirectory, TableKind::kDirectory},
        Case{ObjectType::kRegfile, TableKind::kFile}, Case{ObjectType::kSoftlink, TableKind::kFile},
        Case{ObjectType::kFifo, TableKind::kOther}, Case{ObjectType::kCdev, TableKind::kOther},
        Case{ObjectType::kBdev, TableKind::kOther}, Case{ObjectType::kSocket, TableKind::kOther},
        Case{ObjectType::kWhiteout, TableKind::kOther}}) {
    inode.meta.type = c.type;
    EXPECT_EQ(TableKindOf(inode), c.kind) << Name(c.type);
  }
}

}  // namespace
}  // namespace h2bd
