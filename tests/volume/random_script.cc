#include "tests/volume/random_script.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kDiskBytes = 3 * kMiB;

}  // namespace

void RandomScript::Step() {
  if (sizes_.size() < 4) return Create();
  switch (rng_.Next64() % 10) {
    case 0:
      return Rename();
    case 1:
      return Delete();
    case 2:
      return Resize();
    case 3:
      return Zero();
    case 4:
      return Transaction();
    default:
      return Write();
  }
}

std::string RandomScript::NewName() {
  ++serial_;
  return absl::StrCat("disk", serial_, std::string(serial_ % 3 * 50, 'n'));
}

std::string RandomScript::Any() {
  auto it = sizes_.begin();
  std::advance(it, rng_.Next64() % sizes_.size());
  return it->first;
}

DiskRef RandomScript::Open(const std::string& name) {
  const absl::StatusOr<DiskRef> disk = volume_->OpenDisk({"", name});
  EXPECT_TRUE(disk.ok()) << disk.status();
  return *disk;
}

// Half of it does not compress.
std::string RandomScript::Text(uint64_t bytes) {
  std::string text(bytes, 't');
  rng_.Fill(std::as_writable_bytes(std::span(text)).first(bytes / 2));
  return text;
}

void RandomScript::Create() {
  const std::string name = NewName();
  EXPECT_TRUE(volume_->CreateDisk({"", name}, {kDiskBytes}).ok());
  sizes_[name] = kDiskBytes;
}

void RandomScript::Rename() {
  const std::string from = Any(), to = NewName();
  EXPECT_TRUE(volume_->RenameDisk({"", from}, {"", to}).ok());
  sizes_[to] = sizes_[from];
  sizes_.erase(from);
}

void RandomScript::Delete() {
  const std::string name = Any();
  EXPECT_EQ(volume_->DeleteDisk({"", name}), absl::OkStatus());
  sizes_.erase(name);
}

void RandomScript::Resize() {
  const std::string name = Any();
  sizes_[name] = 1 + rng_.Next64() % (2 * kDiskBytes);
  EXPECT_TRUE(volume_->ResizeDisk({"", name}, sizes_[name]).ok());
}

void RandomScript::Zero() {
  const std::string name = Any();
  const uint64_t offset = rng_.Next64() % sizes_[name];
  const uint64_t length = rng_.Next64() % (sizes_[name] - offset + 1);
  EXPECT_TRUE(volume_->WriteZeroes(Open(name), offset, length, {}).ok());
}

void RandomScript::Write() {
  const std::string name = Any();
  const uint64_t offset = rng_.Next64() % sizes_[name];
  const uint64_t length = 1 + rng_.Next64() % std::min<uint64_t>(sizes_[name] - offset, kMiB);
  EXPECT_EQ(WriteText(*volume_, Open(name), offset, Text(length)), absl::OkStatus());
}

void RandomScript::Transaction() {
  const TxnInfo txn = *volume_->Begin({});
  for (const auto& [name, size] : sizes_) {
    const std::string text = Text(1 + rng_.Next64() % std::min<uint64_t>(size, 100000));
    const ConstByteSpan bytes = AsBytes(text);
    EXPECT_EQ(volume_->TxnWrite(txn.id, Open(name), 0, std::span(&bytes, 1), {}), absl::OkStatus());
  }
  EXPECT_TRUE(volume_->Commit(txn.id, {}).ok());
}

}  // namespace h2bd
