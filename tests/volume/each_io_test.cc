// Each I/O of each kind of change fails: once, and from then on. Whatever comes of it, an OK means
// what it says, the media hold the state before or after and nothing between, and a volume that was
// not stopped for good takes the change when the device works again (design P2 to P4, spec 04
// section 11).
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "tests/support/fixtures.h"
#include "tests/volume/fault_world.h"

namespace h2bd {
namespace {

using Contents = std::map<std::string, std::string>;

struct Operation {
  const char* name;
  std::function<absl::Status(Volume&)> run;
  Contents after;  // of all disks
};

constexpr uint64_t kBytes = 300 * 1000;

// The disks of the default PFS by their names; of other PFSs as "PFS/disk", the PFS itself as
// "PFS/".
Contents Before() {
  return {{"a", std::string(kBytes, 'a')},
          {"b", std::string(kBytes, 'b')},
          {"DATA@s/", ""},
          {"DATA@s/a", std::string(kBytes, 's')},
          {"DATA@s/b", std::string(kBytes, 'b')}};
}

Contents Plus(Contents contents, const Contents& more) {
  contents.insert(more.begin(), more.end());
  return contents;
}

Contents Without(Contents contents, std::initializer_list<const char*> names) {
  for (const char* name : names) contents.erase(name);
  return contents;
}

absl::Status WriteAt(Volume& volume, const char* name, uint64_t offset, const std::string& text) {
  H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk({"", name}));
  return WriteText(volume, disk, offset, text);
}

absl::Status WriteBothAsOne(Volume& volume) {
  H2_ASSIGN_OR_RETURN(const TxnInfo txn, volume.Begin({}));
  for (const char* name : {"a", "b"}) {
    H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk({"", name}));
    const ConstByteSpan bytes = AsBytes("as one");
    H2_RETURN_IF_ERROR(
        volume.TxnWrite(txn.id, disk, 70000, std::span<const ConstByteSpan>(&bytes, 1), {}));
  }
  return volume.Commit(txn.id, {}).status();
}

absl::Status ResizeAndWriteAsOne(Volume& volume) {
  H2_ASSIGN_OR_RETURN(const TxnInfo txn, volume.Begin({}));
  H2_ASSIGN_OR_RETURN(const DiskRef a, volume.OpenDisk({"", "a"}));
  H2_ASSIGN_OR_RETURN(const DiskRef b, volume.OpenDisk({"", "b"}));
  const ConstByteSpan bytes = AsBytes("as one");
  H2_RETURN_IF_ERROR(volume.TxnResize(txn.id, a, 100000, {}));
  H2_RETURN_IF_ERROR(volume.TxnResize(txn.id, b, kBytes + 6, {}));
  H2_RETURN_IF_ERROR(
      volume.TxnWrite(txn.id, b, kBytes, std::span<const ConstByteSpan>(&bytes, 1), {}));
  return volume.Commit(txn.id, {}).status();
}

