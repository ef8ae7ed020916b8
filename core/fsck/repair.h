// Puts right on a volume what can be put right without losing data: the freemap, counters,
// statistics, names of inodes that have none, headers of other volumes, and what other systems left
// lagging (spec 02 section 7.5).
//
// What is right is what the checker's walk finds below the newest header; how it is written is the
// engine's: new blocks, new copies of freemap blocks, and one new header that makes all of it valid
// at once. Older headers stay, and nothing that any valid header reaches is touched. No lock and no
// thread; the devices must not be used by anybody else.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/device/block_device.h"
#include "core/fsck/check.h"

namespace h2bd {

struct RepairOptions {
  // What is marked in the freemap stays so even if no header reaches it. Needed where damage hides
  // part of the newest tree: then nobody knows what is in use.
  bool keep_leaks = false;
  // Entries whose inode does not exist are removed.
  bool drop_dangling = false;
  bool read_data = true;  // for the checks before and after
  std::function<void(const CheckProgress&)> progress;
};

enum class RepairKind { kHeaders, kFreemap, kCounters, kTables, kNames };
absl::string_view Name(RepairKind kind);  // "headers", "freemap", …

struct RepairAction {
  RepairKind kind{};
  std::string place;
  std::string text;  // what is done there
};

class Repair {
 public:
  // Works everything out and tries it on a copy in memory; writes nothing. Errors: those of
  // AssembleVolumeSet, where not even the headers can be put right; kFailedPrecondition where it is
  // not known what is right; kResourceExhausted when a volume has no room for the new tables;
  // kInternal when the copy would not be better than what is there.
  static absl::StatusOr<std::unique_ptr<Repair>> Plan(std::span<BlockDevice* const> devices,
                                                      const RepairOptions& options);
  virtual ~Repair() = default;

  // What is to be done, in words. Empty: nothing.
  virtual const std::vector<RepairAction>& actions() const = 0;
  // What is wrong and stays so, with why.
  virtual const std::vector<std::string>& refusals() const = 0;
  virtual const CheckReport& before() const = 0;  // through every header
  // Of the copy, through the header that the repair makes.
  virtual const CheckReport& after() const = 0;

  // Does it. A crash in between leaves the volume as it was, or repaired, but for headers that no
  // mount chooses. After an error, Plan again.
  virtual absl::Status Write() = 0;
};

}  // namespace h2bd
