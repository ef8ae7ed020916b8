#include "tests/volume/pfs_volume.h"

#include <gtest/gtest.h>

#include <utility>

namespace h2bd {

PfsContents ContentsOfAll(Volume& volume) {
  PfsContents contents;
  for (const PfsInfo& pfs : volume.ListPfs()) {
    contents[pfs.label + "/"] = "";
    std::string token;
    do {
      const absl::StatusOr<DiskList> list = volume.ListDisks(pfs.label, 1000, token);
      EXPECT_TRUE(list.ok()) << list.status();
      if (!list.ok()) break;
      for (const DiskInfo& info : list->disks) {
        const absl::StatusOr<DiskRef> disk = volume.OpenDisk(info.name);
        EXPECT_TRUE(disk.ok()) << info.name.ToString() << ": " << disk.status();
        if (!disk.ok()) continue;
        absl::StatusOr<std::string> content = ReadAll(volume, *disk);
        EXPECT_TRUE(content.ok()) << info.name.ToString() << ": " << content.status();
        if (content.ok()) contents[info.name.ToString()] = *std::move(content);
      }
      token = list->next_page_token;
    } while (!token.empty());
  }
  return contents;
}

PfsVolume::PfsVolume(const VolumeOptions& options, const VolumeEnv& env)
    : options_(options),
      env_(env),
      device_(std::make_unique<MemoryDevice>(*FormattedImage(8 * kGiB))) {
  volume_ = *OpenOn(*device_, options_, env_);
}

PfsVolume::PfsVolume(const SparseImage& image, const VolumeOptions& options)
    : options_(options), device_(std::make_unique<MemoryDevice>(image)) {
  volume_ = *OpenOn(*device_, options_, env_);
}

PfsVolume::~PfsVolume() {
  volume_.reset();
  ExpectClean(*device_);
}

void PfsVolume::Make(const std::string& name, const std::string& content) {
  const DiskName disk = *DiskName::Parse(name);
  const auto made = volume_->CreateDisk(disk, {content.size()});
  ASSERT_TRUE(made.ok()) << made.status();
  Write(name, 0, content);
}

void PfsVolume::Write(const std::string& name, uint64_t offset, const std::string& text) {
  const absl::StatusOr<DiskRef> disk = volume_->OpenDisk(*DiskName::Parse(name));
  ASSERT_TRUE(disk.ok()) << disk.status();
  for (uint64_t done = 0; done < text.size(); done += Volume::kMaxIoBytes) {
    ASSERT_EQ(WriteText(*volume_, *disk, offset + done,
                        absl::string_view(text).substr(done, Volume::kMaxIoBytes)),
              absl::OkStatus());
  }
}

std::string PfsVolume::Read(const std::string& name) {
  const absl::StatusOr<DiskRef> disk = volume_->OpenDisk(*DiskName::Parse(name));
  if (!disk.ok()) return std::string(disk.status().message());
  const absl::StatusOr<std::string> content = ReadAll(*volume_, *disk);
  return content.ok() ? *content : std::string(content.status().message());
}

void PfsVolume::Sync() { ASSERT_EQ(volume_->Sync(nullptr, {}).status(), absl::OkStatus()); }

PfsContents PfsVolume::All() { return ContentsOfAll(*volume_); }

PfsContents PfsVolume::AfterACrash() {
  MemoryDevice later(device_->Snapshot());
  PfsContents contents;
  {
    const auto volume = OpenOn(later, ManualOptions());
    EXPECT_TRUE(volume.ok()) << volume.status();
    if (volume.ok()) contents = ContentsOfAll(**volume);
  }
  ExpectClean(later);
  return contents;
}

void PfsVolume::Reopen() {
  volume_.reset();
  volume_ = *OpenOn(*device_, options_, env_);
}

MediaPfs PfsVolume::OnMedia(const std::string& label) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(std::make_unique<BorrowedDevice>(*device_));
  VolumeSet set = *AssembleVolumeSet(std::move(devices), NullLogger());
  MediaReader reader = *MediaReader::Open(set);
  const absl::StatusOr<MediaPfs> found = reader.FindPfs(label);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() ? *found : MediaPfs{};
}

}  // namespace h2bd
