// What can be put right without losing data is put right, and nothing else is touched (spec 02
// sections 7.5 and 8.3).
#include "core/fsck/repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/fsck/finding_log.h"
#include "core/fsck/freemap_check.h"
#include "core/fsck/media_reader.h"
#include "core/fsck/tree_digest.h"
#include "core/media/placement.h"
#include "tests/fsck/mutations.h"
#include "tests/fsck/volume_fixture.h"
#include "tests/support/crash_image.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using C = FindingCode;
using testing::HasSubstr;

std::string DigestOf(MemoryDevice& device) {
  absl::StatusOr<VolumeSet> set = OpenSet(device);
  if (!set.ok()) return set.status().ToString();
  absl::StatusOr<MediaReader> reader = MediaReader::Open(*set);
  if (!reader.ok()) return reader.status().ToString();
  const absl::StatusOr<std::string> digest = TreeDigest(*reader);
  return digest.ok() ? *digest : digest.status().ToString();
}

std::string DigestOf(const SparseImage& image) {
  MemoryDevice device(image);
  return DigestOf(device);
}

// Through the header that everybody chooses.
CheckReport CheckNewest(MemoryDevice& device) {
  absl::StatusOr<VolumeSet> set = OpenSet(device);
  EXPECT_TRUE(set.ok()) << set.status();
  CheckOptions options;
  if (set.ok()) options.slot = set->slot;
  return CheckImage(device, options);
}

absl::StatusOr<std::unique_ptr<Repair>> PlanFor(BlockDevice& device,
                                                const RepairOptions& options = {}) {
  BlockDevice* const devices[] = {&device};
  return Repair::Plan(devices, options);
}

std::string TextOf(const Repair& repair) {
  std::string text;
  for (const RepairAction& action : repair.actions()) {
    absl::StrAppend(&text, Name(action.kind), ": ", action.place, ": ", action.text, "\n");
  }
  return text + absl::StrJoin(repair.refusals(), "\n");
}

// Plans, sees to it that planning wrote nothing, writes, and compares with what Plan promised.
// Whatever cut the power meanwhile leaves one of `digests`.
void RepairAndCut(const SparseImage& damaged, const std::set<std::string>& digests,
                  const RepairOptions& options, SparseImage& repaired) {
  MemoryDevice memory(damaged);
  IoLog log;
  RecordingDevice recorder(memory, log, 0);
  absl::StatusOr<std::unique_ptr<Repair>> repair = PlanFor(recorder, options);
  ASSERT_TRUE(repair.ok()) << repair.status();
  EXPECT_FALSE((*repair)->actions().empty());
  EXPECT_EQ(log.size(), 0u) << "a dry run writes nothing";
  ASSERT_EQ((*repair)->Write(), absl::OkStatus());
  EXPECT_EQ(CheckNewest(memory).errors, (*repair)->after().errors);
  repaired = memory.Snapshot();

  const std::vector<IoEvent> events = log.events();
  CrashStates states({damaged}, events);
  SeededRandom rng(7);
  for (size_t cut = 0; cut <= events.size(); ++cut) {
    states.AdvanceTo(cut);
    MemoryDevice after(states.Draw(rng).front());
    const std::string digest = DigestOf(after);
    EXPECT_TRUE(digests.contains(digest)) << "cut " << cut << ": " << digest;
  }
}

// --- the zoo
// -----------------------------------------------------------------------------------------

// What repair puts right, and what of it changes names.
const std::set<std::string> kRepairable = {"empty_slot_with_rubbish",
                                           "child_newer_than_parent",
                                           "modify_tid_above_the_root",
                                           "data_count",
                                           "pfsroot_flag_missing",
                                           "unknown_flag",
                                           "update_tid",
                                           "nlinks",
                                           "iparent",
                                           "entry_removed",
                                           "entry_without_inode",
                                           "leaf_keybits",
                                           "leaf_called_node",
                                           "leaf_methods",
                                           "leaf_place",
                                           "leaf_wrong",
                                           "node_statistics",
                                           "cell_01",
                                           "avail",
                                           "linear_past_the_segment",
                                           "linear_before_a_block",
                                           "reserved_segment_free",
                                           "block_in_use_is_free",
                                           "leaf_missing",
                                           "block_in_use_is_staged",
                                           "free_chunk_marked",
                                           "bmap_reserved",
                                           "allocator_size",
                                           "allocator_free",
                                           "freemap_tid_behind",
                                           "blocks_newer_than_freemap_tid",
                                           "freemap_tid_ahead",
                                           "slot_damaged",
                                           "slot_blank"};
