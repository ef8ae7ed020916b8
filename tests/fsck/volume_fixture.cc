#include "tests/fsck/volume_fixture.h"

#include <openssl/sha.h>

#include <map>

#include "absl/strings/escaping.h"
#include "tests/support/fixtures.h"

namespace h2bd {

const SparseImage& CachedFixture(const std::string& name) {
  static auto& images = *new std::map<std::string, SparseImage>();
  auto it = images.find(name);
  if (it == images.end()) {
    absl::StatusOr<SparseImage> image = LoadFixture(name);
    H2_ASSERT(image.ok());
    it = images.emplace(name, *std::move(image)).first;
  }
  return it->second;
}

absl::StatusOr<VolumeSet> OpenSet(MemoryDevice& device) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(std::make_unique<BorrowedDevice>(device));
  return AssembleVolumeSet(std::move(devices), NullLogger());
}

CheckReport CheckImage(MemoryDevice& device, const CheckOptions& options) {
  BlockDevice* const devices[] = {&device};
  return CheckDevices(devices, options);
}

std::string Sha256Hex(ConstByteSpan bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

}  // namespace h2bd
