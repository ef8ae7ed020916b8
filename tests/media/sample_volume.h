// Structures of the sample volume of spec 01 section 13.5, rebuilt from its listings: 8 GiB, labels
// LOCAL and DATA, one flush by the reference after format.
#pragma once

#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/media/freemap_data.h"
#include "core/media/inode_data.h"
#include "core/media/volume_data.h"

namespace h2bd {

// Bytes from lines "OFFSET: HEX…" (hexadecimal, blanks ignored); all others are zero.
std::vector<std::byte> FromListing(size_t size, absl::string_view listing);

inline constexpr uint64_t kSampleTotalSize = 8 * kGiB;

std::unique_ptr<VolumeData> SampleHeader();            // 13.5.1, with the CRCs that were listed
std::unique_ptr<FreemapLeafData> SampleFreemapLeaf();  // 13.5.2, built by value
InodeData SamplePfsRoot();                             // 13.5.3
InodeData SampleHelloInode();                          // 13.5.4
Blockref SampleHelloBref();
Blockref SampleData1Bref();                  // 13.5.5
std::vector<std::byte> SampleData1Block();   // stored, 1024 bytes
std::vector<std::byte> SampleData1Text();    // logical, 4096 bytes
std::vector<std::byte> SampleDirentTable();  // 13.5.6, 4096 bytes
std::vector<std::byte> SampleNameBlock();    // 1024 bytes

}  // namespace h2bd
