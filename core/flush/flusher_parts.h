// Everything a cycle works on.
#pragma once

#include "core/base/clock.h"
#include "core/base/executor.h"
#include "core/base/log.h"
#include "core/freemap/freemap.h"
#include "core/pfs/namespace.h"
#include "core/pfs/pfs.h"
#include "core/pfs/pfs_changes.h"
#include "core/strategy/disk.h"
#include "core/trans/byte_budget.h"
#include "core/volhdr/header_ring.h"

namespace h2bd {

// Outlives the flusher.
struct FlusherParts {
  DeviceSet& devices;
  Dio& dio;
  HeaderRing& ring;
  Freemap& freemap;
  BlockStore& store;
  ChainCache& chains;
  PfsTable& pfses;
  Namespace& names;
  PfsChanges& changes;
  TransGate& gate;
  DirtyRegistry& dirty;
  BlockCache& cache;
  ByteBudget& budget;
  Executor& executor;  // flusher pool; one worker is the deterministic mode
  Clock& clock;
  Logger& logger;
};

}  // namespace h2bd
