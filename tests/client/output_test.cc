#include "client/cli/output.h"

#include <gtest/gtest.h>

#include <sstream>

#include "client/cli/exit_code.h"
#include "core/base/status.h"

namespace h2bd::cli {
namespace {

TEST(Table, ColumnsAreAligned) {
  Table table({"NAME", ">SIZE", "NOTE"});
  table.AddRow({"a", "10.0 GiB", "x"});
  table.AddRow({"caf\xc3\xa9-disk", "1 B", ""});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(),
            "NAME           SIZE  NOTE\n"
            "a          10.0 GiB  x\n"
            "caf\xc3\xa9-disk       1 B\n");
}

TEST(Facts, ValuesAreAligned) {
  Facts facts;
  facts.Add("name", "vm1");
  facts.Add("check code", "lz4");
  std::ostringstream out;
  facts.Print(out);
  EXPECT_EQ(out.str(), "name:       vm1\ncheck code: lz4\n");
}

TEST(Json, KeepsItsOrderAndNeverThrows) {
  std::ostringstream out;
  PrintJson(out, {{"zebra", 1}, {"ape", "bad \xff byte"}});
  EXPECT_EQ(out.str(), "{\n  \"zebra\": 1,\n  \"ape\": \"bad \xef\xbf\xbd byte\"\n}\n");
}

TEST(Text, SizesAndTimes) {
  EXPECT_EQ(ExactBytes(512), "512 bytes");
  EXPECT_EQ(ExactBytes(uint64_t{10} << 30), "10.0 GiB (10737418240 bytes)");
  EXPECT_EQ(TimeText(absl::FromUnixSeconds(1'767'225'600)), "2026-01-01T00:00:00Z");
  EXPECT_EQ(TimeText(absl::InfinitePast()), "-");
}

TEST(ExitCode, IsStable) {
  struct Case {
    absl::StatusCode code;
    int exit;
  };
  for (const Case& c :
       {Case{absl::StatusCode::kOk, 0}, Case{absl::StatusCode::kUnknown, 1},
        Case{absl::StatusCode::kInternal, 1}, Case{absl::StatusCode::kInvalidArgument, 2},
        Case{absl::StatusCode::kOutOfRange, 2}, Case{absl::StatusCode::kNotFound, 3},
        Case{absl::StatusCode::kAlreadyExists, 4}, Case{absl::StatusCode::kResourceExhausted, 5},
        Case{absl::StatusCode::kDataLoss, 6}, Case{absl::StatusCode::kUnavailable, 7},
        Case{absl::StatusCode::kFailedPrecondition, 8}, Case{absl::StatusCode::kAborted, 9},
        Case{absl::StatusCode::kDeadlineExceeded, 10},
        Case{absl::StatusCode::kPermissionDenied, 11},
        Case{absl::StatusCode::kUnauthenticated, 11}}) {
    EXPECT_EQ(static_cast<int>(ExitCodeOf(absl::Status(c.code, "x"))), c.exit);
  }
}

TEST(ErrorLine, CodeAndReason) {
  EXPECT_EQ(ErrorLine(absl::NotFoundError("no disk vm1")), "h2bd: no disk vm1 (NOT_FOUND)\n");
  EXPECT_EQ(ErrorLine(WithReason(absl::FailedPreconditionError("no"), "READ_ONLY")),
            "h2bd: no (FAILED_PRECONDITION, READ_ONLY)\n");
  EXPECT_EQ(ErrorLine(LocalError("open x", ENOENT)),
            "h2bd: open x: No such file or directory (UNKNOWN, LOCAL_IO)\n");
}

}  // namespace
}  // namespace h2bd::cli
