// The checker finds each class of damage that it claims to find: the finding's code must appear
// where it did not before.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/fsck/mutations.h"
#include "tests/fsck/volume_fixture.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using C = FindingCode;

class MutationTest : public testing::TestWithParam<Mutation> {
 protected:
  void SetUp() override {
    if (!SharedDir().has_value()) {
      SkipLoudly("damage in the reference's images");
      GTEST_SKIP();
    }
  }
};

TEST_P(MutationTest, IsFoundAndWasNotThereBefore) {
  const Mutation& mutation = GetParam();
  const SparseImage& good = CachedFixture(mutation.fixture);
  CheckOptions options;
  options.read_data = true;
  MemoryDevice before(good);
  EXPECT_EQ(CheckImage(before, options).count(mutation.code), 0u);

  ImageEditor editor(good);
  mutation.change(editor);
  MemoryDevice after(editor.image());
  const CheckReport report = CheckImage(after, options);
  EXPECT_GT(report.count(mutation.code), 0u) << report.ToString(Severity::kNote);
  if (mutation.code != C::kCheckCode && mutation.code != C::kPfsIncomplete) {
    EXPECT_EQ(report.count(C::kCheckCode), 0u) << report.ToString();
  }
  // What h2bd itself would have written so is an error in any case but for what a crash may leave.
  options.all_slots_strict = true;
  const bool tolerated = mutation.code == C::kHeaderBlank || mutation.code == C::kInodeOrphan ||
                         mutation.code == C::kNlinks || mutation.code == C::kIparent ||
                         mutation.code == C::kFreemapStaged;
  const CheckReport strict = CheckImage(after, options);
  const bool error =
      std::any_of(strict.findings.begin(), strict.findings.end(), [&](const Finding& finding) {
        return finding.code == mutation.code && finding.severity == Severity::kError;
      });
  EXPECT_EQ(error, !tolerated) << strict.ToString();
}

std::string NameOf(const testing::TestParamInfo<Mutation>& test) { return test.param.name; }

INSTANTIATE_TEST_SUITE_P(Tables, MutationTest, testing::ValuesIn(TableMutations()), NameOf);
INSTANTIATE_TEST_SUITE_P(Inodes, MutationTest, testing::ValuesIn(InodeMutations()), NameOf);
INSTANTIATE_TEST_SUITE_P(Freemap, MutationTest, testing::ValuesIn(FreemapMutations()), NameOf);
INSTANTIATE_TEST_SUITE_P(Headers, MutationTest, testing::ValuesIn(HeaderMutations()), NameOf);

}  // namespace
}  // namespace h2bd
