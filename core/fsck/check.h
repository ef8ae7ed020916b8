// The independent checker: everything that the reference's own checker verifies (spec 01
// section 12.2) and everything that it does not (section 12.3), over the trees of every valid
// volume header.
//
// It reads the devices by itself and shares nothing with the engine but core/media, core/device and
// core/volhdr. It never writes. README.md lists the codes and explains severities.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "core/device/block_device.h"
#include "core/fsck/findings.h"
#include "core/volhdr/volume_set.h"

namespace h2bd {

struct CheckProgress {
  int slot = 0;              // header slot that is being walked
  uint64_t blocks_done = 0;  // over all slots
  uint64_t bytes_done = 0;   // of their blocks
  uint64_t bytes_total = 0;  // what the newest header counts; 0 when unknown
};

struct CheckOptions {
  // Walk the trees of this header only. Default: of every valid header, newest first.
  std::optional<int> slot;

  // Off: the volume may have been written by others. What the reference leaves behind in normal
  // work is a note or a warning, and an error that only an older header leads to is a warning with
  // `old_slot` set: the reference frees blocks without regard to older headers (spec 01
  // section 2.8). On: h2bd alone has written the volume, so every slot must be clean and h2bd's own
  // promises hold (freemap_tid == mirror_tid, exact allocator_free and statistics, R9, nothing
  // reserved set).
  bool all_slots_strict = false;

  // Read, verify and decompress file data too. Off: metadata only.
  bool read_data = true;

  size_t findings_max = 10000;  // kept in the report; the counts go on

  // Called every few hundred blocks on the caller's thread.
  std::function<void(const CheckProgress&)> progress;
};

// `devices` in any order, of one volume; all of them, or what is missing is reported. They must not
// be written meanwhile. Never fails: what cannot be read is a finding. Memory: 384 MiB per TiB in
// use, twice while an older header is walked; 32 KiB per GiB of freemap, twice as well; about 100
// bytes per indirect block; about 60 bytes per inode of the largest PFS; 16 MiB of device buffers.
CheckReport CheckDevices(std::span<BlockDevice* const> devices, const CheckOptions& options = {});

// The same over the devices of an assembled volume.
CheckReport CheckVolume(VolumeSet& set, const CheckOptions& options = {});

}  // namespace h2bd
