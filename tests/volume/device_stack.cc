#include "tests/volume/device_stack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "core/fsck/tree_digest.h"
#include "core/media/placement.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

constexpr uint64_t kGroupBytes = 64 * kKiB;

std::vector<std::unique_ptr<MemoryDevice>> DevicesOf(const SetImages& images) {
  std::vector<std::unique_ptr<MemoryDevice>> devices;
  for (const SparseImage& image : images) {
    devices.push_back(
        std::make_unique<MemoryDevice>(image, 512, absl::StrFormat("memory%d", devices.size())));
  }
  return devices;
}

std::vector<std::unique_ptr<BlockDevice>> Borrowed(
    const std::vector<std::unique_ptr<MemoryDevice>>& devices) {
  std::vector<std::unique_ptr<BlockDevice>> borrowed;
  for (const auto& device : devices) borrowed.push_back(std::make_unique<BorrowedDevice>(*device));
  return borrowed;
}

SetImages SnapshotOf(const std::vector<std::unique_ptr<MemoryDevice>>& devices) {
  SetImages images;
  for (const auto& device : devices) images.push_back(device->Snapshot());
  return images;
}

absl::Status PublishFreemap(VolumeSet& set, HeaderRing& ring, Freemap& freemap, Dio& dio) {
  const Tid tid(set.header->mirror_tid.v + 1);
  H2_ASSIGN_OR_RETURN(const Freemap::Flushed flushed, freemap.Flush({tid, tid}, ring.entries()));
  H2_RETURN_IF_ERROR(dio.Drain());
  set.header->freemap_blockset = flushed.blockset;
  set.header->allocator_free = flushed.allocator_free;
  set.header->mirror_tid = set.header->freemap_tid = tid;
  SealVolumeData(*set.header);
  return ring.Publish(*set.header, nullptr).status();
}

}  // namespace

absl::StatusOr<SetImages> FormattedSet(const std::vector<uint64_t>& sizes,
                                       const FormatOptions& options) {
  SetImages blank;
  for (const uint64_t size : sizes) blank.emplace_back(size);
  const auto devices = DevicesOf(blank);
  SeededRandom random(1);
  H2_RETURN_IF_ERROR(Format(Borrowed(devices), options, SystemClock(), random).status());
  return SnapshotOf(devices);
}

absl::Status Occupy(SetImages& images, const std::function<bool(uint64_t)>& leave_free) {
  const auto devices = DevicesOf(images);
  H2_ASSIGN_OR_RETURN(VolumeSet set, AssembleVolumeSet(Borrowed(devices), NullLogger()));
  HeaderRing ring(*set.devices, set, NullLogger());
  H2_RETURN_IF_ERROR(ring.Fence());
  Dio dio(*set.devices, DioOptions{.writer_threads = 0}, NullLogger());
  H2_ASSIGN_OR_RETURN(const auto freemap, Freemap::Open(*set.header, ring, dio, NullLogger()));
  Blockref bref;
  bref.type = BrefType::kData;
  for (uint64_t at = 0; at < set.header->address_space(); at += kGroupBytes) {
    if (leave_free(at)) continue;
    bref.data_off = DataOff::Make(ByteOff(at), kLogicalRadix);
    // Reserved segments are refused: they are not free anyway.
    freemap->MarkAllocated(bref).status().IgnoreError();
  }
  H2_RETURN_IF_ERROR(PublishFreemap(set, ring, *freemap, dio));
  images = SnapshotOf(devices);
  return absl::OkStatus();
}

void ExpectCleanSet(const SetImages& images) {
  const auto devices = DevicesOf(images);
  std::vector<BlockDevice*> pointers;
  for (const auto& device : devices) pointers.push_back(device.get());
  ExpectClean(pointers);
}

std::string DigestOf(const SparseImage& image) {
  const auto devices = DevicesOf({image});
  absl::StatusOr<VolumeSet> set = AssembleVolumeSet(Borrowed(devices), NullLogger());
  EXPECT_TRUE(set.ok()) << set.status();
  absl::StatusOr<MediaReader> reader = MediaReader::Open(*set, set->slot);
  EXPECT_TRUE(reader.ok()) << reader.status();
  const absl::StatusOr<std::string> digest = TreeDigest(*reader);
  EXPECT_TRUE(digest.ok()) << digest.status();
  return digest.value_or("");
}

