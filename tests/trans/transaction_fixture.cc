#include "tests/trans/transaction_fixture.h"

#include <cstring>
#include <memory>

namespace h2bd {

StagedWrite WriteOf(const DiskId& disk, uint64_t offset, uint64_t length, char fill) {
  AlignedBuffer bytes(length);
  std::memset(bytes.data(), fill, length);
  return {disk, offset, length, std::make_shared<const AlignedBuffer>(std::move(bytes))};
}

StagedWrite ZeroesOf(const DiskId& disk, uint64_t offset, uint64_t length) {
  return {disk, offset, length, nullptr};
}

}  // namespace h2bd
