#include "client/api/restart_watch.h"

#include <gtest/gtest.h>

#include "client/api/types.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

TEST(RestartWatch, SyncOfWhatOneServerAcknowledgedIsFine) {
  RestartWatch watch;
  watch.Acknowledged("a", "vm1", 5);
  EXPECT_TRUE(watch.EndSync(watch.BeginSync("vm1"), "a", 5).ok());
  // Nothing is left to lose: another server may answer.
  EXPECT_TRUE(watch.EndSync(watch.BeginSync("vm1"), "b", 0).ok());
}

TEST(RestartWatch, AnotherServersOkIsRefused) {
  RestartWatch watch;
  watch.Acknowledged("a", "vm1", 5);
  const absl::Status status = watch.EndSync(watch.BeginSync(""), "b", 100);
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_EQ(ReasonOf(status), kReasonServerRestarted);
  // For ever: whoever else syncs through this client must hear of it, too.
  EXPECT_TRUE(absl::IsAborted(watch.EndSync(watch.BeginSync(""), "b", 200)));
}

TEST(RestartWatch, NumbersThatBeganAnewGiveItAwayToo) {
  RestartWatch watch;
  watch.Acknowledged("", "vm1", 500);
  EXPECT_TRUE(absl::IsAborted(watch.EndSync(watch.BeginSync("vm1"), "", 3)));
}

TEST(RestartWatch, WritesToTwoServersAreALossWhateverTheSyncSays) {
  RestartWatch watch;
  watch.Acknowledged("a", "vm1", 5);
  watch.Acknowledged("b", "vm1", 6);
  EXPECT_TRUE(absl::IsAborted(watch.EndSync(watch.BeginSync("vm1"), "b", 6)));
}

TEST(RestartWatch, ASyncOfOneDiskNeedNotCoverAnother) {
  RestartWatch watch;
  watch.Acknowledged("a", "vm1", 5);
  watch.Acknowledged("a", "vm2", 9);
  EXPECT_TRUE(watch.EndSync(watch.BeginSync("vm1"), "a", 5).ok());
  EXPECT_EQ(watch.BeginSync("vm1").seq, 0u);
  EXPECT_EQ(watch.BeginSync("").seq, 9u);
}

TEST(RestartWatch, ASyncOfAPfsCoversItsDisksOnly) {
  RestartWatch watch;
  watch.Acknowledged("a", "pfs/DATA/disks/vm1", 5);
  watch.Acknowledged("a", "pfs/DATA2/disks/vm1", 9);
  EXPECT_EQ(watch.BeginSync("pfs/DATA/").seq, 5u);
  EXPECT_TRUE(watch.EndSync(watch.BeginSync("pfs/DATA/"), "a", 5).ok());
  EXPECT_EQ(watch.BeginSync("pfs/DATA/").seq, 0u);
  EXPECT_EQ(watch.BeginSync("").seq, 9u);
}

TEST(RestartWatch, WhatIsWrittenDuringASyncIsForTheNext) {
  RestartWatch watch;
  watch.Acknowledged("a", "vm1", 5);
  const RestartWatch::Target target = watch.BeginSync("vm1");
  watch.Acknowledged("a", "vm1", 6);
  EXPECT_TRUE(watch.EndSync(target, "a", 5).ok());
  EXPECT_EQ(watch.BeginSync("vm1").seq, 6u);
}

}  // namespace
}  // namespace h2bd::client
