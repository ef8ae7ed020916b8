#include "core/base/status.h"

#include <gtest/gtest.h>

namespace h2bd {
namespace {

TEST(Reason, TravelsWithTheStatusAndSurvivesAnnotation) {
  const absl::Status status =
      Annotate(WithReason(absl::FailedPreconditionError("no"), kReasonReadOnly), "disk vm1");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(std::string(status.message()), "disk vm1: no");
  EXPECT_EQ(ReasonOf(status), "READ_ONLY");
}

TEST(Reason, IsAbsentWhereNoneWasGiven) {
  EXPECT_EQ(ReasonOf(Annotate(absl::NotFoundError("x"), "y")), "");
  EXPECT_FALSE(Annotate(absl::NotFoundError("x"), "y").GetPayload("h2bd/reason").has_value());
  EXPECT_EQ(WithReason(absl::OkStatus(), kReasonReadOnly), absl::OkStatus());
}

absl::StatusOr<int> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return value / 2;
}
absl::StatusOr<int> Quarter(int value) {
  H2_ASSIGN_OR_RETURN(const int half, Half(value));
  H2_RETURN_IF_ERROR(Half(half).status());
  return half / 2;
}

TEST(Macros, ReturnTheFirstError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Quarter(5).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(AssertionDeathTest, StopsTheProcessAndSaysWhere) {
  EXPECT_DEATH(H2_ASSERT(1 + 1 == 3), "assertion failed: 1 \\+ 1 == 3 at .*status_test.cc");
}

}  // namespace
}  // namespace h2bd
