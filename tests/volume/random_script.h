// Calls to a volume that depend on nothing but a seed.
#pragma once

#include <map>
#include <string>

#include "core/base/random.h"
#include "core/volume/volume.h"

namespace h2bd {

// Creates, renames, resizes, deletes, writes, zeroes and commits transactions over all disks. A
// call that fails fails the test.
class RandomScript {
 public:
  // On a volume without disks, which outlives this.
  RandomScript(Volume& volume, uint64_t seed) : volume_(&volume), rng_(seed) {}
  // Goes on with the same disks, opened again.
  void Use(Volume& volume) { volume_ = &volume; }
  // One call, or one transaction.
  void Step();

 private:
  std::string NewName();
  std::string Any();
  DiskRef Open(const std::string& name);
  std::string Text(uint64_t bytes);
  void Create();
  void Rename();
  void Delete();
  void Resize();
  void Zero();
  void Write();
  void Transaction();

  Volume* volume_;
  SeededRandom rng_;
  std::map<std::string, uint64_t> sizes_;
  int serial_ = 0;
};

}  // namespace h2bd
