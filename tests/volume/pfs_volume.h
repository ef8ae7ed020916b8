// A volume with disks, for tests of PFSs, snapshots and clones.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/fsck/media_reader.h"
#include "tests/volume/test_volume.h"

namespace h2bd {

// Contents by "PFS/disk".
using PfsContents = std::map<std::string, std::string>;

class PfsVolume {
 public:
  explicit PfsVolume(const VolumeOptions& options = ManualOptions(), const VolumeEnv& env = {});
  explicit PfsVolume(const SparseImage& image, const VolumeOptions& options = ManualOptions());
  // The strict checker finds nothing.
  ~PfsVolume();
  PfsVolume(const PfsVolume&) = delete;
  PfsVolume& operator=(const PfsVolume&) = delete;

  Volume& operator*() { return *volume_; }
  Volume* operator->() { return volume_.get(); }
  // A new disk with this content.
  void Make(const std::string& name, const std::string& content);
  void Write(const std::string& name, uint64_t offset, const std::string& text);
  std::string Read(const std::string& name);
  void Sync();
  // Of all disks of all PFSs.
  PfsContents All();
  // What another process would find, which is also clean.
  PfsContents AfterACrash();
  // Ends the process and begins another one.
  void Reopen();

  // What the media say of a PFS, read without the engine.
  MediaPfs OnMedia(const std::string& label);
  MemoryDevice& device() { return *device_; }

 private:
  const VolumeOptions options_;
  const VolumeEnv env_;
  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<Volume> volume_;
};

// Of all disks of all PFSs of `volume`; an empty PFS has the entry "PFS/".
PfsContents ContentsOfAll(Volume& volume);

}  // namespace h2bd
