#include "core/base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "core/base/status.h"

namespace h2bd {
namespace {

class KernelRandom final : public RandomSource {
 public:
  void Fill(ByteSpan bytes) override {
    while (!bytes.empty()) {
      const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      H2_ASSERT(got > 0);
      bytes = bytes.subspan(static_cast<size_t>(got));
    }
  }
};

}  // namespace

uint64_t RandomSource::Next64() {
  uint64_t value = 0;
  Fill({reinterpret_cast<std::byte*>(&value), sizeof value});
  return value;
}

RandomSource& SystemRandom() {
  static KernelRandom random;
  return random;
}

void SeededRandom::Fill(ByteSpan bytes) {
  absl::MutexLock lock(&mu_);
  while (!bytes.empty()) {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    const size_t n = bytes.size() < sizeof z ? bytes.size() : sizeof z;
    std::memcpy(bytes.data(), &z, n);
    bytes = bytes.subspan(n);
  }
}

std::array<std::byte, 16> NewUuid(RandomSource& random) {
  std::array<std::byte, 16> uuid;
  random.Fill(uuid);
  // time_hi_and_version is a little-endian u16 at 6, clock_seq_hi the byte at 8.
  uuid[7] = (uuid[7] & std::byte{0x0f}) | std::byte{0x40};
  uuid[8] = (uuid[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

}  // namespace h2bd
