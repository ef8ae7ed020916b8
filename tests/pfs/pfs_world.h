// A volume header with a super-root and PFSs, on top of ChainWorld.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/pfs/pfs.h"
#include "tests/chain/chain_world.h"

namespace h2bd {

class PfsWorld {
 public:
  // As newfs leaves a volume: the super-root with these PFSs, all of them empty.
  explicit PfsWorld(const std::vector<std::string>& labels = {"LOCAL", "DATA"});

  PfsTable& table() { return *table_; }
  Pfs& pfs(absl::string_view label);
  // A new PFS, known to the table; FlushAll brings it to media.
  Pfs& AddPfs(const std::string& label);
  // A new file with a name in the root directory, flushed and indexed.
  std::shared_ptr<Inode> AddFile(Pfs& pfs, absl::string_view name, uint64_t blocks = 0);

  // The phases of a cycle from the PFS roots on, without freemap; then everything reaches the
  // device.
  void FlushAll();
  // Opens what is on the device. Nothing of the old table may be held.
  void Reopen(Logger& logger = NullLogger());

  ChainWorld& chains() { return chains_; }
  VolumeData& header() { return *header_; }
  Executor& executor() { return executor_; }
  RandomSource& random() { return random_; }

 private:
  ChainWorld chains_;
  InlineExecutor executor_;
  SeededRandom random_{1};
  std::unique_ptr<VolumeData> header_;
  std::unique_ptr<PfsTable> table_;
};

}  // namespace h2bd