const std::set<std::string> kChangesNames = {"entry_removed", "entry_without_inode"};

std::vector<Mutation> Zoo() {
  std::vector<Mutation> all;
  for (const auto& some :
       {TableMutations(), InodeMutations(), FreemapMutations(), HeaderMutations()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

class RepairZoo : public testing::TestWithParam<Mutation> {
 protected:
  void SetUp() override {
    if (!SharedDir().has_value()) {
      SkipLoudly("repair of the reference's images");
      GTEST_SKIP();
    }
  }
  SparseImage Damaged() const {
    ImageEditor editor(CachedFixture(GetParam().fixture));
    GetParam().change(editor);
    return editor.image();
  }
};

TEST_P(RepairZoo, IsRepairedOrLeftAlone) {
  const Mutation& mutation = GetParam();
  const SparseImage damaged = Damaged();
  RepairOptions options;
  options.drop_dangling = true;
  if (!kRepairable.contains(mutation.name)) {
    MemoryDevice memory(damaged);
    const CheckReport before = CheckImage(memory);
    IoLog log;
    RecordingDevice recorder(memory, log, 0);
    const absl::StatusOr<std::unique_ptr<Repair>> repair = PlanFor(recorder, options);
    EXPECT_EQ(log.size(), 0u);
    if (!repair.ok()) return;
    // Other things may be repaired, the damage stays as it is.
    ASSERT_EQ((*repair)->Write(), absl::OkStatus());
    const CheckReport after = CheckImage(memory);
    EXPECT_GT(after.count(mutation.code), 0u) << TextOf(**repair);
    for (size_t code = 0; code < kFindingCodes; ++code) {
      const auto c = static_cast<C>(code);
      if (c == C::kFreemapLeak || c == C::kFreemapStaged) continue;
      EXPECT_LE(after.count(c), before.count(c)) << Name(c);
    }
    return;
  }
  std::set<std::string> digests = {DigestOf(damaged)};
  SparseImage repaired = damaged;
  if (kChangesNames.contains(mutation.name)) {
    MemoryDevice memory(damaged);
    const auto repair = PlanFor(memory, options);
    ASSERT_TRUE(repair.ok()) << repair.status();
    ASSERT_EQ((*repair)->Write(), absl::OkStatus());
    digests.insert(DigestOf(memory));
    EXPECT_EQ(digests.size(), 2u);
  }
  RepairAndCut(damaged, digests, options, repaired);
  MemoryDevice memory(repaired);
  const CheckReport report = CheckNewest(memory);
  EXPECT_TRUE(report.clean()) << report.ToString();
  EXPECT_EQ(report.count(mutation.code), 0u) << report.ToString(Severity::kNote);
  if (!kChangesNames.contains(mutation.name)) {
    EXPECT_EQ(DigestOf(memory), *digests.begin());
  }
  // Nothing is left to do, but for the space of the blocks that only the damaged header reached.
  const auto again = PlanFor(memory, options);
  ASSERT_TRUE(again.ok()) << again.status();
  for (const RepairAction& action : (*again)->actions()) {
    EXPECT_TRUE(action.kind == RepairKind::kFreemap || action.kind == RepairKind::kCounters)
        << TextOf(**again);
  }
  ASSERT_EQ((*again)->Write(), absl::OkStatus());
  const auto third = PlanFor(memory, options);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_TRUE((*third)->actions().empty()) << TextOf(**third);
}

std::string NameOf(const testing::TestParamInfo<Mutation>& test) { return test.param.name; }
INSTANTIATE_TEST_SUITE_P(All, RepairZoo, testing::ValuesIn(Zoo()), NameOf);

// Each volume of the reference, whatever it left lagging or leaked, gets exact counters and keeps
// its tree.
TEST(RepairFixtures, EachBecomesCleanAndKeepsItsTree) {
  if (!SharedDir().has_value()) {
    SkipLoudly("repair of the reference's images");
    return;
  }
  for (const std::string& name : FixtureNames()) {
    SCOPED_TRACE(name);
    const SparseImage image = *LoadFixture(name);
    MemoryDevice memory(image);
    if (!OpenSet(memory).ok()) continue;  // one device of several
    const std::string digest = DigestOf(memory);
    const uint64_t errors = CheckNewest(memory).errors;
    const auto repair = PlanFor(memory);
    ASSERT_TRUE(repair.ok()) << repair.status();
    ASSERT_EQ((*repair)->Write(), absl::OkStatus());
    const bool names =
        std::any_of((*repair)->actions().begin(), (*repair)->actions().end(),
                    [](const RepairAction& action) { return action.kind == RepairKind::kNames; });
    if (!names) {
      EXPECT_EQ(DigestOf(memory), digest);
    }
    const CheckReport report = CheckNewest(memory);
    EXPECT_LE(report.errors, errors) << report.ToString();
    for (const C code : {C::kAllocatorFree, C::kAllocatorSize, C::kHeaderTid, C::kFreemapLag,
                         C::kFreemapUnmarked, C::kFreemapAvail, C::kStatistics, C::kModifyTid}) {
      EXPECT_EQ(report.count(code), 0u) << Name(code) << "\n" << report.ToString(Severity::kNote);
    }
  }
}

// --- leaks
// -------------------------------------------------------------------------------------------

TEST(Repair, KeepsLeaksWhereDamageHidesWhatIsInUse) {
  if (!SharedDir().has_value()) return SkipLoudly("repair of the reference's images");
  const std::string fixture = "f06-indirect";
  ImageEditor editor(CachedFixture(fixture));
  const int indirect = editor.Find(BrefType::kIndirect);
  const Blockref hidden = editor.nodes()[static_cast<size_t>(editor.ChildrenOf(indirect)[0])].bref;
  editor.Smash(editor.nodes()[static_cast<size_t>(indirect)].bref.data_off.offset().v + 16,
               std::vector<std::byte>(4, std::byte{0x5a}));
  editor.EditHeader([](VolumeData& h) { h.allocator_free += kChunkBytes; });
  MemoryDevice memory(editor.image());
  const auto refused = PlanFor(memory);
  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_TRUE((*refused)->actions().empty()) << TextOf(**refused);
  EXPECT_THAT(TextOf(**refused), HasSubstr("not known"));

  RepairOptions keep;
  keep.keep_leaks = true;
  const auto kept = PlanFor(memory, keep);
  ASSERT_TRUE(kept.ok()) << kept.status();
  ASSERT_EQ((*kept)->Write(), absl::OkStatus());
  absl::StatusOr<VolumeSet> set = OpenSet(memory);
  ASSERT_TRUE(set.ok()) << set.status();
  MediaSource source = MediaSource::Of(*set);
  CheckReport report;
  FindingLog log(report, false, 10);
  const FreemapView freemap = FreemapView::Load(source, *set->header, log);
  EXPECT_EQ(freemap.StateOf(hidden.data_off.offset().v), FreemapView::State::kAllocated);
  EXPECT_EQ(CheckNewest(memory).count(C::kAllocatorFree), 0u);
}

// --- headers
// -----------------------------------------------------------------------------------------

// What the reference makes of a version 1 volume when it grows it (spec 02 section 8.3): not opened
// by an older header meanwhile, and put right by one new header.
void GrownVersion1(const std::string& fixture) {
  SCOPED_TRACE(fixture);
  MemoryDevice good(CachedFixture(fixture));
  absl::StatusOr<VolumeSet> set = OpenSet(good);
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->header->version, kVolumeVersionSingle);
  const std::string digest = DigestOf(good);
  ImageEditor editor(CachedFixture(fixture), set->slot);
  editor.EditHeader([](VolumeData& h) { h.total_size = 512 * kMiB; });
  MemoryDevice memory(editor.image());
  EXPECT_EQ(OpenSet(memory).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(OpenSet(memory).status().message()), HasSubstr("total_size"));

  IoLog log;
  RecordingDevice recorder(memory, log, 0);
  const auto repair = PlanFor(recorder);
  ASSERT_TRUE(repair.ok()) << repair.status();
  ASSERT_EQ((*repair)->Write(), absl::OkStatus());
  EXPECT_EQ(DigestOf(memory), digest);
  EXPECT_TRUE(CheckNewest(memory).clean()) << CheckNewest(memory).ToString();
  // Cut anywhere, the volume is refused as before or whole.
  const std::vector<IoEvent> events = log.events();
  CrashStates states({editor.image()}, events);
  SeededRandom rng(3);
  for (size_t cut = 0; cut <= events.size(); ++cut) {
    states.AdvanceTo(cut);
    for (int draw = 0; draw < 4; ++draw) {
      MemoryDevice after(states.Draw(rng).front());
      absl::StatusOr<VolumeSet> then = OpenSet(after);
      if (then.ok()) {
        EXPECT_EQ(DigestOf(after), digest) << "cut " << cut;
      } else {
        EXPECT_THAT(std::string(then.status().message()), HasSubstr("total_size")) << "cut " << cut;
      }
    }
  }
}

TEST(Repair, VersionOneThatWasGrownElsewhere) {
  if (!SharedDir().has_value()) return SkipLoudly("repair of the reference's images");
  int found = 0;
  for (const std::string& name : FixtureNames()) {
    MemoryDevice memory(CachedFixture(name));
    const absl::StatusOr<VolumeSet> set = OpenSet(memory);
    if (!set.ok() || set->header->version != kVolumeVersionSingle) continue;
    GrownVersion1(name);
    ++found;
  }
  EXPECT_GT(found, 0);
}

TEST(Repair, ErasesHeadersPastTheEnd) {
  if (!SharedDir().has_value()) return SkipLoudly("repair of the reference's images");
  for (const bool foreign : {false, true}) {
    SparseImage image(7 * kGiB);
    for (const auto& [number, page] : CachedFixture("f01-basic-2g").pages()) {
      image.Write(number * SparseImage::kPage, page->span());
    }
    auto stale = std::make_unique<VolumeData>();
    image.Read(0, std::as_writable_bytes(std::span(stale.get(), 1)));
    const uint64_t size = stale->volu_size;
    if (foreign) stale->fsid[3] ^= std::byte{1};
    if (foreign) stale->mirror_tid.v += 1000;
    SealVolumeData(*stale);
    image.Write(HeaderSlotOffset(2).v, std::as_bytes(std::span(stale.get(), 1)));
    MemoryDevice memory(image);
    const CheckReport before = CheckImage(memory);
    EXPECT_GT(before.count(C::kHeaderStale) + before.count(C::kHeaderField), 0u)
        << before.ToString();
    const auto repair = PlanFor(memory);
    ASSERT_TRUE(repair.ok()) << repair.status();
    EXPECT_THAT(TextOf(**repair), HasSubstr("past the end"));
    ASSERT_EQ((*repair)->Write(), absl::OkStatus());
    const CheckReport after = CheckImage(memory);
    EXPECT_TRUE(after.clean()) << after.ToString();
    absl::StatusOr<VolumeSet> set = OpenSet(memory);
    ASSERT_TRUE(set.ok()) << set.status();
    EXPECT_EQ(set->header->volu_size, size);
    EXPECT_EQ(DigestOf(memory), DigestOf(CachedFixture("f01-basic-2g")));
  }
}

}  // namespace
}  // namespace h2bd