std::vector<Operation> Operations() {
  Contents written = Before(), both = Before(), zeroed = Before(), resized = Before();
  Contents both_sizes = Before();
  both_sizes["a"].resize(100000);
  both_sizes["b"] += "as one";
  written["a"].replace(65000, 5000, std::string(5000, 'w'));
  for (const char* name : {"a", "b"}) both[name].replace(70000, 6, "as one");
  std::fill_n(zeroed["b"].begin() + 1000, 200000, '\0');
  resized["a"].resize(100000);
  Contents deleted = Without(Before(), {"a"});
  Contents created = Before(), renamed = Plus(Without(Before(), {"b"}), {{"c", Before()["b"]}});
  const std::string then = Before()["DATA@s/a"];
  Contents rolled_back = Before();
  rolled_back["a"] = then;
  created["new"] = std::string(5000, '\0');
  return {
      {"write", [](Volume& v) { return WriteAt(v, "a", 65000, std::string(5000, 'w')); }, written},
      {"transaction", WriteBothAsOne, both},
      {"transaction with sizes", ResizeAndWriteAsOne, both_sizes},
      {"discard",
       [](Volume& v) -> absl::Status {
         H2_ASSIGN_OR_RETURN(const DiskRef disk, v.OpenDisk({"", "b"}));
         return v.Discard(disk, 1000, 200000, {}).status();
       },
       zeroed},
      {"resize",
       [](Volume& v) {
         return v.ResizeDisk({"", "a"}, 100000).status();
       },
       resized},
      {"delete",
       [](Volume& v) {
         return v.DeleteDisk({"", "a"});
       },
       deleted},
      {"create",
       [](Volume& v) {
         return v.CreateDisk({"", "new"}, {5000}).status();
       },
       created},
      {"rename",
       [](Volume& v) {
         return v.RenameDisk({"", "b"}, {"", "c"}).status();
       },
       renamed},
      {"create PFS", [](Volume& v) { return v.CreatePfs("P", {}).status(); },
       Plus(Before(), {{"P/", ""}})},
      {"snapshot",
       [](Volume& v) {
         return v.CreateSnapshots({{"DATA", "t"}}).status();
       },
       Plus(Before(), {{"DATA@t/", ""}, {"DATA@t/a", Before()["a"]}, {"DATA@t/b", Before()["b"]}})},
      {"delete snapshot",
       [](Volume& v) {
         return v.DeleteSnapshot({"DATA", "s"}).status();
       },
       Without(Before(), {"DATA@s/", "DATA@s/a", "DATA@s/b"})},
      {"clone",
       [](Volume& v) {
         return v.CloneDisk({"DATA@s", "a"}, {"", std::string(100, 'c')}).status();
       },
       Plus(Before(), {{std::string(100, 'c'), then}})},
      {"rollback of a disk",
       [](Volume& v) {
         return v.RollbackDisk({"DATA@s", "a"}, {"", "a"}).status();
       },
       rolled_back},
      {"rollback of a PFS",
       [](Volume& v) {
         return v.RollbackPfs({"DATA", "s"}).status();
       },
       rolled_back},
  };
}

absl::StatusOr<Contents> ContentsOf(Volume& volume) {
  Contents contents;
  for (const PfsInfo& pfs : volume.ListPfs()) {
    if (pfs.label == "LOCAL") continue;
    const std::string prefix = pfs.label == "DATA" ? "" : pfs.label + "/";
    if (!prefix.empty()) contents[prefix] = "";
    H2_ASSIGN_OR_RETURN(const DiskList list, volume.ListDisks(pfs.label, 100, ""));
    for (const DiskInfo& info : list.disks) {
      H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk(info.name));
      H2_ASSIGN_OR_RETURN(contents[prefix + info.name.path], ReadAll(volume, disk));
    }
  }
  return contents;
}

// A fresh process finds nothing of the disks in memory, so reads happen, too.
SparseImage Prepared() {
  MemoryDevice device(*FormattedImage(8 * kGiB));
  const auto volume = OpenOn(device, ManualOptions());
  const Contents before = Before();
  for (const char* name : {"a", "b"}) {
    EXPECT_TRUE((*volume)->CreateDisk({"", name}, {kBytes}).ok());
    EXPECT_EQ(WriteAt(**volume, name, 0, before.at(absl::StrCat("DATA@s/", name))),
              absl::OkStatus());
  }
  EXPECT_TRUE((*volume)->CreateSnapshots({{"DATA", "s"}}).ok());
  EXPECT_EQ(WriteAt(**volume, "a", 0, before.at("a")), absl::OkStatus());
  EXPECT_TRUE((*volume)->Sync(nullptr, {}).ok());
  return device.Snapshot();
}

// What another process finds, which must be one of the two states.
Contents FoundAfterACrash(const SparseImage& image) {
  MemoryDevice later(image);
  Contents found;
  {
    const auto volume = OpenOn(later, ManualOptions());
    EXPECT_TRUE(volume.ok()) << volume.status();
    if (!volume.ok()) return {};
    absl::StatusOr<Contents> contents = ContentsOf(**volume);
    EXPECT_TRUE(contents.ok()) << contents.status();
    if (contents.ok()) found = *std::move(contents);
  }
  ExpectClean(later);
  return found;
}