std::map<Tid, std::string> DigestsOf(const SparseImage& image) {
  std::map<Tid, std::string> digests;
  const auto devices = DevicesOf({image});
  absl::StatusOr<VolumeSet> set = AssembleVolumeSet(Borrowed(devices), NullLogger());
  EXPECT_TRUE(set.ok()) << set.status();
  for (const HeaderProbe& probe : set->root_probes) {
    if (!probe.status.ok()) continue;
    absl::StatusOr<MediaReader> reader = MediaReader::Open(*set, probe.slot);
    EXPECT_TRUE(reader.ok()) << reader.status();
    const absl::StatusOr<std::string> digest = TreeDigest(*reader);
    digests[probe.header->mirror_tid] = digest.ok() ? *digest : digest.status().ToString();
  }
  return digests;
}

DeviceStack::Layer::Layer(const SparseImage& image, IoLog& log, int device)
    : memory(image, 512, absl::StrFormat("memory%d", device)),
      recorder(memory, log, device),
      point(FaultPlan{.fail_at = 0}),
      faulty(recorder, point) {}

DeviceStack::DeviceStack(const SetImages& images) {
  for (const SparseImage& image : images) {
    const int device = static_cast<int>(layers_.size());
    layers_.push_back(std::make_unique<Layer>(image, log_, device));
  }
}

absl::StatusOr<std::unique_ptr<Volume>> DeviceStack::Open(const VolumeOptions& options,
                                                          const VolumeEnv& env) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  for (const auto& layer : layers_)
    devices.push_back(std::make_unique<BorrowedDevice>(layer->faulty));
  return Volume::Open(std::move(devices), options, env);
}

std::vector<IoEvent> DeviceStack::EventsFrom(size_t begin) const {
  std::vector<IoEvent> events = log_.events();
  events.erase(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(begin));
  return events;
}

SetImages DeviceStack::Snapshot() const {
  SetImages images;
  for (const auto& layer : layers_) images.push_back(layer->memory.Snapshot());
  return images;
}

ImageVolume::ImageVolume(const SetImages& images, const VolumeOptions& options)
    : devices_(DevicesOf(images)) {
  absl::StatusOr<std::unique_ptr<Volume>> volume = Volume::Open(Borrowed(devices_), options, {});
  status_ = volume.status();
  if (volume.ok()) volume_ = *std::move(volume);
}

SetImages ImageVolume::Snapshot() const { return SnapshotOf(devices_); }

bool IsHeaderWrite(const IoEvent& event) {
  return event.kind == IoEvent::kWrite && event.bytes->size() == kVolumeHeaderBytes &&
         event.off % kVolumeHeaderSpacing == 0 &&
         event.off / kVolumeHeaderSpacing < kVolumeHeaderSlots;
}

absl::Status BarriersBeforeHeaders(std::span<const IoEvent> events, size_t devices) {
  for (size_t header = 0; header < events.size(); ++header) {
    if (!IsHeaderWrite(events[header])) continue;
    if (events[header].device != 0) {
      return absl::InternalError(
          absl::StrFormat("event %d: a header goes to device %d", header, events[header].device));
    }
    for (size_t device = 0; device < devices; ++device) {
      uint64_t last_barrier = 0, last_write = 0;
      for (const IoEvent& event : events.first(header)) {
        if (event.device != static_cast<int>(device)) continue;
        if (event.kind == IoEvent::kSync) last_barrier = event.began;
        // A header that failed is not covered by anything, and need not be.
        if (event.kind == IoEvent::kWrite && !IsHeaderWrite(event)) {
          last_write = std::max(last_write, event.ended);
        }
      }
      if (last_barrier == 0 || last_write >= last_barrier) {
        return absl::InternalError(absl::StrFormat(
            "event %d: a header is written before a barrier of device %d", header, device));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace h2bd
