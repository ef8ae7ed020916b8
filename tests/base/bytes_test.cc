#include "core/base/bytes.h"

#include <gtest/gtest.h>

#include "core/base/types.h"

namespace h2bd {
namespace {

TEST(AlignedBuffer, IsAlignedAndOwnsItsBytes) {
  for (const size_t size : {1u, 512u, 4096u, 65536u, 65537u}) {
    AlignedBuffer buffer = AlignedBuffer::Zeroed(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kBufferAlignment, 0u);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_TRUE(IsAllZero(buffer.span()));
    buffer.data()[size - 1] = std::byte{1};
    const AlignedBuffer copy = AlignedBuffer::CopyOf(buffer.span());
    buffer.data()[size - 1] = std::byte{0};
    EXPECT_FALSE(IsAllZero(copy.span()));
  }
  EXPECT_TRUE(AlignedBuffer().empty());
}

TEST(IsAllZero, SeesASingleByteAnywhere) {
  std::vector<std::byte> bytes(1000);
  EXPECT_TRUE(IsAllZero(bytes));
  EXPECT_TRUE(IsAllZero({}));
  for (size_t at = 0; at < bytes.size(); ++at) {
    bytes[at] = std::byte{0x80};
    EXPECT_FALSE(IsAllZero(bytes)) << at;
    bytes[at] = std::byte{0};
  }
}

TEST(LoadStore, GoThroughUnalignedBytes) {
  std::vector<std::byte> bytes(16);
  StoreAs<uint64_t>(bytes, 0x1122334455667788, 3);
  EXPECT_EQ(LoadAs<uint64_t>(bytes, 3), 0x1122334455667788u);
  EXPECT_EQ(bytes[3], std::byte{0x88});  // the media is little-endian
}

TEST(Types, RoundToPowersOfTwo) {
  EXPECT_EQ(RoundUp(0, 8), 0u);
  EXPECT_EQ(RoundUp(1, 8), 8u);
  EXPECT_EQ(RoundUp(8, 8), 8u);
  EXPECT_EQ(RoundDown(15, 8), 8u);
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(10 * kGiB), "10.0 GiB");
}

}  // namespace
}  // namespace h2bd
