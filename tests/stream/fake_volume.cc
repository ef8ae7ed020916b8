#include "tests/stream/fake_volume.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/stream/receiver.h"
#include "core/base/status.h"
#include "core/digest/attest_hash.h"
#include "tests/stream/stream_bytes.h"

namespace h2bd::stream {
namespace {

std::vector<std::string> NamesOf(const FakePfs& pfs) {
  std::vector<std::string> names;
  for (const auto& [path, disk] : pfs) names.push_back(path);
  return names;
}

const FakeDisk* FindIn(const FakePfs& pfs, const std::string& path) {
  const auto it = pfs.find(path);
  return it == pfs.end() ? nullptr : &it->second;
}

absl::Status NoDisk(const std::string& path) {
  return absl::NotFoundError(absl::StrCat("no disk ", path));
}

std::string RandomBlock(RandomSource& random, size_t bytes) {
  return random.Next64() % 2 == 0 ? RandomBytes(random.Next64(), bytes)
                                  : TextBytes(random.Next64(), bytes);
}

uint64_t RandomSize(RandomSource& random, bool tiny) {
  if (tiny) return random.Next64() % 120;
  return random.Next64() % 8 * kBlockBytes + random.Next64() % 1000;
}

void WriteAtRandom(FakeDisk& disk, RandomSource& random) {
  if (disk.size() == 0) return;
  const uint64_t number = random.Next64() % disk.blocks();
  disk.SetBlock(number, RandomBlock(random, disk.Block(number).size()));
}

}  // namespace

std::string FakeDisk::Block(uint64_t number) const {
  const uint64_t offset = number * kBlockBytes;
  H2_ASSERT(offset < size_);
  std::string bytes(std::min(kBlockBytes, size_ - offset), '\0');
  if (const auto it = blocks_.find(number); it != blocks_.end()) bytes = it->second;
  return bytes;
}

void FakeDisk::SetBlock(uint64_t number, std::string bytes) {
  H2_ASSERT(bytes.size() == Block(number).size());
  blocks_.erase(number);
  if (!IsAllZero(AsBytes(bytes))) blocks_[number] = std::move(bytes);
}

void FakeDisk::Write(uint64_t offset, ConstByteSpan bytes) {
  H2_ASSERT(offset % kBlockBytes == 0);
  SetBlock(offset / kBlockBytes, std::string(AsText(bytes)));
}

void FakeDisk::Punch(uint64_t offset, uint64_t bytes) {
  H2_ASSERT(offset % kBlockBytes == 0 && offset + bytes <= size_);
  H2_ASSERT((offset + bytes) % kBlockBytes == 0 || offset + bytes == size_);
  for (uint64_t at = offset; at < offset + bytes; at += kBlockBytes)
    blocks_.erase(at / kBlockBytes);
}

void FakeDisk::Resize(uint64_t size) {
  std::map<uint64_t, std::string> old;
  old.swap(blocks_);
  size_ = size;
  for (auto& [number, bytes] : old) {
    if (number >= blocks()) continue;
    bytes.resize(Block(number).size(), '\0');
    SetBlock(number, std::move(bytes));
  }
}

Sha256Digest FakeDisk::Attest() const {
  AttestDisk value(size_);
  for (const auto& [number, bytes] : blocks_) value.Block(number * kBlockBytes, AsBytes(bytes));
  return value.Finish();
}

Sha256Digest AttestOf(const FakePfs& pfs) {
  AttestPfs value;
  for (const auto& [path, disk] : pfs) value.Add(path, /*type=*/2, disk.Attest());
  return value.Finish();
}

FakePfs RandomPfs(RandomSource& random, bool tiny) {
  FakePfs pfs;
  for (int i = 0; i < 3; ++i) {
    FakeDisk disk(RandomSize(random, tiny));
    for (uint64_t n = 0; n < disk.blocks(); ++n) WriteAtRandom(disk, random);
    pfs[absl::StrCat("d", i)] = disk;
  }
  return pfs;
}

void ChangeAtRandom(FakePfs& pfs, RandomSource& random, bool tiny) {
  for (int step = 0; step < 5; ++step) {
    const std::string name = absl::StrCat("d", random.Next64() % 5);
    const std::string other = absl::StrCat("d", random.Next64() % 5);
    const auto it = pfs.find(name);
    if (it == pfs.end()) {
      pfs[name] = FakeDisk(RandomSize(random, tiny));
      WriteAtRandom(pfs[name], random);
      continue;
    }
    FakeDisk& disk = it->second;
    switch (random.Next64() % 6) {
      case 0:
        disk.Resize(RandomSize(random, tiny));
        break;
      case 1:
        disk.Punch(0, disk.size());
        break;
      case 2:
        pfs.erase(name);
        break;
      case 3: {  // rename, over another one perhaps
        FakeDisk moved = disk;
        pfs.erase(name);
        pfs[other] = std::move(moved);
        break;
      }
      default:
        WriteAtRandom(disk, random);
    }
  }
}

absl::StatusOr<Identity> FakeSource::Identify() {
  Identity identity{.source = snapshot_.fsid, .one_disk = !disk_.empty()};
  if (base_ != nullptr) {
    identity.base = base_->fsid;
    if (!without_attest) identity.base_attest = ValueOf(*base_);
  }
  return identity;
}

// Disks of the base are found by their first block, as if that were their inode number: so there
// are renamed disks, and disks that begin as copies.
absl::StatusOr<std::vector<SourceDisk>> FakeSource::Disks() {
  std::vector<SourceDisk> disks;
  for (const auto& [path, disk] : snapshot_.pfs) {
    if (!disk_.empty() && path != disk_) continue;
    SourceDisk found{.path = path, .size_bytes = disk.size()};
    if (base_ != nullptr) {
      for (const auto& [base_path, base] : base_->pfs) {
        const bool same_start =
            base.size() > 0 && disk.size() > 0 && base.Block(0) == disk.Block(0);
        if (base_path != path && (!same_start || base_->pfs.contains(path))) continue;
        found.kind = SourceDisk::Kind::kOfBase;
        found.base_path = base_path;
      }
      const FakeDisk* same = FindIn(base_->pfs, path);
      if (same != nullptr && *same == disk && disk_.empty()) continue;
    }
    disks.push_back(found);
  }
  if (base_ == nullptr || !disk_.empty()) return disks;
  for (const auto& [path, disk] : base_->pfs) {
    if (snapshot_.pfs.contains(path)) continue;
    disks.push_back({.kind = SourceDisk::Kind::kRemoved, .base_path = path});
  }
  return disks;
}

FakeDisk FakeSource::BaseOf(const SourceDisk& disk) const {
  FakeDisk base;
  if (disk.kind == SourceDisk::Kind::kOfBase) base = base_->pfs.at(disk.base_path);
  base.Resize(disk.size_bytes);
  return base;
}

absl::StatusOr<std::vector<ChangedRange>> FakeSource::Changes(const SourceDisk& disk,
                                                              uint64_t offset) {
  if (ranges.has_value()) return offset == 0 ? *ranges : std::vector<ChangedRange>();
  const FakeDisk& now = snapshot_.pfs.at(disk.path);
  const FakeDisk base = BaseOf(disk);
  std::vector<ChangedRange> found;
  H2_ASSERT(offset % kBlockBytes == 0);
  for (uint64_t number = offset / kBlockBytes; number < now.blocks(); ++number) {
    const std::string block = now.Block(number);
    const bool spurious = random != nullptr && random->Next64() % 4 == 0;
    if (block == base.Block(number) && !spurious) continue;
    const bool is_hole = IsAllZero(AsBytes(block));
    const uint64_t at = number * kBlockBytes;
    if (!found.empty() && found.back().is_hole == is_hole &&
        found.back().offset + found.back().length == at) {
      found.back().length += block.size();
    } else if (found.size() == 2) {
      break;  // a page
    } else {
      found.push_back({.offset = at, .length = block.size(), .is_hole = is_hole});
    }
  }
  return found;
}

absl::Status FakeSource::Read(const SourceDisk& disk, uint64_t offset, uint64_t length,
                              absl::FunctionRef<absl::Status(ConstByteSpan)> visit) {
  const FakeDisk& now = snapshot_.pfs.at(disk.path);
  std::string bytes;
  for (uint64_t at = offset; at < offset + length; at += kBlockBytes) {
    bytes += now.Block(at / kBlockBytes);
  }
  const size_t piece = piece_bytes.value_or(2 * kBlockBytes);
  for (size_t at = 0; at < bytes.size(); at += piece) {
    H2_RETURN_IF_ERROR(visit(AsBytes(absl::string_view(bytes).substr(at, piece))));
  }
  return absl::OkStatus();
}

Sha256Digest FakeSource::ValueOf(const FakeSnapshot& snapshot) const {
  return disk_.empty() ? AttestOf(snapshot.pfs) : snapshot.pfs.at(disk_).Attest();
}

absl::StatusOr<Sha256Digest> FakeSource::Attest() {
  if (without_attest) return Sha256Digest{};
  return attest.value_or(ValueOf(snapshot_));
}

void FakeTarget::Crash(RandomSource& random) {
  changes_left.reset();
  const bool names_kept = random.Next64() % 2 == 0;
  FakePfs after = names_kept ? live : durable_;
  const FakePfs& before = names_kept ? durable_ : live;
  for (auto& [path, disk] : after) {
    const FakeDisk* other = FindIn(before, path);
    const bool same = other != nullptr && other->serial == disk.serial;
    if (!same || other->size() != disk.size()) continue;
    for (uint64_t number = 0; number < disk.blocks(); ++number) {
      if (random.Next64() % 2 == 0) disk.SetBlock(number, other->Block(number));
    }
  }
  live = after;
  durable_ = after;
}

FakePfs FakeTarget::Visible() const {
  FakePfs visible = live;
  std::erase_if(visible,
                [](const auto& disk) { return absl::StartsWith(disk.first, kReceivedPrefix); });
  return visible;
}

absl::Status FakeTarget::CountChange() {
  ++changes;
  if (!changes_left.has_value()) return absl::OkStatus();
  if (*changes_left == 0) return absl::UnavailableError("the target is gone");
  --*changes_left;
  return absl::OkStatus();
}

absl::StatusOr<FakeDisk*> FakeTarget::Find(const std::string& path) {
  const auto it = live.find(path);
  if (it == live.end()) return NoDisk(path);
  return &it->second;
}

absl::StatusOr<std::vector<std::string>> FakeTarget::Disks() { return NamesOf(live); }

absl::StatusOr<std::vector<std::string>> FakeTarget::DisksOf(const Uuid& snapshot) {
  return NamesOf(snapshots.at(snapshot).second);
}

absl::StatusOr<bool> FakeTarget::HasSnapshot(const Uuid& snapshot) {
  return snapshots.contains(snapshot);
}

absl::StatusOr<std::vector<std::string>> FakeTarget::ChangedSince(const Uuid& snapshot) {
  const FakePfs& then = snapshots.at(snapshot).second;
  FakePfs both = then;
  both.insert(live.begin(), live.end());
  std::vector<std::string> changed;
  for (const auto& [path, disk] : both) {
    const FakeDisk *now = FindIn(live, path), *was = FindIn(then, path);
    if (now == nullptr || was == nullptr || !(*now == *was)) changed.push_back(path);
  }
  return changed;
}

absl::Status FakeTarget::Create(const std::string& path, uint64_t size_bytes, const DiskSettings&) {
  H2_RETURN_IF_ERROR(CountChange());
  if (!live.emplace(path, FakeDisk(size_bytes)).second) return absl::AlreadyExistsError(path);
  live[path].serial = next_serial_++;
  return absl::OkStatus();
}

absl::Status FakeTarget::Clone(const std::optional<Uuid>& snapshot, const std::string& from,
                               const std::string& path, const DiskSettings&) {
  H2_RETURN_IF_ERROR(CountChange());
  const FakePfs& pfs = snapshot.has_value() ? snapshots.at(*snapshot).second : live;
  const FakeDisk* disk = FindIn(pfs, from);
  if (disk == nullptr) return NoDisk(from);
  if (live.contains(path)) return absl::AlreadyExistsError(path);
  live[path] = FakeDisk(*disk);
  live[path].serial = next_serial_++;
  return absl::OkStatus();
}

absl::Status FakeTarget::Resize(const std::string& path, uint64_t size_bytes) {
  H2_RETURN_IF_ERROR(CountChange());
  H2_ASSIGN_OR_RETURN(FakeDisk * disk, Find(path));
  disk->Resize(size_bytes);
  return absl::OkStatus();
}

absl::Status FakeTarget::Write(const std::string& path, uint64_t offset, ConstByteSpan bytes) {
  H2_RETURN_IF_ERROR(CountChange());
  H2_ASSIGN_OR_RETURN(FakeDisk * disk, Find(path));
  disk->Write(offset, bytes);
  return absl::OkStatus();
}

absl::Status FakeTarget::Punch(const std::string& path, uint64_t offset, uint64_t bytes) {
  H2_RETURN_IF_ERROR(CountChange());
  H2_ASSIGN_OR_RETURN(FakeDisk * disk, Find(path));
  disk->Punch(offset, bytes);
  return absl::OkStatus();
}

absl::Status FakeTarget::Sync() {
  H2_RETURN_IF_ERROR(CountChange());
  durable_ = live;
  return absl::OkStatus();
}

absl::Status FakeTarget::Remove(const std::string& path) {
  H2_RETURN_IF_ERROR(CountChange());
  live.erase(path);
  return absl::OkStatus();
}

absl::Status FakeTarget::Replace(const std::vector<Replacement>& replacements) {
  for (const Replacement& replacement : replacements) {
    H2_RETURN_IF_ERROR(CountChange());
    if (replacement.from.empty()) {
      live.erase(replacement.path);
    } else if (const auto it = live.find(replacement.from); it != live.end()) {
      live[replacement.path] = it->second;
      live.erase(replacement.from);
    }
  }
  return absl::OkStatus();
}

absl::Status FakeTarget::TakeSnapshot(const std::string& name, const Uuid& fsid) {
  H2_RETURN_IF_ERROR(CountChange());
  snapshots.emplace(fsid, std::pair(name, live));
  durable_ = live;
  return absl::OkStatus();
}

absl::StatusOr<Sha256Digest> FakeTarget::Attest(const std::string& path) {
  if (before_attest) before_attest();
  H2_ASSIGN_OR_RETURN(const FakeDisk* disk, Find(path));
  return disk->Attest();
}

absl::StatusOr<std::optional<std::string>> FakeTarget::LoadState(const Uuid& stream) {
  const auto it = states.find(stream);
  if (it == states.end()) return std::nullopt;
  return it->second;
}

absl::Status FakeTarget::SaveState(const Uuid& stream, absl::string_view bytes) {
  H2_RETURN_IF_ERROR(CountChange());
  states[stream] = std::string(bytes);
  return absl::OkStatus();
}

absl::Status FakeTarget::DropState(const Uuid& stream) {
  H2_RETURN_IF_ERROR(CountChange());
  states.erase(stream);
  return absl::OkStatus();
}

}  // namespace h2bd::stream
