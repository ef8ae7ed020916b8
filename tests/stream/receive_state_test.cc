#include "client/stream/receive_state.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/stream/stream_bytes.h"

namespace h2bd::stream {
namespace {

ReceiveState Sample() {
  return {.at = {.identity = {.stream = TestUuid(1), .source = TestUuid(2)},
                 .position = {.sequence = 9, .disk = 2, .disk_bytes = 5, .offset = 5}},
          .entries = {{.path = "a"}, {.path = "b", .removed = true}},
          .finishing = true,
          .replacements = {{.from = ".recv-x", .path = "a"}, {.from = "", .path = "b"}}};
}

TEST(ReceiveState, ComesBackAsItWas) {
  for (const ReceiveState& state : {Sample(), ReceiveState{.at = StartOf({})}}) {
    const absl::StatusOr<ReceiveState> back = DecodeState(*EncodeState(state));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, state);
  }
}

TEST(ReceiveState, EveryFlippedBitAndEveryPrefixIsDamage) {
  const std::string bytes = *EncodeState(Sample());
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    ASSERT_TRUE(absl::IsDataLoss(DecodeState(flipped).status())) << bit;
    ASSERT_TRUE(absl::IsDataLoss(DecodeState(bytes.substr(0, bit / 8)).status())) << bit;
  }
}

TEST(ReceiveState, IsBounded) {
  ReceiveState state = Sample();
  const std::string path(kPathMax, 'p');
  state.entries.resize(kStateBytesMax / kPathMax, {.path = path});
  EXPECT_TRUE(absl::IsResourceExhausted(EncodeState(state).status()));
}

}  // namespace
}  // namespace h2bd::stream
