// Directory entries (spec 01 section 8, spec 03 section 12).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/inode/inode.h"

namespace h2bd {

struct Dirent {
  std::string name;  // "" in listings: cannot be read
  Inum inum;
  ObjectType type = ObjectType::kUnknown;
  Key key;
};

// Any thread. Names are raw bytes, compared exactly. nullopt when there is no such name; kDataLoss
// where a name block is damaged.
absl::StatusOr<std::optional<Dirent>> FindDirent(Inode& dir, BlockStore& store,
                                                 absl::string_view name);

// Up to `limit` entries with keys >= `from`, in key order. Entries whose name cannot be read do not
// count; where `damaged` is given they go there, without a name, and with the inode (0) and type
// (kUnknown) where these can be read.
absl::StatusOr<std::vector<Dirent>> ListDirents(Inode& dir, BlockStore& store, Key from,
                                                size_t limit,
                                                std::vector<Dirent>* damaged = nullptr);

// Flusher only. Inserts an entry under a free key of its bucket (spec 03 section 12.2);
// kAlreadyExists when the name is there, kResourceExhausted when all 32768 keys are taken.
absl::Status InsertDirent(Inode& dir, BlockStore& store, absl::string_view name, Inum inum,
                          ObjectType type, const FlushTids& tids);

// Flusher only. kNotFound when there is no such name.
absl::Status EraseDirent(Inode& dir, BlockStore& store, absl::string_view name);

// Flusher only. The entry `name` leads to another regular file from now on. In one step: on error
// nothing has changed. kNotFound; kFailedPrecondition for an inode that is its own entry.
absl::Status RelinkDirent(Inode& dir, BlockStore& store, absl::string_view name, Inum inum,
                          const FlushTids& tids);

// A key of [Dirhash(name), + 0x7fff] that is free in `dir`'s tree, chosen as the reference chooses
// (an uncontended name gets hash + 1). kResourceExhausted when none is left.
absl::StatusOr<Key> FreeDirentKey(ChainTree& tree, absl::string_view name);

}  // namespace h2bd