// One run with one plan; false when the operation has fewer I/Os than that.
bool RunWith(const SparseImage& image, const Operation& operation, const FaultPlan& plan) {
  MemoryDevice memory(image);
  FaultPoint point(FaultPlan{.fail_at = 0});
  FaultDevice faulty(memory, point);
  const auto volume = OpenOn(faulty, ManualOptions());
  EXPECT_TRUE(volume.ok()) << volume.status();
  if (!volume.ok()) return false;
  point.Reset(plan);
  const absl::Status done = operation.run(**volume);
  const absl::Status synced =
      done.ok() ? (*volume)->Sync(nullptr, {}).status() : absl::UnknownError("not tried");
  const bool reached = point.reached();
  if (!reached) {
    EXPECT_EQ(synced, absl::OkStatus());
  }
  const Contents crashed = FoundAfterACrash(memory.Snapshot());
  EXPECT_TRUE(crashed == operation.after || (!synced.ok() && crashed == Before()))
      << "synced: " << synced;

  point.Reset(FaultPlan{.fail_at = 0});
  absl::Status again = done.ok() ? absl::OkStatus() : operation.run(**volume);
  // The first call did not know what became of its change: it has taken place, or is about to.
  if (absl::IsAlreadyExists(again) || absl::IsNotFound(again) || absl::IsAborted(again)) {
    again = absl::OkStatus();
  }
  for (int tries = 0; tries < 2 && (again.ok() || absl::IsUnavailable(again)); ++tries) {
    again = (*volume)->Sync(nullptr, {}).status();
    if (again.ok()) break;
  }
  if (again.ok()) {
    EXPECT_TRUE(FoundAfterACrash(memory.Snapshot()) == operation.after);
    EXPECT_EQ((*volume)->GetStatus().dirty_bytes, 0u);
    EXPECT_EQ((*volume)->GetStatus().space.reserved_bytes, 0u);
  } else {
    EXPECT_EQ(ReasonOf(again), kReasonReadOnlyFailstop) << again;
    EXPECT_TRUE(plan.sticky) << "one failure is made up for: " << again;
  }
  return reached;
}

struct Kind {
  const char* name;
  FaultPlan plan;
};

class EachIo : public ::testing::TestWithParam<Kind> {};

INSTANTIATE_TEST_SUITE_P(
    Kinds, EachIo,
    ::testing::Values(Kind{"Reads", {.reads = true, .writes = false, .syncs = false}},
                      Kind{"Writes", {.reads = false, .writes = true, .syncs = false}},
                      Kind{"Barriers", {.reads = false, .writes = false, .syncs = true}}),
    [](const auto& kind) { return std::string(kind.param.name); });

TEST_P(EachIo, OfEachChangeCanFail) {
  const SparseImage image = Prepared();
  for (const Operation& operation : Operations()) {
    for (const bool sticky : {false, true}) {
      uint64_t n = 1;
      for (;; ++n) {
        SCOPED_TRACE(
            absl::StrCat(operation.name, ", I/O ", n, sticky ? " and all later ones" : ""));
        FaultPlan plan = GetParam().plan;
        plan.fail_at = n;
        plan.sticky = sticky;
        if (!RunWith(image, operation, plan) || HasFailure()) break;
      }
      EXPECT_TRUE(n > 1 || GetParam().plan.reads) << operation.name << " does none";
    }
    if (HasFailure()) break;
  }
}

TEST_P(EachIo, OfAFormatCanFail) {
  for (uint64_t n = 1;; ++n) {
    SCOPED_TRACE(absl::StrCat("I/O ", n));
    MemoryDevice memory(8 * kGiB);
    FaultPlan plan = GetParam().plan;
    plan.fail_at = n;
    FaultPoint point(plan);
    std::vector<std::unique_ptr<BlockDevice>> devices;
    devices.push_back(std::make_unique<FaultDevice>(memory, point));
    const auto report = Format(devices, {}, SystemClock(), SystemRandom());
    if (!point.reached()) {
      EXPECT_TRUE(report.ok()) << report.status();
      break;
    }
    if (report.ok()) {  // made up for by reading again
      EXPECT_TRUE(plan.reads);
      continue;
    }
    // Half a format is no volume, and can be made one.
    point.Reset(FaultPlan{.fail_at = 0});
    EXPECT_TRUE(Format(devices, {.force = true}, SystemClock(), SystemRandom()).ok());
    EXPECT_TRUE(OpenOn(memory, ManualOptions()).ok());
  }
}

}  // namespace
}  // namespace h2bd
