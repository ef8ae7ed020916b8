#include "tests/media/sample_volume.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace h2bd {
namespace {

template <class T>
T StructFromListing(absl::string_view listing) {
  return LoadAs<T>(FromListing(sizeof(T), listing));
}

}  // namespace

std::vector<std::byte> FromListing(size_t size, absl::string_view listing) {
  std::vector<std::byte> bytes(size);
  for (const absl::string_view line : absl::StrSplit(listing, '\n', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(absl::StripAsciiWhitespace(line), absl::MaxSplits(':', 1));
    uint64_t at = 0;
    H2_ASSERT(absl::SimpleHexAtoi(parts.first, &at));
    const std::string hex = absl::StrReplaceAll(parts.second, {{" ", ""}});
    H2_ASSERT(hex.size() % 2 == 0 && at + hex.size() / 2 <= size);
    const std::string raw = absl::HexStringToBytes(hex);
    const ConstByteSpan content = AsBytes(raw);
    std::copy(content.begin(), content.end(), bytes.begin() + static_cast<ptrdiff_t>(at));
  }
  return bytes;
}

std::unique_ptr<VolumeData> SampleHeader() {
  auto header = std::make_unique<VolumeData>(StructFromListing<VolumeData>(R"(
    0000: 11201705 324d4148  00004000 00000000
    0010: 00004004 00000000  00004004 00000000
    0020: 00004014 00000000  00000000 02000000
    0030: 02000000 00000000
    0038: 00 00 03 00  01 00 0000
    0040: 13a3b189 2ae040af bd7a3985 ef88f724
    0050: d19abb5c 2d86dc11 a94d0130 1bb8a9f5
    0060: 000000ea 01000000  0000ffe9 01000000
    0070: 000c4014 00000000  11000000 00000000
    0090: 11000000 00000000  00000000 00000000
    00c0: 00000000 02000000
    01f8: 798de6e5  7f13f91b
    0200: 01 31 ff 00 0a 00 0100  0000000000000000
    0210: 11000000 00000000  24000000 00000000
    0220: 0a1c8014 00000000  00000000 00000000
    0230: 003c0000 00000000  05000000 00000000
    0240: af8a0e4f 4faca330
    0800: 06 50 00 1e 00 00 0000  0000000000000000
    0810: 11000000 00000000  0d000000 00000000
    0820: 0f000100 00000000  00000000 00000000
    0840: 3ede96a6  ffffffff  0000802b 00000000
    0e00: 00000000 00000000
    fffc: 8b7d232d)"));
  std::fill(header->volu_loff.begin() + 1, header->volu_loff.end(), UINT64_MAX);
  return header;
}

std::unique_ptr<FreemapLeafData> SampleFreemapLeaf() {
  auto leaf = std::make_unique<FreemapLeafData>();
  for (size_t i = 0; i < leaf->size(); ++i) {
    (*leaf)[i] = i <= 81 ? BmapData::Reserved() : BmapData::Free();
  }
  const auto use = [&](size_t segment, int32_t linear, BrefType type) {
    BmapData& data = (*leaf)[segment];
    data.linear = linear;
    data.class_ = FreemapClass(type);
    data.avail = 0x3fc000;
    data.set_chunk(0, ChunkState::kAllocated);
  };
  use(82, 0x2000, BrefType::kInode);
  use(83, 0x400, BrefType::kData);
  use(84, 0x400, BrefType::kDirent);
  use(85, 0x2000, BrefType::kIndirect);
  return leaf;
}

InodeData SamplePfsRoot() {
  return StructFromListing<InodeData>(R"(
    000: 0100 00 00 00000000
    010: 96524cb6 eb600600  352f58c0 ed0d0600
    020: 00000000 00000000  96524cb6 eb600600
    050: 01 02 0000 ed010000 01000000 00000000
    060: 00000000 00000000  01000000 00000000
    070: 00000000 00000000  00801d38 92ff8fc7
    080: 0400 00 02 00 03 00 06 05040000 00000000
    090: 3db4bcac ef9044f2 aa5d1c1c cd05c8f8
    0a0: a26c0252 077c4d55 8e2ae8c3 9408d9e9
    100: 44415441
    200: 02 30 00 3f 00 00 0500  0000000000000000
    210: 11000000 00000000  24000000 00000000
    220: 0c104015 00000000
    230: 00180000 00000000  05000000 00000000
    240: 88edf145 b46d99f7
    280: 02 30 00 3f 00 00 0400  0000000000000080
    290: 11000000 00000000  17000000 00000000
    2a0: 0c004015 00000000
    2b0: 00040000 00000000  00000000 00000000
    2c0: 32c99dd3 08353202)");
}

InodeData SampleHelloInode() {
  InodeData inode = StructFromListing<InodeData>(R"(
    000: 01000000 00000000 00000000 00000000
    010: 46a34ab6 eb600600  352f58c0 ed0d0600
    050: 02 01 0000 a4010000 04040000 00000000
    060: 10000000 00000000  01000000 00000000
    070: 01000000 00000000  04040000 00000000
    080: 1200 00 02 00 03 00 00 00000000 00000000
    200: 48656c6c 6f2c2048 414d4d45 5232210a)");
  inode.set_name("0x0000000000000404");
  return inode;
}

Blockref SampleHelloBref() {
  Blockref bref;
  bref.type = BrefType::kInode;
  bref.set_methods(CheckMethod::kXxhash64, CompMethod::kLz4);
  bref.key = Key(0x404);
  bref.data_off = DataOff::Make(ByteOff(0x14801000), kInodeRadix);
  return bref;
}

Blockref SampleData1Bref() {
  return StructFromListing<Blockref>(R"(
    00: 03 32 00 10 00 00 0000  0000000000000000
    10: 11000000 00000000  05000000 00000000
    20: 0a00c014 00000000
    40: fb147ee6 1f46160d)");
}

std::vector<std::byte> SampleData1Block() {
  return FromListing(1024, R"(
    000: 4c000000 ff1e5468 65207175 69636b20
    010: 62726f77 6e20666f 78206a75 6d707320
    020: 6f766572 20746865 206c617a 7920646f
    030: 672e202d 00ffffff ffffffff ffffffff
    040: 831f0001 00ffffff ff335000 00000000)");
}

std::vector<std::byte> SampleData1Text() {
  constexpr absl::string_view kText = "The quick brown fox jumps over the lazy dog. ";
  constexpr size_t kFileSize = 3000;
  std::vector<std::byte> logical(4096);
  for (size_t i = 0; i < kFileSize; ++i) {
    logical[i] = static_cast<std::byte>(kText[i % kText.size()]);
  }
  return logical;
}

std::vector<std::byte> SampleDirentTable() {
  // The listing leaves out two modify_tids (098 and 118). 3 and 8 are the only small ones with
  // which the table has the check code that the listing of the PFS root inode gives.
  return FromListing(4096, R"(
    000: 04 30 00 00 00 00 0000  0180af38 44e404b0
    010: 11000000 00000000  0f000000 00000000
    020: 0a000015 00000000
    030: 03040000 00000000  4b00 02 00 00000000
    040: f9945a0d 42ae296f
    080: 04 30 00 00 00 00 0000  0180d592 3623e3b1
    090: 11000000 00000000  03000000 00000000
    0b0: 00040000 00000000  0500 02 00
    0c0: 64617461 31
    100: 04 30 00 00 00 00 0000  01808c60 9e2612c6
    110: 11000000 00000000  08000000 00000000
    130: 01040000 00000000  0300 01 00
    140: 646972
    180: 04 30 00 00 00 00 0000  01807088 5690e8d6
    190: 11000000 00000000  13000000 00000000
    1b0: 04040000 00000000  0900 02 00
    1c0: 68656c6c 6f2e7478 74)");
}

std::vector<std::byte> SampleNameBlock() {
  std::vector<std::byte> block(1024);
  std::string name;
  for (int i = 0; i < 5; ++i) name += "long_file_name_";
  const ConstByteSpan bytes = AsBytes(name);
  std::copy(bytes.begin(), bytes.end(), block.begin());
  return block;
}

}  // namespace h2bd
